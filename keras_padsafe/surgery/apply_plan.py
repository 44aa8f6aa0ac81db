"""Carries out a plan on a saved model."""

import os
import time
from collections.abc import Callable

from keras_padsafe.archive import open_archive
from keras_padsafe.arguments import read_path
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.surgery.carry_out import read_how, write_proved
from keras_padsafe.surgery.check_fit import check_fit
from keras_padsafe.surgery.planning.check_plan import check_plan
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.report import Report


def apply_plan(
    plan: Plan,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    proof: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Carries out a plan on a file: the one it was made for, or another checkpoint.

    Args:
        plan: What `plan` returned, or `Plan.load` read.
        source: A `.keras` file, its unzipped folder or a preset of KerasHub; never
            modified.
        target: The `.keras` file to write, for a preset the folder; it appears whole or
            not at all.
        overwrite: Whether `target` may exist.
        proof: Whether both models are run before `target` gets its name; left out,
            where the plan needs it (`Plan.needs_proof`).
        progress: Called with the bytes written so far and their total.

    Raises:
        SurgeryError: if the plan does not fit the file.
        NotProvedError: if the new file is not proved; then there is none.
        ArchiveError: if a file cannot be read or written.
    """
    started = time.perf_counter()
    _check_can_apply(plan)
    source, target = read_path(source, "source"), read_path(target, "target")
    how = read_how(overwrite, proof, progress)
    with open_archive(source) as archive:
        fitting = check_fit(plan, archive)
        return write_proved(fitting, archive, target, started, *how)


def _check_can_apply(plan: Plan) -> None:
    if not isinstance(plan, Plan):
        raise SurgeryError(
            f"plan: expected a Plan; received {shortly(plan)}. Read a file with "
            "`keras_padsafe.surgery.Plan.load(path)`."
        )
    check_plan(plan)
    if not plan.spells_rows:
        raise SurgeryError(
            "plan: it was made with rows of your own, and they are missing, as in "
            "the record inside a grown file. Expected: a plan written by Plan.save."
        )
