"""`keras-padsafe repair`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.growth_options import model_argument, target_options
from keras_padsafe.cli.keras_session import import_option, keras_session
from keras_padsafe.cli.output import (
    json_option,
    progress_bar,
    settle_target,
    show,
)


@click.command(
    cls=Command,
    short_help="Swap layers that let padding through for ours.",
    examples=[
        "repair model.keras -o mended.keras",
        "repair model.keras -o mended.keras --import my_layers --json",
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
    """Swap the layers of a trained model that let padding through for ours.

    Weights, names and optimizer stay; only what a mask reaches is swapped, in the
    file. Then both models are loaded by Keras, on the backend that KERAS_BACKEND
    names, to prove that rows without padding keep their outputs. Ends with PROVED,
    WRONG if something could not be mended or a check failed, or NOT PROVED if
    something could not be looked at, and exits with 1 unless all is proved. Whoever
    loads the new file must import keras_padsafe.
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
