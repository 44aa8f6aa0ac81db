"""A range of bytes of an open file, read by position."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from keras_padsafe.archive.positioned import read_at
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing


@dataclass(frozen=True)
class ByteWindow:
    """Bytes `start` to `start + size` of a file; offsets count from `start`.

    Reads do not move a file position, so that any number of readers may share
    the descriptor.
    """

    name: str
    descriptor: int
    start: int
    size: int

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Opens a regular file whole; whoever asks must `os.close` the descriptor."""
        with refusing(str(path)):
            # A pipe or a device would block, or never end.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise BrokenRule("it is not a regular file", "Give a file's path.")
            # It may have become a pipe since, which must not block.
            flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
            descriptor = os.open(path, os.O_RDONLY | flags)
            return cls(str(path), descriptor, 0, os.fstat(descriptor).st_size)

    def part(self, name: str, start: int, size: int) -> "ByteWindow":
        """A window within this one."""
        if start < 0 or size < 0 or start + size > self.size:
            raise BrokenRule(f"{name} reaches past the end of the file", FETCH_AGAIN)
        return ByteWindow(
            f"{self.name}, {name}", self.descriptor, self.start + start, size
        )

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`."""
        buffer = bytearray(self._checked(offset, count))
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` from `offset`."""
        self._checked(offset, len(buffer))
        position = self.start + offset
        while buffer:
            count = read_at(self.descriptor, buffer, position)
            if count == 0:
                raise BrokenRule("the file became shorter while it was read")
            buffer, position = buffer[count:], position + count

    def _checked(self, offset: int, count: int) -> int:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise BrokenRule(
                f"{count} bytes at {offset} are asked for, past the end at {self.size}",
                FETCH_AGAIN,
            )
        return count


def read_whole_file(path: Path, most: int) -> bytes:
    """A regular file of at most `most` bytes, whole.

    Raises:
        ArchiveError: if it is none.
    """
    window = ByteWindow.of_file(path)
    try:
        with refusing(str(path)):
            if window.size > most:
                raise BrokenRule(f"it has {window.size} bytes, over {most}")
            return window.read(0, window.size)
    finally:
        os.close(window.descriptor)
