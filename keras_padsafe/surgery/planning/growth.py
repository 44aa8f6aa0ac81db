"""The change that adds ids, at the end or anywhere."""

from collections.abc import Sequence

import numpy as np

from keras_padsafe.arguments import MAX_IDS, Word, read_count
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.saved_model.row_map import NEW, RowMap, check_new_size
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.reorder import check_one_id
from keras_padsafe.surgery.planning.take_rows import (
    check_lists,
    check_words_known,
    read_new_words,
    round_up,
    taken,
)


def grown(
    vocabulary: Vocabulary,
    *,
    rows: int | None,
    tokens: Sequence[Word] | None,
    capacity: int | None,
    multiple_of: int | None,
    at: int | None,
    before: Word | None,
    pad: bool,
) -> Change:
    """The change that adds `rows` ids, or one id for each of `tokens`.

    New words take spare rows first, then those at the end of a table that has more
    rows than words; all of them are made anew.
    """
    if capacity is not None:
        capacity = _read_rows(capacity, "capacity")
        if rows is not None or pad or (at, before) != (None, None):
            raise SurgeryError(
                "capacity: spare rows go to the end, after the words. Expected: no "
                "`rows` (--rows), `at`, `before` or `pad` with it. Grow twice instead."
            )
        check_words_known(vocabulary, "which rows are spare")
        check_lists(vocabulary)
    elif (rows is None) == (tokens is None):
        raise SurgeryError(
            "grow: expected either `rows`, the number of new ids, or `tokens`, the new "
            f"words; received {'both' if rows is not None else 'neither'}."
        )
    _check_counted(vocabulary, by_words=rows is None and multiple_of is None)
    step = 1 if multiple_of is None else _read_rows(multiple_of, "multiple_of")
    words = () if tokens is None else read_new_words(tokens, vocabulary)
    count = len(words) if rows is None else _read_rows(rows, "rows")
    if pad and count != 1:
        raise SurgeryError(
            f"pad: received {count} new ids. Expected: one, the id of padding."
        )
    size, start = vocabulary.size, _start(vocabulary, at, before)
    if start is None and any(site.inserts for site in vocabulary.words if words):
        start = vocabulary.words[0].end
    if start is not None:
        _check_gap(vocabulary, start, by_words=tokens is not None)
        rest = start  # moves up
    elif rows is None and not pad:
        return taken(vocabulary, words, capacity=capacity or 0, step=step)
    else:
        start = vocabulary.words[0].end if vocabulary.words and words else size
        rest = start + count
    length = start + count + max(size - rest, 0)
    more = round_up(length, step) - length
    check_new_size(length + more, size)
    new, beyond = np.full(count, NEW), np.full(more, NEW)
    ids = np.concatenate([np.arange(start), new, np.arange(rest, size), beyond])
    return Change(RowMap(ids, size), words, pad=int(start) if pad else None)


def _read_rows(value: int, name: str) -> int:
    return read_count(value, name, least=1, most=MAX_IDS)


def _start(vocabulary: Vocabulary, at: int | None, before: Word | None) -> int | None:
    """The first new id; `None` where new ids go to the end."""
    if at is not None and before is not None:
        raise SurgeryError(
            "grow: `at` and `before` both say where the new ids go. Expected: one of "
            "them."
        )
    ids, size = vocabulary.word_ids, vocabulary.size
    at = None if at is None else int(at)  # which may be one of NumPy
    if before is not None:
        check_one_id(vocabulary, [before], "before")
    if before is not None and before not in ids:
        known = f"its words are {', '.join(map(repr, list(ids)[:5]))}, ..."
        raise SurgeryError(
            f"before: {shortly(before)} is no word of vocabulary "
            f"{vocabulary.name!r}: {known if ids else 'the file holds no words'}. "
            "Expected: a word that the model knows; or say the id, as `at`."
        )
    if at is not None and at > size:
        raise SurgeryError(
            f"at: received {at}. Expected: an id from 0 to {size}, "
            f"the number of ids of vocabulary {vocabulary.name!r}."
        )
    return at if before is None else ids[before]


def _check_gap(vocabulary: Vocabulary, start: int, *, by_words: bool) -> None:
    """A lookup layer gives ids in a row, and a word has each of them."""
    for site in vocabulary.words:
        if not by_words and start < site.end:
            raise SurgeryError(
                f"at: ids before {site.end} belong to words of {site.layer!r}, so "
                "a new one there needs a word too. Expected: the words, as "
                "tokens=[...] (--add WORD)."
            )
        if by_words and start > site.end:
            raise SurgeryError(
                f"at: received {start}, and the words of {site.layer!r} end before id "
                f"{site.end}. Expected: at most {site.end}, the next free id."
            )


def _check_counted(vocabulary: Vocabulary, *, by_words: bool) -> None:
    """Where the rows of a table follow a list of words, only words can be added."""
    site = next((site for site in vocabulary.words if site.is_counted), None)
    if site is None:
        return
    place = config_key(site.config_path) if site.config_path else site.assets[0]
    if not by_words:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: its table has as many rows as {place} "
            "lists words. Expected: new words, as tokens=[...] (--add WORD), one for "
            "each new row, and no multiple_of."
        )
    if site.end != vocabulary.size:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: its table follows the length of "
            f"{place}, which has ids up to {site.end - 1}, and there are "
            f"{vocabulary.size} rows: it is not known which of them are those of the "
            "words. Expected: a table that ends with the row of the last word. Grow "
            "it in Keras."
        )
