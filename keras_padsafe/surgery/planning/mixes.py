"""Which old rows a new one is the mean of, where the user names them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from keras_padsafe.arguments import Word
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import split_pieces
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.new_rows import NewRows


def settle_names(rows: NewRows, vocabulary: Vocabulary, change: Change) -> NewRows:
    """The same new rows, with the old ids that are meant by names."""
    if rows.kind not in ("like", "unknown", "pieces"):
        return rows
    partial = next((s for s in vocabulary.arrays if s.only_appends or s.skips), None)
    if partial is not None:
        raise SurgeryError(
            f"new_rows: {rows.kind!r} takes rows of old ids, and array {partial.path} "
            "has no entry for some. Expected: 'mean', or rows of your own."
        )
    made = change.row_map.new_ids
    new_ids = made[~np.isin(made, change.spare_ids)].tolist()
    keys = [*change.words, *new_ids[len(change.words) :]]
    match rows.kind:
        case "unknown":
            unknown = _unknown_id(vocabulary)
            mix = [(unknown,) for _ in keys]
        case "pieces":
            mix = [_pieces(word, vocabulary) for word in keys]
        case _:
            mix = list(_named(rows, vocabulary, keys, new_ids))
    return replace(rows, kind="mix", named=None, mix=tuple(mix))


def _named(
    rows: NewRows, vocabulary: Vocabulary, keys: list[Word], new_ids: list[int]
) -> Iterator[tuple[int, ...]]:
    named = {_as_key(key, keys): names for key, names in (rows.named or {}).items()}
    others = named.pop(None, ())
    unasked = [key for key in named if key not in keys and key not in new_ids]
    if unasked:
        raise SurgeryError(
            f"new_rows: {shortly(unasked[0])} is no new word or id of this change. "
            f"Expected: some of {shortly(keys[:5])}."
        )
    for key, id_ in zip(keys, new_ids, strict=True):
        names = named.get(key, named.get(id_, others))
        yield tuple(_old_id(name, vocabulary) for name in names)


def _as_key(key: Any, keys: list[Word]) -> Any:
    """A new word or id, also where a file spells an integer as text."""
    if isinstance(key, str) and key not in keys and key.isdecimal():
        return int(key)
    return key


def _old_id(name: Word, vocabulary: Vocabulary) -> int:
    ids = vocabulary.word_ids
    number = int(name) if str(name).isdecimal() else None
    if name in ids:
        return ids[name]
    if number in ids:  # Of an IntegerLookup, whose words are integers.
        return ids[number]
    words_are_text = not any(isinstance(word, int) for word in ids)
    if number is not None and number < vocabulary.size and words_are_text:
        return number
    ids_too = f", or an id from 0 to {vocabulary.size - 1}" if words_are_text else ""
    raise SurgeryError(
        f"new_rows: {shortly(name)} is no word of vocabulary {vocabulary.name!r}. "
        f"Expected: a word that it has{ids_too}."
    )


def _unknown_id(vocabulary: Vocabulary) -> int:
    """The id that a word got so far which no lookup layer knew."""
    for site in vocabulary.words:
        if site.unknown_id is not None:
            return site.unknown_id
    raise SurgeryError(
        f"new_rows: 'unknown' takes the row of unknown words, and no lookup layer of "
        f"vocabulary {vocabulary.name!r} has one. Expected: 'like:WORD' with the word, "
        "or the id, that stands for them."
    )


def _pieces(word: Word, vocabulary: Vocabulary) -> tuple[int, ...]:
    ids = vocabulary.word_ids
    pieces = split_pieces(str(word), ids)
    if not pieces:
        raise SurgeryError(
            f"new_rows: {shortly(word)} has no pieces in vocabulary "
            f"{vocabulary.name!r}. Expected: a WordPiece vocabulary with pieces such "
            "as '##ing'. Otherwise use 'mean'."
        )
    return tuple(ids[piece] for piece in pieces)
