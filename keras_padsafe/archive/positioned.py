"""Reads and writes at a position of an open file, on any system.

Windows has none of the calls, macOS had no `preadv` before version 11. There one lock
guards the one position that a descriptor has.
"""

import os
import threading

_position = threading.Lock()


def read_at(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Fills `buffer`, or its beginning, from `offset`; returns how many bytes."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], offset)
    if hasattr(os, "pread"):
        data = os.pread(descriptor, len(buffer), offset)
    else:
        with _position:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def write_at(descriptor: int, data: memoryview, offset: int) -> int:
    """Writes `data`, or its beginning, at `offset`; returns how many bytes.

    Where the next `os.write` goes does not change.
    """
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    with _position:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, offset, os.SEEK_SET)
        count = os.write(descriptor, data)
        os.lseek(descriptor, before, os.SEEK_SET)
        return count


def start_flush(descriptor: int, offset: int, count: int) -> None:
    """Lets the system begin to put bytes on the disk, so that `fsync` waits less."""
    if hasattr(os, "posix_fadvise"):  # Linux writes before it could forget
        os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
