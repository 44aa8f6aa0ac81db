"""Writes a file so that it appears whole, or not at all."""

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from keras_padsafe.archive.leftovers import (
    FILE,
    remove,
    remove_leftovers,
    removed_when_killed,
    temporary_beside,
)
from keras_padsafe.archive.target import Input, check_target, take_name
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
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


@contextmanager
def atomic_file(
    target: Path,
    size: int,
    *,
    overwrite: bool,
    inputs: Collection[Input] = (),
    accept: Callable[[Path], None] | None = None,
) -> Iterator[int]:
    """Yields a descriptor to write `size` bytes to, which then become `target`.

    The bytes go to a temporary file in the target's folder, are flushed to disk, and
    take the target's name in one step, once `accept`, called with the temporary file,
    has raised nothing. On any error, an interrupt, SIGTERM and SIGHUP the temporary
    file is removed and the target is as it was; what a dead process left in the folder
    is removed first.

    Args:
        target: The file to write; where a link leads, is written.
        size: How many bytes it will have.
        overwrite: Whether it may exist, now or when it is finished.
        inputs: What it may never be: what is read.
        accept: Called with the finished file before it has its name.

    Raises:
        ArchiveError: if it cannot be written there; nothing was.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    check = partial(check_target, overwrite=overwrite, inputs=inputs)
    take = partial(take_name, overwrite=overwrite)
    with named_at_last(target, size, check, take) as temporary:
        descriptor = os.open(temporary, flags, 0o666)  # less the umask
        try:
            yield descriptor
            os.fsync(descriptor)
            if accept is not None:
                accept(temporary)
        finally:
            os.close(descriptor)


@contextmanager
def named_at_last(
    target: Path,
    size: int,
    check: Callable[[Path], None],
    take: Callable[[Path, Path], None],
    suffix: str = FILE,
) -> Iterator[Path]:
    """Yields a name beside `target` for what becomes it in the end, or is removed.

    Args:
        target: What to write; where a link leads, is written.
        size: How many bytes it will have.
        check: Refuses a target, before and after.
        take: Gives what is there under the first name the second one.
        suffix: That of temporary names.
    """
    with explaining(target):
        target = Path(os.path.realpath(target))
        check(target)
        remove_leftovers(target.parent)
        check_space(target.parent, size)
        temporary = temporary_beside(target, suffix)
        with removed_when_killed(temporary):
            try:
                yield temporary
                check(target)
                take(temporary, target)
            except BaseException:
                remove(temporary)
                raise
        flush_folder(target.parent)


def write_file(
    target: str | os.PathLike[str],
    contents: str | bytes,
    *,
    overwrite: bool,
    inputs: Collection[Input] = (),
    accept: Callable[[Path], None] | None = None,
) -> None:
    """Writes bytes, or a text as UTF-8, as `atomic_file` writes."""
    data = memoryview(contents if isinstance(contents, bytes) else contents.encode())
    with atomic_file(
        Path(target), len(data), overwrite=overwrite, inputs=inputs, accept=accept
    ) as descriptor:
        while data:
            data = data[os.write(descriptor, data) :]


@contextmanager
def explaining(target: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what the system says against a target into an error that names it."""
    try:
        yield
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "Check the disk, or choose another folder.")
        raise ArchiveError(
            f"{target}: it could not be written ({error.strerror}); nothing was left "
            f"behind. {fix}"
        ) from error


def check_space(folder: Path, size: int) -> None:
    """Raises `OSError` where a folder has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC, f"{size} bytes are needed in {folder}, {free} are free"
        )


def flush_folder(folder: Path) -> None:
    """Makes the new name survive a power failure, where folders can be flushed."""
    with suppress(OSError):  # some file systems cannot; the file itself is safe
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
