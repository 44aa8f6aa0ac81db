"""`keras-padsafe inspect`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.growth_options import model_argument, settling_options
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="List what is bound to each vocabulary of a saved model.",
    examples=[
        "inspect model.keras",
        "inspect model.keras --also token_table:0 --leave position_table --json",
    ],
)
@model_argument
@settling_options
@json_option
@click.pass_context
def inspect(
    ctx: click.Context,
    model: str,
    also: tuple[str, ...],
    leave: tuple[str, ...],
    as_json: bool,
) -> None:
    """List every vocabulary of a saved model, what is bound to it, and why.

    MODEL is a .keras file or its unzipped folder. No array is loaded and no code of
    the model is run. Exits with 1 if something has to be settled by you before the
    vocabulary can grow; the flag that settles it is shown.
    """
    from keras_padsafe import surgery
    from keras_padsafe.cli.inventory_view import inventory_view

    inventory = surgery.inspect(model, also=also, leave=leave)
    show(inventory.to_json(), inventory_view, as_json=as_json)
    if any(v.unexplained or v.slot_problem for v in inventory.vocabularies):
        ctx.exit(FINDINGS)
