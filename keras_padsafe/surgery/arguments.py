"""Reads what a caller says of a vocabulary: counts, words and claims of any type."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_padsafe.archive.limits import MAX_IDS
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import shortly

Word = str | int


def read_count(value: Any, name: str) -> int:
    """A positive integer, NumPy's among them, of which so many ids can be made.

    Raises:
        SurgeryError: if it is none.
    """
    number = as_integer(value)
    if number is None or number <= 0:
        raise SurgeryError(
            f"{name}: expected a positive integer; received {shortly(value)}."
        )
    if number > MAX_IDS:
        raise SurgeryError(
            f"{name}: received {shortly(value)}. Expected: at most {MAX_IDS} ids."
        )
    return number


def read_words(value: Any, name: str) -> tuple[Word, ...]:
    """Words, or integers that are words or ids, as plain Python values.

    Raises:
        SurgeryError: if it is no list of them.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        raise SurgeryError(
            f"{name}: expected a list of words; received one {type(value).__name__}. "
            "Put it in a list."
        )
    if len(value) > MAX_IDS:
        raise SurgeryError(
            f"{name}: received {len(value)} words. Expected: at most {MAX_IDS}."
        )
    return tuple(read_word(item, name) for item in value)


def as_integer(value: Any) -> int | None:
    """A Python integer for any integer but a bool; else `None`."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def read_word(item: Any, name: str) -> Word:
    """A word, or an integer, as a plain Python value.

    Raises:
        SurgeryError: if it is neither.
    """
    if isinstance(item, str):
        return str(item)
    number = as_integer(item)
    if number is None:
        raise SurgeryError(
            f"{name}: {shortly(item)} is not a string or an integer. Expected: words, "
            "or ids."
        )
    return number
