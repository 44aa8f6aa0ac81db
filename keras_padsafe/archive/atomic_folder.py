"""Writes a folder so that it appears whole, or not at all."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_padsafe.archive.atomic_file import check_space, explaining, flush_folder
from keras_padsafe.archive.leftovers import (
    FOLDER,
    remove,
    remove_leftovers,
    removed_when_killed,
    temporary_beside,
)
from keras_padsafe.archive.target import Input, check_folder, take_folder_name


@contextmanager
def atomic_folder(
    target: Path,
    size: int,
    *,
    overwrite: bool,
    inputs: Collection[Input] = (),
    accept: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Yields an empty folder to write files to, which then becomes `target`.

    As `atomic_file` for a file: the folder has a temporary name beside the target
    until it is complete and `accept` has raised nothing, and is removed on any error.

    Args:
        target: The folder to write; where a link leads, is written.
        size: How many bytes its files will have.
        overwrite: Whether it may exist, now or when it is finished.
        inputs: What it may never hold, be or lie in: what is read.
        accept: Called with the finished folder before it has its name.

    Raises:
        ArchiveError: if it cannot be written there; nothing was.
    """
    with explaining(target):
        target = Path(os.path.realpath(target))
        check_folder(target, overwrite=overwrite, inputs=inputs)
        remove_leftovers(target.parent)
        check_space(target.parent, size)
        temporary = temporary_beside(target, FOLDER)
        with removed_when_killed(temporary):
            os.mkdir(temporary)
            try:
                yield temporary
                for folder, _, _ in os.walk(temporary):
                    flush_folder(Path(folder))
                if accept is not None:
                    accept(temporary)
                check_folder(target, overwrite=overwrite, inputs=inputs)
                take_folder_name(temporary, target, overwrite=overwrite)
            except BaseException:
                remove(temporary)
                raise
        flush_folder(target.parent)
