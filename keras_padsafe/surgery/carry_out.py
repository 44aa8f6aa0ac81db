"""Carries a request out on a file or on a live model."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_padsafe.archive import Archive, open_archive
from keras_padsafe.arguments import (
    Progress,
    read_flag,
    read_path,
    read_progress,
)
from keras_padsafe.errors import NotProvedError, SurgeryError
from keras_padsafe.proof.certificate import LOADS, Certificate
from keras_padsafe.surgery.live_model import (
    is_live_model,
    load_anew,
    through_archive,
)
from keras_padsafe.surgery.options import WritingOptions
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.request import Request
from keras_padsafe.surgery.prove import prove
from keras_padsafe.surgery.report import Report
from keras_padsafe.surgery.take_over import take_over
from keras_padsafe.surgery.transfer.transfer import transfer


def carry_out(
    source: Any,
    target: str | os.PathLike[str] | None,
    options: WritingOptions,
    *,
    in_place: bool = False,
    **asked: Any,
) -> Report:
    """Plans, transfers and proves in one reading of the source.

    `asked` is what is to be done, as `Request` has it; if `in_place`, a live model
    takes the change over itself.
    """
    writing: dict[str, Any] = {**options}
    names = ("overwrite", "proof", "progress")
    how = read_how(**{n: writing.pop(n) for n in names if n in writing})
    request = Request(**asked, **writing)

    def operate(read: str, write: str) -> Report:
        started = time.perf_counter()
        with open_archive(read) as archive:
            plan = request.plan(archive)
            return write_proved(plan, archive, write, started, *how)

    written = None if target is None else read_path(target, "target")
    if is_live_model(source):
        if in_place and written is not None:
            raise SurgeryError(
                "target: a live model is changed in place, and no file is written. "
                "Expected: no target. Save the model with `model.save`."
            )
        finish = take_over if in_place else load_anew
        return through_archive(source, written, operate, finish)
    if written is None:
        raise SurgeryError(
            "target: expected the `.keras` file to write; received none. Only a live "
            "model as `source` needs none."
        )
    return operate(read_path(source, "source"), written)


def read_how(
    overwrite: Any = False, proof: Any = None, progress: Any = None
) -> tuple[bool, bool | None, Progress | None]:
    """The arguments that say how a file is written, each of its type."""
    return (
        read_flag(overwrite, "overwrite"),
        None if proof is None else read_flag(proof, "proof"),
        read_progress(progress, "progress"),
    )


def write_proved(
    plan: Plan,
    source: Archive,
    target: str,
    started: float,
    overwrite: bool,
    proof: bool | None,
    progress: Callable[[int, int], None] | None,
) -> Report:
    """Writes what a plan makes of an open archive, and proves it where that is due.

    Raises:
        NotProvedError: if the new file is not proved; then there is none.
    """
    certificates: list[Certificate] = []

    def accept(unnamed: Path) -> None:
        found = prove(plan, source.path, unnamed)
        certificate = replace(found, target=Path(target))
        certificates.append(certificate)
        if not certificate.passed:
            raise NotProvedError(_not_proved(certificate, target, plan), certificate)

    due = plan.needs_proof if proof is None else proof
    transfer(
        plan,
        source,
        target,
        overwrite=overwrite,
        progress=progress,
        accept=accept if due else None,
    )
    seconds = time.perf_counter() - started
    certificate = certificates[0] if certificates else None
    return Report(source.path, Path(target), plan, seconds, certificate=certificate)


def why_wrong(plan: Plan, certificate: Certificate) -> str:
    """What a user can do where a change of the ids does not keep old outputs."""
    if any(c.status == "failed" and c.name == LOADS for c in certificate.checks):
        return (
            "Something in the model depends on the number of ids, and is not known to "
            "belong to it: name it with --also, or grow the model in Keras."
        )
    counts = [
        one.old
        for one in plan.config
        if one.reason.startswith(("shown: the rows", "said"))
        if type(one.old) is int and one.old < plan.old_size
        if plan.row_map.is_append
    ]
    before = "".join(
        f"A number says {at}: if the rows from there on are for something else than "
        f"words, put new ids before them, at={at} (--at {at}). "
        for at in counts[:1]
    )
    flags = "".join(f"{note} " for note in plan.notes if "--also" in note)
    return (
        "Something in the model depends on the ids, or on their number, in a way that "
        f"this change does not keep. {flags}{before}Where a new column changes old "
        "answers, new_rows='zeros' (--new-rows zeros) may not. If only ids differ that "
        "the model never gets, pass proof=False (--no-proof). If nothing helps, change "
        "the model in Keras and train it again."
    )


def _not_proved(certificate: Certificate, target: str, plan: Plan) -> str:
    wrong = [check for check in certificate.checks if check.status == "failed"]
    holes = [check for check in certificate.checks if check.status == "skipped"]
    listed = "\n".join(f"  - {check.name}: {check.detail}" for check in wrong or holes)
    if wrong:
        return (
            f"{target}: the new file is wrong, so it was not kept:\n{listed}\n"
            f"{why_wrong(plan, certificate)}"
        )
    return (
        f"{target}: the new file could not be proved, so it was not "
        f"kept:\n{listed}\nResolve this, or pass proof=False (--no-proof) to keep a "
        "file that is not proved."
    )
