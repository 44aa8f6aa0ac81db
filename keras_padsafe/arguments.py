"""Reads the arguments that many public functions take, such as paths and batches."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_padsafe.errors import PadsafeError, SurgeryError

Progress = Callable[[int, int], None]


def read_path(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> str:
    """A path as text.

    Args:
        value: What the caller passed.
        name: The argument.
        error: What to raise if it is none.
    """
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str) and "\0" not in path:
            return path
    raise _unread(name, "the path of a file, as text or a Path", value, error)


def read_flag(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> bool:
    """`True` or `False` and nothing that Python would take for one of them.

    Raises:
        PadsafeError: `error`, if it is neither.
    """
    if isinstance(value, bool):
        return value
    raise _unread(name, "True or False", value, error)


def read_progress(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> Progress | None:
    """A function to call with bytes done and their total, or `None`.

    Raises:
        PadsafeError: `error`, if it cannot be called.
    """
    if value is None or isinstance(value, Callable):
        return value
    raise _unread(name, "a function of two numbers, or None", value, error)


def read_layer(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """A model or layer of Keras."""
    import keras

    if isinstance(value, keras.layers.Layer):
        return value
    raise error(
        f"{name}: expected a Keras model or layer; received {type(value).__name__}. A "
        "saved one is read with keras.saving.load_model."
    )


def read_batch(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """One batch: an array, or a list, tuple or dictionary of arrays."""
    expected = (
        f"{name}: expected one batch, an array or a list, tuple or dictionary of "
        "arrays; received"
    )
    if value is None or isinstance(value, str | bytes):
        raise error(f"{expected} {type(value).__name__}.")
    for part in _parts(value):
        if isinstance(part, list | tuple) or hasattr(part, "shape"):
            try:
                shape = np.shape(part)
            except ValueError:  # What NumPy says of rows of several lengths.
                raise error(
                    f"{expected} rows of several lengths. Pad them to one, as with "
                    "keras.utils.pad_sequences."
                ) from None
            if len(shape) and not shape[0]:
                raise error(f"{expected} one without rows.")
        elif not isinstance(part, int | float | str):
            raise error(
                f"{expected} a {type(part).__name__}. A data set is given batch by "
                "batch."
            )
    return value


def read_pad_id(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """A number, several, `None`, or a dictionary from the name of an input to such."""
    several = isinstance(value, list | tuple | set | frozenset | range | np.ndarray)
    if isinstance(value, Mapping):
        for key, part in value.items():
            read_pad_id(part, f"{name}[{key!r}]", error)
    elif several:
        for part in value:
            read_pad_id(part, name, error)
    elif value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float | np.number)
    ):
        what = "a number, several, None, or a dictionary of such by input"
        raise _unread(name, what, value, error)
    return value


def read_words(value: Any, name: str, error: type[PadsafeError]) -> Any:
    """The words by id: a list, a dictionary, or `None`."""
    listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    if value is None or listed or isinstance(value, Mapping):
        return value
    raise _unread(name, "the words by id, a list or a dictionary", value, error)


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


def _unread(
    name: str, expected: str, value: Any, error: type[PadsafeError]
) -> PadsafeError:
    return error(f"{name}: expected {expected}; received {value!r:.60}.")
