"""Reads the arguments that many public functions take: paths, flags and callbacks."""

import os
from collections.abc import Callable
from typing import Any

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


def _unread(
    name: str, expected: str, value: Any, error: type[PadsafeError]
) -> PadsafeError:
    return error(f"{name}: expected {expected}; received {value!r:.60}.")
