"""Reads what a caller says of a batch: its arrays, and pad ids."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_padsafe.arguments import is_listed, unread
from keras_padsafe.errors import PadsafeError


def read_batch(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """One batch: an array, or a list, tuple or dictionary of arrays."""
    expected = (
        f"{name}: expected one batch, an array or a list, tuple or dictionary of "
        "arrays; received"
    )
    number = isinstance(value, int | float) or getattr(value, "shape", None) == ()
    if value is None or number or isinstance(value, str | bytes):
        raise error(f"{expected} one {type(value).__name__}.")
    parts = list(_parts(value))
    if not parts:
        raise error(f"{expected} none.")
    for part in parts:
        listed = isinstance(part, list | tuple)
        if not (listed or hasattr(part, "shape")):
            raise error(
                f"{expected} one {type(part).__name__}. Pass a data set batch by batch."
            )
        try:
            array = np.asarray(part) if listed else part
        except ValueError:  # What NumPy says of rows of several lengths.
            raise error(
                f"{expected} rows of different lengths. Pad them to one length, for "
                "example with keras.utils.pad_sequences."
            ) from None
        if len(array.shape) and not array.shape[0]:
            raise error(f"{expected} one without rows.")
        items = np.asarray(part, object).flat if listed else ()
        if len({isinstance(item, str) for item in items}) > 1:
            raise error(f"{expected} a mixture of numbers and text.")
    return value


def read_pad_id(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """A number, several, `None`, or a dictionary from the name of an input to such."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            read_pad_id(part, f"{name}[{key!r}]", error)
        return value
    several = is_listed(value) or isinstance(value, set | frozenset)
    for part in value if several else (value,):
        number = isinstance(part, int | float | np.number)
        if part is not None and (isinstance(part, bool) or not number):
            what = (
                "a number, several numbers, None, or a dictionary with one of these "
                "for each input"
            )
            raise unread(name, what, part, error)
    return value


def _parts(structure: Any) -> Iterator[Any]:
    """The arrays of a batch; a nested list of numbers is one."""
    if isinstance(structure, Mapping):
        for part in structure.values():
            yield from _parts(part)
    elif isinstance(structure, list | tuple) and not _holds_numbers(structure):
        for part in structure:
            yield from _parts(part)
    elif structure is not None:
        yield structure


def _holds_numbers(rows: list[Any] | tuple[Any, ...]) -> bool:
    return all(
        _holds_numbers(row)
        if isinstance(row, list | tuple)
        else isinstance(row, int | float | str | np.number)
        for row in rows
    )
