"""The change that adds ids, at the end or anywhere."""

from collections.abc import Sequence

import numpy as np

from keras_padsafe.arguments import MAX_IDS, Word, read_count, read_words
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import check_new_words
from keras_padsafe.surgery.planning.change import Change
from keras_padsafe.surgery.planning.padding import padded
from keras_padsafe.surgery.planning.place import Place
from keras_padsafe.surgery.planning.row_map import NEW, RowMap, check_new_size
from keras_padsafe.surgery.planning.take_rows import check_words_known, taken


def grown(
    vocabulary: Vocabulary,
    rows: int | None,
    tokens: Sequence[Word] | None,
    multiple_of: int | None,
    place: Place,
    capacity: int | None = None,
) -> Change:
    """The change that adds `rows` ids, or one id for each of `tokens`.

    New words take spare rows first, then those at the end of a table that has more
    rows than words; all of them are made anew.

    Raises:
        SurgeryError: if what is asked for cannot be done.
    """
    if capacity is not None:
        _check_capacity(capacity, rows, place, vocabulary)
    elif (rows is None) == (tokens is None):
        raise SurgeryError(
            "grow: expected either `rows`, the number of new ids, or `tokens`, the new "
            f"words; received {'both' if rows is not None else 'neither'}."
        )
    _check_counted(vocabulary, by_words=rows is None and multiple_of is None)
    step = 1 if multiple_of is None else _read_rows(multiple_of, "multiple_of")
    size = vocabulary.size
    words = () if tokens is None else read_new_words(tokens, vocabulary)
    count = len(words) if rows is None else _read_rows(rows, "rows")
    start = place.start(vocabulary)
    if start is None and words and any(site.inserts for site in vocabulary.words):
        start = vocabulary.words[0].end
    if start is not None:
        _check_gap(vocabulary, start, by_words=tokens is not None)
        check_new_size(_round_up(size + count, step), size)
        more = _round_up(size + count, step) - size - count
        parts = np.arange(start), [NEW] * count, np.arange(start, size), [NEW] * more
        change = Change(RowMap(np.concatenate(parts).astype(np.int64), size), words)
        if place.pad:
            return padded(vocabulary, change, start, count)
        return change
    if rows is None and not place.pad:
        return taken(vocabulary, words, capacity=capacity or 0, step=step)
    start = vocabulary.words[0].end if vocabulary.words and words else size
    end = start + count
    ids = _appended(size, _round_up(max(end, size), step)).ids.copy()
    ids[start:end] = NEW
    change = Change(RowMap(ids, size), words)
    return padded(vocabulary, change, start, count) if place.pad else change


def _read_rows(value: int, name: str) -> int:
    return read_count(value, name, least=1, most=MAX_IDS)


def _check_capacity(
    capacity: int, rows: int | None, place: Place, vocabulary: Vocabulary
) -> None:
    _read_rows(capacity, "capacity")
    if rows is not None or place != Place():
        raise SurgeryError(
            "capacity: spare rows go to the end, after the words. Expected: no "
            "`rows` (--rows), `at`, `before` or `pad` with it. Grow twice instead."
        )
    check_words_known(vocabulary, "which rows are spare")
    check_lists(vocabulary)


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
            f"{place}, and has {vocabulary.size} rows for ids up to {site.end - 1}: "
            "new words would get the ids of rows that are there already. Expected: a "
            "table that ends with the rows of its words. Grow it in Keras."
        )


def _appended(size: int, new_size: int) -> RowMap:
    check_new_size(new_size, size)
    return RowMap.append(size, new_size - size)


def read_new_words(given: Sequence[Word], vocabulary: Vocabulary) -> tuple[Word, ...]:
    """New words that every lookup layer can take in.

    Raises:
        SurgeryError: naming one that cannot.
    """
    tokens = read_words(given, "tokens")
    if not tokens:
        raise SurgeryError("tokens: expected at least one new word; received none.")
    if vocabulary.closed_tokenizers:
        raise SurgeryError(
            f"tokens: tokenizer {vocabulary.closed_tokenizers[0]}, so it would never "
            "give the ids of new words. Grow by `rows`, and change the tokenizer "
            "yourself."
        )
    for site in vocabulary.words or [None]:
        check_new_words(tokens, site)
    check_lists(vocabulary)
    return tokens


def check_lists(vocabulary: Vocabulary) -> None:
    """Refuses lookup layers that would give the next word different ids, or no row.

    Raises:
        SurgeryError: if so.
    """
    ends = {site.layer: site.end for site in vocabulary.words}
    if len(set(ends.values())) > 1:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: its lookup layers disagree on the next "
            f"free id: {ends}. Expected: layers with the same words. Grow by `rows` "
            "and set the words in Keras."
        )
    if ends and max(ends.values()) > vocabulary.size:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: lookup layer {next(iter(ends))!r} "
            f"gives ids up to {max(ends.values()) - 1}, and the table has "
            f"{vocabulary.size} rows: the model already fails for its last words. "
            "Grow by `rows` first."
        )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
