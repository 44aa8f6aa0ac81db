"""`keras-padsafe repair`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.growth_options import model_argument, target_options
from keras_padsafe.cli.keras_session import import_option, keras_session
from keras_padsafe.cli.output import (
    json_option,
    progress_bar,
    show,
)
from keras_padsafe.cli.settle_target import settle_target


@click.command(
    cls=Command,
    short_help="Replace layers that let padding through with safe ones.",
    examples=[
        "repair model.keras -o repaired.keras",
        "repair model.keras -o repaired.keras --import my_layers --json",
    ],
)
@model_argument
@target_options
@import_option
@json_option
@click.pass_context
def repair(
    ctx: click.Context,
    model: str,
    output: str,
    force: bool,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """Replace layers of a trained model that let padding through with safe ones.

    Weights, names and the optimizer stay. Only layers that a mask reaches are replaced.
    Then Keras loads both models, on the backend that KERAS_BACKEND names, to prove that
    rows without padding keep their outputs. The last line is WRONG if something could
    not be repaired or a check failed, NOT PROVED if something could not be checked, and
    else PROVED. The exit code is 0 only for PROVED. Code that loads the new file must
    import keras_padsafe.
    """
    from keras_padsafe import audit
    from keras_padsafe.cli.repair_view import repair_view

    settle_target(output, force=force, inputs=[model])
    with (
        keras_session(modules),
        progress_bar(f"Writing {output}", as_json=as_json) as progress,
    ):
        report = audit.repair(model, output, overwrite=force, progress=progress)
    show(report.to_json(), repair_view, kind="repair", as_json=as_json)
    if not report.passed:
        ctx.exit(FINDINGS)
