"""Reads the arguments that many public functions take, such as paths and batches."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from keras_padsafe.errors import PadsafeError, SurgeryError

Kind = TypeVar("Kind")
Progress = Callable[[int, int], None]
MOST_TEXTS = 1_000_000
"""More than a model has layers; whoever passes more passed something else."""


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
            with suppress(UnicodeEncodeError):
                os.fsencode(path)
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


def read_function(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> Callable[..., Any]:
    """A function to call.

    Raises:
        PadsafeError: `error`, if it cannot be called.
    """
    if callable(value):
        return value
    raise _unread(name, "a function", value, error)


def read_text(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> str:
    """A text.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, str):
        return str(value)
    raise _unread(name, "a text", value, error)


def read_count(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> int:
    """An integer that counts something: 0 or more.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise _unread(name, "a number that counts", value, error)


def read_choice(
    value: Any,
    name: str,
    choices: Collection[str],
    error: type[PadsafeError] = SurgeryError,
) -> str:
    """One of a few texts.

    Raises:
        PadsafeError: `error`, if it is none of them.
    """
    if isinstance(value, str) and value in choices:
        return str(value)
    raise _unread(name, " or ".join(map(repr, choices)), value, error)


def read_instance(
    value: Any, name: str, kind: type[Kind], error: type[PadsafeError] = SurgeryError
) -> Kind:
    """An object of one class.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, kind):
        return value
    raise _unread(name, f"{kind.__name__}", value, error)


def read_named(
    value: Any, name: str, kind: type[Kind], error: type[PadsafeError] = SurgeryError
) -> Mapping[str, Kind]:
    """A mapping of texts to objects of one class.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(item, kind) for key, item in value.items()
    ):
        return value
    raise _unread(name, f"a mapping of texts to {kind.__name__}", value, error)


def read_texts(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> tuple[str, ...]:
    """Texts; a single one stands for itself.

    Raises:
        PadsafeError: `error`, if one is no text.
    """
    if isinstance(value, str):
        return (str(value),)
    texts = tuple(islice(value, MOST_TEXTS + 1)) if isinstance(value, Iterable) else ()
    wrong = next((text for text in texts if not isinstance(text, str)), value)
    if wrong is not value or not isinstance(value, Iterable):
        raise _unread(name, "texts", wrong, error)
    if len(texts) > MOST_TEXTS:
        raise _unread(name, f"at most {MOST_TEXTS} texts", value, error)
    return tuple(map(str, texts))


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
