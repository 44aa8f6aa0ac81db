"""The new contents of an array, as a list of what to copy and what to insert."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `stop` of the source array's stored bytes."""

    start: int
    stop: int


@dataclass(frozen=True)
class NewArray:
    """What `write_archive` stores in place of a source array; the dtype stays.

    Attributes:
        shape: The new shape.
        pieces: Called once, while writing; yields the new bytes in order: a `Span` to
            copy from the source array, or bytes, little-endian in its storage dtype.
            Their sizes must add up to what `shape` needs.
    """

    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[Span | bytes]]
