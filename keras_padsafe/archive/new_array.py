"""The new contents of an array, as a list of what to copy and what to insert."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keras_padsafe.arguments import read_count, read_function, read_instance
from keras_padsafe.errors import ArchiveError


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `stop` of the source array's stored bytes.

    `seen`, if given, is called with them while they are copied, in order: with where
    in the array some begin, and those, which it may not keep.
    """

    start: int
    stop: int
    seen: Callable[[int, memoryview], None] | None = None

    def __post_init__(self) -> None:
        read_count(self.start, "start", ArchiveError)
        read_count(self.stop, "stop", ArchiveError)
        if self.seen is not None:
            read_function(self.seen, "seen", ArchiveError)


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

    def __post_init__(self) -> None:
        for size in read_instance(self.shape, "shape", tuple, ArchiveError):
            read_count(size, "shape", ArchiveError)
        read_function(self.pieces, "pieces", ArchiveError)
