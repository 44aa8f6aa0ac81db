"""Carries a request out on a file or on a live model."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_padsafe.archive import open_archive
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.arguments import read_path
from keras_padsafe.surgery.live_model import is_live_model, through_archive
from keras_padsafe.surgery.planning.request import Request
from keras_padsafe.surgery.report import Report
from keras_padsafe.surgery.transfer.transfer import transfer


def carry_out(
    request: Request,
    source: Any,
    target: str | os.PathLike[str] | None,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> Report:
    """Plans and transfers in one reading of the source.

    Raises:
        SurgeryError: if no target is given for a file.
    """

    def operate(read: str, write: str) -> Report:
        started = time.perf_counter()
        with open_archive(read) as archive:
            plan = request.plan(archive)
            transfer(plan, archive, write, overwrite=overwrite, progress=progress)
        seconds = time.perf_counter() - started
        return Report(Path(read), Path(write), plan, seconds)

    written = None if target is None else read_path(target, "target")
    if is_live_model(source):
        return through_archive(source, written, operate)
    if written is None:
        raise SurgeryError(
            "expected `target`, the `.keras` file to write; received none. It may be "
            "left out only when `source` is a live model."
        )
    return operate(read_path(source, "source"), written)
