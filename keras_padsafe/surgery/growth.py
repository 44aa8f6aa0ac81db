"""The change that adds ids at the end."""

from collections.abc import Sequence
from typing import Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.change import Change
from keras_padsafe.surgery.row_map import NEW, RowMap
from keras_padsafe.surgery.vocabulary import Vocabulary
from keras_padsafe.surgery.words import check_new_words


def grown(
    vocabulary: Vocabulary,
    rows: int | None,
    tokens: Sequence[str | int] | None,
    multiple_of: int | None,
) -> Change:
    """The change that adds `rows` ids, or one id for each of `tokens`, at the end.

    A table with more rows than words has spare rows; new words take those first, and
    their rows are made anew.

    Raises:
        SurgeryError: if what is asked for cannot be done.
    """
    if (rows is None) == (tokens is None):
        raise SurgeryError(
            "grow: expected either `rows`, the number of new ids, or `tokens`, the new "
            f"words; received {'both' if rows is not None else 'neither'}."
        )
    step = 1 if multiple_of is None else _positive(multiple_of, "multiple_of")
    size = vocabulary.size
    if tokens is None:
        wanted = size + _positive(rows, "rows")
        row_map = RowMap.append(size, _round_up(wanted, step) - size)
        return Change(row_map)
    words = _words(tokens, vocabulary)
    start = vocabulary.words[0].end if vocabulary.words else size
    end = start + len(words)
    row_map = RowMap.append(size, max(_round_up(max(end, size), step) - size, 0))
    ids = row_map.ids.copy()
    ids[start:end] = NEW
    return Change(RowMap(ids, size), words)


def _words(
    tokens: Sequence[str | int], vocabulary: Vocabulary
) -> tuple[str | int, ...]:
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise SurgeryError(
            "tokens: expected a list of words; received one "
            f"{type(tokens).__name__}. Put it in a list."
        )
    if not tokens:
        raise SurgeryError("tokens: expected at least one new word; received none.")
    if vocabulary.closed_tokenizers:
        raise SurgeryError(
            f"tokens: tokenizer {vocabulary.closed_tokenizers[0]!r} of the model holds "
            "no list of words that could take in new ones, so it would never give "
            "their ids. Expected: a WordPiece tokenizer, or none. Grow by `rows`, and "
            "teach the tokenizer yourself."
        )
    for site in vocabulary.words or [None]:
        check_new_words(tokens, site)
    ends = {site.layer: site.end for site in vocabulary.words}
    if len(set(ends.values())) > 1:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: its lookup layers disagree on the next "
            f"free id: {ends}. Expected: layers with the same words. Grow by `rows` "
            "and set the words in Keras."
        )
    if ends and max(ends.values()) > vocabulary.size:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: lookup layer {next(iter(ends))!r} gives "
            f"ids up to {max(ends.values()) - 1}, and the table has {vocabulary.size} "
            "rows: the model is broken for its last words already. Grow by `rows` "
            "first."
        )
    return tuple(tokens)


def _positive(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise SurgeryError(f"{name}: expected a positive integer; received {value!r}.")
    return value


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
