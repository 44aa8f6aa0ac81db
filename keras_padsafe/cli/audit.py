"""`keras-padsafe audit`."""

import click

from keras_padsafe.archive.atomic_file import write_file
from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.growth_options import model_argument
from keras_padsafe.cli.keras_session import import_option, keras_session
from keras_padsafe.cli.output import json_option, show
from keras_padsafe.cli.printable import printable
from keras_padsafe.cli.settle_target import settle_target


@click.command(
    cls=Command,
    short_help="Find what makes NaN, loses a mask or lets padding through.",
    examples=[
        "audit model.keras",
        "audit model.keras --batch batch.npz --html report.html",
    ],
)
@model_argument
@click.option(
    "--batch",
    "batch_file",
    type=click.Path(),
    metavar="FILE",
    help=(
        "A batch to run: a .npy file of inputs, or a .npz file with x (or the model's "
        "inputs by name) and, if you like, y and sample_weight."
    ),
)
@click.option(
    "--pad-id",
    type=int,
    metavar="ID",
    help="The id of padding. Default: the one that the model defines.",
)
@click.option(
    "--html",
    type=click.Path(),
    metavar="FILE",
    help="Also write an HTML page with a picture.",
)
@click.option("--force", is_flag=True, help="Write over that page if it exists.")
@import_option
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    model: str,
    batch_file: str | None,
    pad_id: int | None,
    html: str | None,
    force: bool,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """Find what makes NaN, loses a mask or lets padding change an answer.

    Without a batch, only the weights and the configuration are read; no code of the
    model runs. With a batch, Keras loads the model on the backend that KERAS_BACKEND
    names, and every layer is watched. The last line is WRONG if there is an error or a
    warning, NOT PROVED if something could not be checked, and else PROVED. The exit
    code is 0 only for PROVED. Notes need no action. keras-padsafe explain CODE says
    more about a finding.
    """
    from keras_padsafe.audit.audit_file import audit_file, audit_with_batch
    from keras_padsafe.cli.audit_view import audit_view
    from keras_padsafe.cli.read_batch import read_batch

    reads = [model, batch_file]
    inputs = settle_target(html, force=force, inputs=reads)
    if batch_file is None:
        report = audit_file(model)
    else:
        batch = read_batch(batch_file)
        with keras_session(modules):
            report = audit_with_batch(
                model,
                batch.x,
                batch.y,
                batch.sample_weight,
                pad_id=pad_id,
                batch_name=batch_file,
            )
    document = report.to_json()
    if html is not None:
        from keras_padsafe.cli.audit_html import audit_html

        page = audit_html(printable(document))
        write_file(html, page, overwrite=force, inputs=inputs)
        click.echo(f"Page written to {html}", err=True)
    show(document, audit_view, kind="audit", as_json=as_json)
    if not report.passed:
        ctx.exit(FINDINGS)
