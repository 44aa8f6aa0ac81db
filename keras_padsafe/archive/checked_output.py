"""Sequential output that knows the checksum of what went by."""

import os
import zlib

from keras_padsafe.archive.crc import combine_crc
from keras_padsafe.archive.limits import KIB, MIB
from keras_padsafe.archive.positioned import start_flush, write_at
from keras_padsafe.arguments import Progress

BLOCK = 512 * KIB  # what was just read is still in the cache when it is written
# Below this, to copy bytes into a buffer costs less than a system call.
_SMALL = 64 * KIB
# So many are left to the disk while the next are made.
_FLUSHED_AT_ONCE = 16 * MIB


class CheckedOutput:
    """Writes to a descriptor in order, in blocks, and reports progress."""

    def __init__(self, descriptor: int, total: int, progress: Progress | None) -> None:
        self._descriptor = descriptor
        self._total = total
        self._progress = progress
        self._buffer = bytearray()
        self._written = 0
        self._flushing = 0
        self._crc = 0

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        return self._written + len(self._buffer)

    def start_checksum(self) -> None:
        """From here on, `checksum` counts."""
        self.flush()
        self._crc = 0

    def checksum(self) -> int:
        """CRC-32 of everything since `start_checksum`."""
        self.flush()
        return self._crc

    def write(self, data: bytes | memoryview, crc: int | None = None) -> None:
        """Appends `data`; whoever knows its checksum saves computing it."""
        if len(data) < _SMALL:
            self._buffer += data
            if len(self._buffer) >= BLOCK:
                self.flush()
        else:
            self.flush()
            self._emit(data, zlib.crc32(data) if crc is None else crc)

    def flush(self) -> None:
        """Writes what is in the buffer."""
        if self._buffer:
            full, self._buffer = self._buffer, bytearray()
            self._emit(full, zlib.crc32(full))

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replaces bytes that were written before."""
        self.flush()
        view = memoryview(data)
        while view:
            count = write_at(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def _emit(self, data: bytes | bytearray | memoryview, crc: int) -> None:
        self._crc = combine_crc(self._crc, crc, len(data))
        view = memoryview(data)
        while view:
            count = os.write(self._descriptor, view)
            view = view[count:]
            self._written += count
        if (waiting := self._written - self._flushing) >= _FLUSHED_AT_ONCE:
            start_flush(self._descriptor, self._flushing, waiting)
            self._flushing = self._written
        if self._progress is not None:
            self._progress(self._written, self._total)
