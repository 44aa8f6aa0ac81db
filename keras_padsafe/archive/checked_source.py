"""Copies parts of a source array and checks all of it, in one pass if it can."""

import zlib
from collections.abc import Mapping

from keras_padsafe.archive.archive import WeightsFile
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.checked_output import BLOCK, CheckedOutput
from keras_padsafe.archive.crc import combine_crc
from keras_padsafe.archive.new_array import Span
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing


class CheckedSource:
    """Reads a range of a file by pieces and knows the checksum of the whole.

    Bytes are checked in order, a block at a time. A piece that continues where the
    last ended, or a little ahead, is served from the block that the check has just
    read; a piece elsewhere is read by itself. So a copy costs one pass, and so does
    a copy with insertions or deletions; only a shuffle costs two. The disk writes
    meanwhile; a thread that reads ahead costs more than it gains.

    Args:
        data: The bytes to read.
        room: Room for a block, which others may use before and after.
    """

    def __init__(self, data: ByteWindow, room: memoryview) -> None:
        self._data = data
        self._room = room
        self._block_start = 0
        self._block_crc = 0
        self._checked = 0  # also where the block ends
        self._crc = 0

    def copy(self, span: Span, output: CheckedOutput) -> None:
        """Appends a piece to `output`, and shows it to whom it concerns."""
        start = span.start
        while start < span.stop:
            crc = None
            if self._block_start <= start < self._checked:
                end = min(span.stop, self._checked)
                first, last = start - self._block_start, end - self._block_start
                piece = self._room[first:last]
                if (start, end) == (self._block_start, self._checked):
                    crc = self._block_crc
            elif self._checked <= start < self._checked + BLOCK:
                self._read_block()
                continue
            else:
                end = min(span.stop, start + BLOCK)
                with refusing(self._data.name):
                    piece = memoryview(self._data.read(start, end - start))
            output.write(piece, crc)
            if span.seen is not None:
                span.seen(start, piece)
            start = end

    def checksum(self) -> int:
        """CRC-32 of all the bytes; reads those that were not checked yet."""
        while self._checked < self._data.size:
            self._read_block()
        return self._crc

    def _read_block(self) -> None:
        size = min(BLOCK, self._data.size - self._checked)
        block = self._room[:size]
        with refusing(self._data.name):
            self._data.read_into(self._checked, block)
        self._block_crc = zlib.crc32(block)
        self._crc = combine_crc(self._crc, self._block_crc, size)
        self._block_start, self._checked = self._checked, self._checked + size


def verify_weights(
    file: WeightsFile, checksums: Mapping[str, int], room: memoryview
) -> None:
    """Compares the checksum that the archive records with the bytes that were read.

    Args:
        file: The source, with its recorded checksum; a bare file has none.
        checksums: CRC-32 by path of the arrays that were read already; everything
            else is read now.
        room: Room for a block.
    """
    if file.crc is None:
        return
    crc = position = 0
    for array in file.arrays.values():
        if array.nbytes == 0:
            continue
        offset = array.data.start - file.data.start
        crc = _checksum_onward(file.data, position, offset, crc, room)
        known = checksums.get(array.path)
        if known is None:
            known = CheckedSource(array.data, room).checksum()
        crc = combine_crc(crc, known, array.nbytes)
        position = offset + array.nbytes
    crc = _checksum_onward(file.data, position, file.data.size, crc, room)
    with refusing(file.data.name):
        if crc != file.crc:
            raise BrokenRule("its checksum does not match", FETCH_AGAIN)


def _checksum_onward(
    data: ByteWindow, start: int, stop: int, crc: int, room: memoryview
) -> int:
    with refusing(data.name):
        while start < stop:
            block = room[: min(BLOCK, stop - start)]
            data.read_into(start, block)
            crc = zlib.crc32(block, crc)
            start += len(block)
    return crc
