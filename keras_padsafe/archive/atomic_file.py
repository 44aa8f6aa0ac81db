"""Writes a file so that it appears whole, or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keras_padsafe.errors import ArchiveError

_FIXES = {
    errno.ENOSPC: "Free some space there, or choose another folder.",
    errno.EDQUOT: "Your quota there is used up; choose another folder.",
    errno.EFBIG: "Files there may not be so large; choose another folder.",
    errno.EACCES: "The folder cannot be written to; choose another.",
    errno.EPERM: "The folder cannot be written to; choose another.",
    errno.EROFS: "The folder is read-only; choose another.",
    errno.ENOENT: "Make the folder first.",
    errno.ENOTDIR: "Make the folder first.",
}


@contextmanager
def atomic_file(
    target: Path, size: int, accept: Callable[[Path], None] | None = None
) -> Iterator[int]:
    """Yields a descriptor to write `size` bytes to, which then become `target`.

    The bytes go to a temporary file in the target's folder, are flushed to disk, and
    take the target's name in one step, once `accept`, called with the temporary file,
    has raised nothing. On any error, and on an interrupt, the temporary file is
    removed and the target is as it was.
    """
    token = secrets.token_hex(4)
    temporary = target.with_name(f".{target.stem}.{token}.tmp{target.suffix}")
    with _explaining(target):
        _check_space(target.parent, size)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)  # less the umask
        try:
            try:
                yield descriptor
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if accept is not None:
                accept(temporary)
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _flush_folder(target.parent)


@contextmanager
def _explaining(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "Check the disk, or choose another folder.")
        raise ArchiveError(
            f"{target}: it could not be written ({error.strerror}); nothing was left "
            f"behind. {fix}"
        ) from error


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC, f"{size} bytes are needed in {folder}, {free} are free"
        )


def _flush_folder(folder: Path) -> None:
    """Makes the new name survive a power failure, where folders can be flushed."""
    with suppress(OSError):  # some file systems cannot; the file itself is safe
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
