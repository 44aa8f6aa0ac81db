"""Says no: a parser names the rule that was broken, its caller the file."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from keras_padsafe.errors import ArchiveError

SAVE_AGAIN = "Load the model with Keras and save it again."
FETCH_AGAIN = "Fetch or copy the file again."


class BrokenRule(Exception):
    """A rule of the format that a file breaks, and what mends it."""

    def __init__(self, rule: str, fix: str = SAVE_AGAIN) -> None:
        super().__init__(rule)
        self.rule = rule
        self.fix = fix


@contextmanager
def about(what: str) -> Iterator[None]:
    """Says which part of a file a rule was broken in."""
    try:
        yield
    except BrokenRule as broken:
        raise BrokenRule(f"{what}: {broken.rule}", broken.fix) from None


# What Python raises when bytes do not say what they should.
_DAMAGE = (
    struct.error,
    zlib.error,
    IndexError,
    UnicodeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


@contextmanager
def refusing(file: str) -> Iterator[None]:
    """Turns whatever a parser raises into one `ArchiveError` that names `file`."""
    try:
        yield
    except BrokenRule as broken:
        raise ArchiveError(f"{file}: {broken.rule}. {broken.fix}") from None
    except _DAMAGE as error:
        raise ArchiveError(
            f"{file}: its bytes do not make sense ({type(error).__name__}: {error}). "
            f"{FETCH_AGAIN}"
        ) from error
    except OSError as error:
        raise ArchiveError(
            f"{file}: it cannot be read ({error.strerror}). "
            "Check the path, its permissions and the disk."
        ) from error
