"""`keras-padsafe verify`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.keras_session import import_option, keras_session
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="Prove what a surgery did, by running both models.",
    examples=[
        "verify model.keras grown.keras",
        "verify model.keras grown.keras --import my_layers --plan plan.json",
    ],
)
@click.argument("old", metavar="OLD", type=click.Path())
@click.argument("new", metavar="NEW", type=click.Path())
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(),
    metavar="FILE",
    help="The plan that was applied; NEW itself holds it until it is saved again.",
)
@import_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    old: str,
    new: str,
    plan_file: str | None,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prove what a surgery did, on the files and by running both models.

    Rows kept and all else are compared bit for bit; then both models are loaded by
    Keras, on the backend that KERAS_BACKEND names, and their outputs compared. Ends
    with PROVED, WRONG, or NOT PROVED if something could not be looked at, and exits
    with 1 unless all is proved.
    """
    from keras_padsafe import surgery
    from keras_padsafe.cli.certificate_view import certificate_view

    plan = None if plan_file is None else surgery.Plan.load(plan_file)
    with keras_session(modules):
        certificate = surgery.verify(old, new, plan)
    show(certificate.to_json(), certificate_view, kind="certificate", as_json=as_json)
    if not certificate.passed:
        ctx.exit(FINDINGS)
