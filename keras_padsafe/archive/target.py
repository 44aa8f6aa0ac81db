"""Where a file may be written, and how it takes its name without costing another."""

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from keras_padsafe.archive.member_names import ASSETS, CONFIG, METADATA, WEIGHTS
from keras_padsafe.errors import ArchiveError

Input = str | os.PathLike[str] | int
"""What a command reads: the path of a file or of a model's folder, or a descriptor."""


def check_target(target: Path, *, overwrite: bool, inputs: Iterable[Input]) -> None:
    """Refuses a name whose file would be lost, or would change what is read.

    Args:
        target: The file to write.
        overwrite: Whether it may exist.
        inputs: What must stay as it is, whatever `overwrite` says.

    Raises:
        ArchiveError: saying why, and what to write to instead.
    """
    for source in inputs:
        if _belongs_to(target, source):
            raise ArchiveError(
                f"{target}: this is the source itself, or a part of it. Write to "
                "another name."
            )
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise ArchiveError(
            f"{target}: it exists already, and is a folder or a device, not a file. "
            "Choose another name."
        )
    if not overwrite:
        raise _taken(target)


def check_folder(target: Path, *, overwrite: bool, inputs: Iterable[Input]) -> None:
    """Refuses a folder that would be lost, or would change what is read.

    Args:
        target: The folder to write.
        overwrite: Whether it may exist, as a preset or empty.
        inputs: What must stay as it is, whatever `overwrite` says.

    Raises:
        ArchiveError: saying why, and what to write to instead.
    """
    for source in inputs:
        inside = not isinstance(source, int) and target in _around(source)
        if inside or _belongs_to(target, source):
            raise ArchiveError(
                f"{target}: this is the source itself, or a part of it, or a folder "
                "around it. Write to another name."
            )
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise _taken(target)
    if not target.is_dir() or (
        any(target.iterdir()) and not (target / CONFIG).exists()
    ):
        raise ArchiveError(
            f"{target}: it exists already and is no preset, so it is not replaced. "
            "Choose another name."
        )


def _around(source: str | os.PathLike[str]) -> list[Path]:
    path = Path(os.path.realpath(source))
    return [path, *path.parents]


def _taken(target: Path) -> ArchiveError:
    return ArchiveError(
        f"{target}: it exists already. Choose another name, or allow overwriting: "
        "overwrite=True (--force)."
    )


def _belongs_to(target: Path, source: Input) -> bool:
    """Whether to write there is to change `source`, through whatever links."""
    if isinstance(source, int) or not os.path.isdir(source):
        return _is_same(target, source)
    folder = Path(os.path.realpath(source))
    return target.is_relative_to(folder) or any(
        _is_same(target, file) for file in _files_of_model(folder)
    )


def _is_same(target: Path, source: Input) -> bool:
    with suppress(OSError):  # What is not there is not the same.
        return os.path.samestat(os.stat(target), os.stat(source))
    return False


def _files_of_model(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in (CONFIG, METADATA, WEIGHTS))
    for inner, _, names in os.walk(folder / ASSETS):
        yield from (Path(inner, name) for name in names)


def take_name(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Gives a finished file its name, in one step.

    Raises:
        ArchiveError: if the name was taken meanwhile and may not be.
    """
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        _rename_to_free_name(temporary, target)
    except FileExistsError:
        raise _taken(target) from None


def take_folder_name(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Gives a finished folder its name; what had it is removed once it has.

    Raises:
        ArchiveError: if the name was taken meanwhile and may not be.
    """
    replaced = None
    if overwrite and target.exists():
        # No leftover: if the machine stops now, it is all there is of it.
        replaced = target.with_name(f".{target.name}.replaced-{temporary.stem[-8:]}")
        os.rename(target, replaced)
    try:
        os.rename(temporary, target)
    except OSError as error:
        if replaced is not None:
            os.rename(replaced, target)
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise _taken(target) from None
        raise
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _rename_to_free_name(temporary: Path, target: Path) -> None:
    if os.name == "nt":
        os.rename(temporary, target)  # which replaces nothing there
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except (
        OSError,
        AttributeError,
    ):  # A system or a disk without links: the name is taken, then filled.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(temporary, target)
    else:
        os.unlink(temporary)
