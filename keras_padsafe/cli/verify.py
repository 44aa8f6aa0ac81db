"""`keras-padsafe verify`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.keras_session import import_option, keras_session
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="Prove a change of the vocabulary by running both models.",
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
    help="The plan that was applied. Needed only if NEW has been saved again since.",
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
    """Prove a change of the vocabulary, on the files and by running both models.

    The kept rows and everything else are compared bit for bit. Then Keras loads both
    models, on the backend that KERAS_BACKEND names, and their outputs are compared.
    The last line is WRONG if a check failed, NOT PROVED if something could not be
    checked, and else PROVED. The exit code is 0 only for PROVED.
    """
    from keras_padsafe import surgery
    from keras_padsafe.cli.certificate_view import certificate_view

    plan = None if plan_file is None else surgery.Plan.load(plan_file)
    with keras_session(modules):
        certificate = surgery.verify(old, new, plan)
    show(certificate.to_json(), certificate_view, kind="certificate", as_json=as_json)
    if not certificate.passed:
        ctx.exit(FINDINGS)
