"""Carries a plan out for a command, with a progress bar, and shows what was done."""

import os
from typing import TYPE_CHECKING

from keras_padsafe.cli.output import progress_bar, refuse_to_overwrite, show

if TYPE_CHECKING:
    from keras_padsafe.surgery import Plan


def carry_out(
    made: "Plan", model: str, output: str, *, force: bool, as_json: bool
) -> None:
    """Writes `output` from `model` by the plan `made`, and shows the report."""
    from keras_padsafe import surgery
    from keras_padsafe.cli.plan_view import report_view

    if not is_same_file(model, output):  # That has an error of its own.
        refuse_to_overwrite(output, force=force)
    with progress_bar(f"Writing {output}", as_json=as_json) as progress:
        report = surgery.apply_plan(
            made, model, output, overwrite=force, progress=progress
        )
    show(report.to_json(), report_view, as_json=as_json)


def is_same_file(first: str, second: str) -> bool:
    """Whether two paths lead to one file that exists."""
    exist = os.path.exists(first) and os.path.exists(second)
    return exist and os.path.samefile(first, second)
