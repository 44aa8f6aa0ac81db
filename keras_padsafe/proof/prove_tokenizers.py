"""Runs the tokenizers of a model before and after, on text that both know."""

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from keras_padsafe.proof.certificate import Check
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.load_preset import preset_tokenizer

_OLD, _NEW = "old text keeps its ids", "new words get their ids"
_MOST_WORDS, _IN_A_ROW = 512, 8


def prove_tokenizers(
    before: tuple[Any, Any],
    after: tuple[Any, Any],
    names: Collection[str],
    words: Mapping[Any, int],
    change: IdChange,
) -> Iterator[Check]:
    """Compares what the tokenizers of two models, each with its file, make of text.

    Those of `names` changed, to know new `words` by their ids.
    """
    old, new = _tokenizers(*before), _tokenizers(*after)
    for name in sorted(old.keys() & new.keys() & set(names)):
        yield _compare(old[name], new[name], words, change)
        if words:
            yield _check_new(new[name], words)


def _tokenizers(model: Any, path: Any) -> dict[str, Any]:
    """Those that a model holds, or that lie beside it in a preset."""
    from keras_padsafe.compat import walk_saved

    held = [part for _, part in walk_saved(model) if hasattr(part, "token_to_id")]
    return {tokenizer.name: tokenizer for tokenizer in held or preset_tokenizer(path)}


def _compare(old: Any, new: Any, words: Mapping[Any, int], change: IdChange) -> Check:
    compared = 0
    suffix = getattr(old, "suffix_indicator", "")
    marks = [_plain(str(word).removeprefix(suffix)) for word in words]
    kept = set(change.row_map.kept[1].tolist())
    for text in _texts(old):
        ids = _ids(old, text)
        known = kept.issuperset(ids.tolist())
        if not known or any(mark in _plain(text) for mark in marks):
            continue
        compared += 1
        found = _ids(new, text)
        if not np.array_equal(change.renamed(ids), found):
            detail = f"{text!r:.60} gave {ids.tolist()} and gives {found.tolist()}"
            return Check(_OLD, "failed", detail, 1.0)
    if not compared:
        return Check(_OLD, "skipped", "every text that was tried contains new words")
    return Check(_OLD, "passed", f"{compared} texts without new words compared", 0.0)


def _check_new(new: Any, words: Mapping[Any, int]) -> Check:
    whole = {*map(str, getattr(new, "unsplittable_tokens", None) or ())}
    near = next(iter(_texts(new)), "")
    given = 0
    for word, id_ in [*words.items()][:_MOST_WORDS]:
        if new.token_to_id(word) != id_:
            detail = (
                f"{word!r} has id {new.token_to_id(word)}, and row {id_} is its own"
            )
            return Check(_NEW, "failed", detail)
        found = _ids(new, f"{near} {word} {near}")
        if (found == id_).sum() == 1:
            given += 1
        elif word in whole or hasattr(new, "proto"):
            return Check(_NEW, "failed", f"{word!r} gives {found.tolist()}, not {id_}")
    tried = min(len(words), _MOST_WORDS)
    return Check(_NEW, "passed", f"{given} of {tried} are given for text with the word")


def _texts(tokenizer: Any) -> Iterator[str]:
    """Words of a tokenizer, alone and in a row."""
    size = tokenizer.vocabulary_size()
    ids = np.unique(np.linspace(0, size - 1, min(size, _MOST_WORDS)).astype(int))
    rows = [ids[at : at + _IN_A_ROW] for at in range(0, len(ids), _IN_A_ROW)]
    for row in [*ids[:, None], *rows]:
        text = tokenizer.detokenize([int(id_) for id_ in row])
        text = text if isinstance(text, str) else np.asarray(text).item()
        text = text.decode("utf-8", "ignore") if isinstance(text, bytes) else text
        if text.strip():
            yield text


def _ids(tokenizer: Any, text: str) -> np.ndarray:
    return np.asarray(tokenizer(text)).reshape(-1).astype(np.int64)


def _plain(text: str) -> str:
    """Text as the least exact of tokenizers sees it."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in apart if unicodedata.category(sign) != "Mn")
