"""The task of `demo`: from the name of a character to its category, in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.unicode_names import Name, read_unicode_names

LABELS = 500
HELD_OUT = 1200
PAD, UNKNOWN, FIRST_WORD = 0, 1, 2
MAX_WORDS = 16


@dataclass(frozen=True)
class Split:
    """The names, shuffled and divided.

    Attributes:
        train: Old names to train on.
        held_out: Old names to measure on.
        tune: The few new names with a label.
        test: The other new names.
    """

    train: list[Name]
    held_out: list[Name]
    tune: list[Name]
    test: list[Name]


@dataclass(frozen=True)
class Encoder:
    """Names to arrays.

    Attributes:
        index: The id of each word; any other has the id of unknown words.
        categories: The labels.
    """

    index: dict[str, int]
    categories: list[str]

    @property
    def size(self) -> int:
        """The number of ids."""
        return FIRST_WORD + len(self.index)

    def grown(self, tokens: dict[Any, int]) -> "Encoder":
        """The encoder that knows the new words too."""
        return Encoder(self.index | tokens, self.categories)

    def ids(self, names: Sequence[Name]) -> np.ndarray:
        """The ids of each name, padded: `(batch, time)`."""
        ids = np.full((len(names), MAX_WORDS), PAD, "int32")
        for row, name in enumerate(names):
            found = [self.index.get(word, UNKNOWN) for word in name.text.split()]
            ids[row, : len(found)] = found[:MAX_WORDS]
        return ids

    def labels(self, names: Sequence[Name]) -> np.ndarray:
        """The number of each name's category."""
        found = [self.categories.index(name.category) for name in names]
        return np.array(found, "int32")


def read_names_task(seed: int) -> tuple[Split, Encoder, list[str]]:
    """Reads and divides the names.

    Returns:
        The names, the encoder that knows the words of the old ones, and the words
        that only the new ones have.
    """
    old, new = read_unicode_names()
    index = {word: FIRST_WORD + i for i, word in enumerate(_words(old))}
    new_words = [word for word in _words(new) if word not in index]
    categories = sorted({name.category for name in old + new})
    generator = np.random.default_rng(seed)
    old = [old[i] for i in generator.permutation(len(old))]
    new = [new[i] for i in generator.permutation(len(new))]
    split = Split(old[HELD_OUT:], old[:HELD_OUT], new[:LABELS], new[LABELS:])
    return split, Encoder(index, categories), new_words


def _words(names: Sequence[Name]) -> list[str]:
    """Each word once, in the order of appearance."""
    return list(dict.fromkeys(word for name in names for word in name.text.split()))
