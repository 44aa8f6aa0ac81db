"""Carries a plan out for a command, with a progress bar, and shows what was done."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from keras_padsafe.archive.atomic_file import explaining, write_file
from keras_padsafe.archive.target import check_folder, check_target
from keras_padsafe.cli.command import FINDINGS
from keras_padsafe.cli.keras_session import surgery_session
from keras_padsafe.cli.output import progress_bar, show
from keras_padsafe.cli.printable import printable
from keras_padsafe.cli.settle_target import settle_target
from keras_padsafe.cli.writing import Writing
from keras_padsafe.errors import NotProvedError
from keras_padsafe.proof.load_preset import is_preset

if TYPE_CHECKING:
    from keras_padsafe.surgery import Certificate, Plan, Report


def carry_out(
    model: str,
    make: Callable[[], "Plan"],
    writing: Writing,
    reads: Sequence[str | None] = (),
) -> None:
    """Plans, writes and proves a file as asked, and shows the report.

    A file that is not proved is not kept; then its certificate is shown, and the
    command exits with 1.

    Args:
        model: The file to read.
        make: Makes the plan; called where Keras may be imported.
        writing: How the file is written.
        reads: What else the command reads.
    """
    output, id_map, force = writing.output, writing.id_map, writing.force
    check = check_folder if is_preset(model) else check_target
    read = settle_target(output, force=force, inputs=[model, *reads], check=check)
    if id_map is not None:
        with explaining(id_map):
            os.stat(os.path.dirname(os.path.realpath(id_map)))
        if output and os.path.realpath(id_map) == os.path.realpath(output):
            raise click.UsageError(
                "-o and --map name the same file. Give each its own."
            )
    read = settle_target(id_map, force=force, inputs=[*read, output])
    plan = None
    try:
        with surgery_session(writing.modules):
            plan = make()
            report = _write_all(plan, model, writing, read)
    except NotProvedError as error:
        from keras_padsafe.cli.certificate_view import certificate_view

        found = error.certificate
        show(
            found.to_json(),
            certificate_view,
            kind="certificate",
            as_json=writing.as_json,
        )
        for note in plan.notes if plan else ():
            click.echo(f"Note: {printable(note)}", err=True)
        click.echo(f"Error: {printable(_not_kept(found, plan))}", err=True)
        click.get_current_context().exit(FINDINGS)
    from keras_padsafe.cli.plan_view import plan_view
    from keras_padsafe.cli.report_view import report_view

    if report is None:
        show(plan.to_json(), plan_view, kind="plan", as_json=writing.as_json)
        return
    view = partial(
        report_view, imports=_imports(model, writing), declined=writing.proof is False
    )
    show(report.to_json(), view, kind="report", as_json=writing.as_json)


def _write_all(
    plan: "Plan", model: str, writing: Writing, inputs: tuple[str, ...]
) -> "Report | None":
    """Writes the model and the table of ids, where asked.

    The table has its name last, so that a full disk leaves neither.
    """
    output, id_map, reports = writing.output, writing.id_map, []

    def write_model(*_: Any) -> None:
        if output is not None:
            with explaining(output):
                reports.append(_write(plan, model, output, writing))

    if id_map is None:
        write_model()
    else:
        write_file(
            id_map,
            plan.map_text(),
            overwrite=writing.force,
            inputs=inputs,
            accept=write_model,
        )
        click.echo(f"Table of ids written to {id_map}", err=True)
    return reports[0] if reports else None


def _write(plan: "Plan", model: str, output: str, writing: Writing) -> "Report":
    from keras_padsafe import surgery

    due = plan.needs_proof if writing.proof is None else writing.proof
    title = f"Writing {'and proving ' if due else ''}{output}"
    with progress_bar(title, as_json=writing.as_json) as progress:
        return surgery.apply_plan(
            plan,
            model,
            output,
            overwrite=writing.force,
            proof=writing.proof,
            progress=progress,
        )


def _not_kept(found: "Certificate", plan: "Plan | None") -> str:
    """What the certificate, already shown, means for the file."""
    if found.verdict == "wrong":
        from keras_padsafe.surgery.carry_out import why_wrong

        why = why_wrong(plan, found) if plan else ""
        return f"{found.target}: the new file is wrong, so it was not kept. {why}"
    return (
        f"{found.target}: the new file could not be proved, so it was not kept. "
        "Resolve what could not be checked, or add --no-proof to keep a file that is "
        "not proved."
    )


def _imports(model: str, writing: Writing) -> tuple[str, ...]:
    """The modules that `verify` must import; `MODULE` stands for one not named yet."""
    from keras_padsafe.archive import open_archive
    from keras_padsafe.saved_model.layer_tree import read_layer_tree
    from keras_padsafe.surgery.finding.unknown_layers import own_classes

    if writing.modules:
        return writing.modules
    with open_archive(model) as archive:
        return ("MODULE",) if own_classes(read_layer_tree(archive)) else ()
