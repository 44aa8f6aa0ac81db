"""Reads what callers pass, one function for each kind of argument."""

import operator
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, TypeVar

from keras_padsafe.errors import PadsafeError, SurgeryError

Kind = TypeVar("Kind")
Progress = Callable[[int, int], None]
Word = str | int
MAX_IDS = 1 << 28
"""More ids than any table has; a plan or a caller could ask for any number."""
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
    raise unread(name, "the path of a file, as text or a Path", value, error)


def read_flag(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> bool:
    """`True` or `False`, NumPy's among them, and nothing that Python takes for one.

    Raises:
        PadsafeError: `error`, if it is neither.
    """
    if isinstance(value, bool) or (
        type(value).__module__ == "numpy" and type(value).__name__.startswith("bool")
    ):  # NumPy is slow to import, and seldom there.
        return bool(value)
    raise unread(name, "True or False", value, error)


def read_progress(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> Progress | None:
    """A function to call with bytes done and their total, or `None`.

    Raises:
        PadsafeError: `error`, if it cannot be called.
    """
    if value is None or isinstance(value, Callable):
        return value
    raise unread(name, "a function of two numbers, or None", value, error)


def read_function(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> Callable[..., Any]:
    """A function to call.

    Raises:
        PadsafeError: `error`, if it cannot be called.
    """
    if callable(value):
        return value
    raise unread(name, "a function", value, error)


def read_text(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> str:
    """A text.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, str):
        return str(value)
    raise unread(name, "a text", value, error)


def spells_integer(text: str) -> bool:
    """Whether a text is an integer as Keras writes it into a list of words."""
    return re.fullmatch("[+-]?[0-9]{1,19}", text) is not None


def as_integer(value: Any) -> int | None:
    """A Python integer for any integer but a bool; else `None`."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def read_count(
    value: Any,
    name: str,
    error: type[PadsafeError] = SurgeryError,
    *,
    least: Literal[0, 1] = 0,
    most: int | None = None,
) -> int:
    """An integer that counts something, NumPy's among them, as a Python value.

    Raises:
        PadsafeError: `error`, if it is none, or none from `least` to `most`.
    """
    number = as_integer(value)
    if number is None or number < least:
        kind = "a positive integer" if least else "0 or a positive integer"
        raise unread(name, kind, value, error)
    if most is not None and number > most:
        raise error(f"{name}: received {number!r:.60}. Expected: at most {most}.")
    return number


def read_word(value: Any, name: str, error: type[PadsafeError] = SurgeryError) -> Word:
    """A word, or an integer that is a word or an id, as a plain Python value.

    Raises:
        PadsafeError: `error`, if it is neither.
    """
    word = str(value) if isinstance(value, str) else as_integer(value)
    if word is None:
        raise error(
            f"{name}: {value!r:.60} is not a string or an integer. Expected: words, or "
            "ids."
        )
    return word


def read_words(
    value: Any, name: str, error: type[PadsafeError] = SurgeryError
) -> tuple[Word, ...]:
    """A list or vector of what `read_word` reads.

    Raises:
        PadsafeError: `error`, if it is none, or longer than a table can be.
    """
    if not is_listed(value):
        raise error(
            f"{name}: expected a list of words; received one {type(value).__name__}. "
            "Put it in a list."
        )
    read_count(len(value), name, error, most=MAX_IDS)
    return tuple(read_word(item, name, error) for item in value)


def is_listed(value: Any) -> bool:
    """Whether something has entries in an order, as a list or a vector."""
    ordered = isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0
    return ordered and not isinstance(value, str | bytes)


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
    raise unread(name, " or ".join(map(repr, choices)), value, error)


def read_instance(
    value: Any, name: str, kind: type[Kind], error: type[PadsafeError] = SurgeryError
) -> Kind:
    """An object of one class.

    Raises:
        PadsafeError: `error`, if it is none.
    """
    if isinstance(value, kind):
        return value
    raise unread(name, f"{kind.__name__}", value, error)


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
    raise unread(name, f"a mapping of texts to {kind.__name__}", value, error)


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
        raise unread(name, "texts", wrong, error)
    if len(texts) > MOST_TEXTS:
        raise unread(name, f"at most {MOST_TEXTS} texts", value, error)
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


def unread(
    name: str, expected: str, value: Any, error: type[PadsafeError]
) -> PadsafeError:
    """The error that says what was expected and what was passed."""
    return error(f"{name}: expected {expected}; received {value!r:.60}.")
