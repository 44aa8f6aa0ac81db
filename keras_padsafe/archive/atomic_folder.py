"""Writes a folder so that it appears whole, or not at all."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from keras_padsafe.archive.atomic_file import flush_folder, named_at_last
from keras_padsafe.archive.leftovers import FOLDER
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
    check = partial(check_folder, overwrite=overwrite, inputs=inputs)
    take = partial(take_folder_name, overwrite=overwrite)
    with named_at_last(target, size, check, take, FOLDER) as temporary:
        os.mkdir(temporary)
        yield temporary
        for folder, _, _ in os.walk(temporary):
            flush_folder(Path(folder))
        if accept is not None:
            accept(temporary)
