"""Copies parts of a source array and checks all of it, in one pass if it can."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keras_padsafe.archive.archive import WeightsFile
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.checked_output import BLOCK, CheckedOutput
from keras_padsafe.archive.crc import combine_crc
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


class Blocks:
    """Room for two blocks, and the thread that reads one while the other is written.

    One `CheckedSource` after another may use them: the thread does one thing at a
    time, so that what one no longer waits for is over before the next begins.
    """

    def __init__(self, ahead: "Executor") -> None:
        self.ahead = ahead
        self.now, self.next = (memoryview(bytearray(BLOCK)) for _ in range(2))

    def swap(self) -> None:
        """What was read ahead becomes what is there."""
        self.now, self.next = self.next, self.now


@contextmanager
def reading_ahead() -> Iterator[Blocks]:
    """Blocks whose thread ends with the context."""
    from concurrent.futures import ThreadPoolExecutor  # as slow as a small `inspect`

    with ThreadPoolExecutor(1) as ahead:
        yield Blocks(ahead)


class CheckedSource:
    """Reads a range of a file by pieces and knows the checksum of the whole.

    Bytes are checked in order, a block at a time. A piece that continues where the
    last ended, or a little ahead, is served from the block that the check has just
    read; a piece elsewhere is read by itself. So a copy costs one pass, and so does
    a copy with insertions or deletions; only a shuffle costs two.

    Args:
        data: The bytes to read.
        blocks: Room for blocks, which others may use before and after.
    """

    def __init__(self, data: ByteWindow, blocks: Blocks) -> None:
        self._data = data
        self._blocks = blocks
        self._coming: Future[int] | None = None
        self._block_start = 0
        self._block_crc = 0
        self._checked = 0  # also where the block ends
        self._crc = 0

    def copy(self, start: int, stop: int, output: CheckedOutput) -> None:
        """Appends bytes `start` to `stop` to `output`."""
        while start < stop:
            if self._block_start <= start < self._checked:
                end = min(stop, self._checked)
                self._copy_from_block(start, end, output)
                start = end
            elif self._checked <= start < self._checked + BLOCK:
                self._read_block()
            else:
                end = min(stop, start + BLOCK)
                with refusing(self._data.name):
                    piece = self._data.read(start, end - start)
                output.write(piece)
                start = end

    def checksum(self) -> int:
        """CRC-32 of all the bytes; reads those that were not checked yet."""
        while self._checked < self._data.size:
            self._read_block()
        return self._crc

    def _copy_from_block(self, start: int, stop: int, output: CheckedOutput) -> None:
        first, last = start - self._block_start, stop - self._block_start
        whole = (start, stop) == (self._block_start, self._checked)
        block = self._blocks.now[first:last]
        output.write(block, self._block_crc if whole else None)

    def _read_block(self) -> None:
        size = min(BLOCK, self._data.size - self._checked)
        if self._coming is None:
            self._block_crc = self._load(self._checked, self._blocks.next[:size])
        else:
            self._block_crc = self._coming.result()
        self._blocks.swap()
        self._crc = combine_crc(self._crc, self._block_crc, size)
        self._block_start, self._checked = self._checked, self._checked + size
        self._coming = None
        if left := min(BLOCK, self._data.size - self._checked):
            block = self._blocks.next[:left]
            self._coming = self._blocks.ahead.submit(self._load, self._checked, block)

    def _load(self, start: int, block: memoryview) -> int:
        """Reads a block; returns its checksum."""
        with refusing(self._data.name):
            self._data.read_into(start, block)
        return zlib.crc32(block)


def verify_weights(
    file: WeightsFile,
    checksums: Mapping[str, int],
    blocks: Blocks,
) -> None:
    """Compares the checksum that the archive records with the bytes that were read.

    Args:
        file: The source, with its recorded checksum; a bare file has none.
        checksums: CRC-32 by path of the arrays that were read already; everything
            else is read now.
        blocks: Room for blocks.
    """
    if file.crc is None:
        return
    buffer = memoryview(bytearray(BLOCK))
    crc = position = 0
    for array in file.arrays.values():
        if array.nbytes == 0:
            continue
        offset = array.data.start - file.data.start
        crc = _checksum_onward(file.data, position, offset, crc, buffer)
        known = checksums.get(array.path)
        if known is None:
            known = CheckedSource(array.data, blocks).checksum()
        crc = combine_crc(crc, known, array.nbytes)
        position = offset + array.nbytes
    crc = _checksum_onward(file.data, position, file.data.size, crc, buffer)
    with refusing(file.data.name):
        if crc != file.crc:
            raise BrokenRule("its checksum does not match", FETCH_AGAIN)


def _checksum_onward(
    data: ByteWindow, start: int, stop: int, crc: int, buffer: memoryview
) -> int:
    with refusing(data.name):
        while start < stop:
            block = buffer[: min(BLOCK, stop - start)]
            data.read_into(start, block)
            crc = zlib.crc32(block, crc)
            start += len(block)
    return crc
