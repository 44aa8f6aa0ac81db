"""Refuses a file that may not be written, before any work is done for it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_padsafe.archive.atomic_file import explaining
from keras_padsafe.archive.target import check_target


def settle_target(
    target: str | os.PathLike[str] | None,
    *,
    force: bool,
    inputs: Sequence[str | None] = (),
    check: Callable[..., None] = check_target,
) -> tuple[str, ...]:
    """Refuses a file that may not be written, before any work is done for it.

    Args:
        target: The file; `None` where none is to be written.
        force: Whether it may exist.
        inputs: What the command reads; `None` where it reads nothing.
        check: What refuses it: `check_folder` where a folder is to be written.

    Returns:
        The inputs that are files, for the writer, which looks again.
    """
    read = tuple(path for path in inputs if path is not None and os.path.exists(path))
    if target is not None:
        with explaining(target):
            path = Path(os.path.realpath(target))
            check(path, overwrite=force, inputs=read)
    return read
