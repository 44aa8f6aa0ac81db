"""`keras-padsafe inspect`."""

import click

from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.growth_options import model_argument, settling_options
from keras_padsafe.cli.keras_session import import_option, surgery_session
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="List what belongs to each vocabulary of a saved model.",
    examples=[
        "inspect model.keras",
        "inspect model.keras --also token_table:0 --import my_layers",
    ],
)
@model_argument
@settling_options
@import_option
@json_option
@click.pass_context
def inspect(
    ctx: click.Context,
    model: str,
    also: tuple[str, ...],
    leave: tuple[str, ...],
    ask: bool,
    modules: tuple[str, ...],
    as_json: bool,
) -> None:
    """List every vocabulary of a saved model, what belongs to it, and why.

    MODEL is a .keras file, its unzipped folder or a preset of KerasHub. No array is
    loaded and no code in the file is run. If the model has classes that keras-padsafe
    does not know, Keras builds it without weights, to show what belongs to the ids.
    If you have to answer a question before the vocabulary can grow, the option that
    answers it is shown, and the exit code is 1.
    """
    from keras_padsafe import surgery
    from keras_padsafe.cli.inventory_view import inventory_view

    with surgery_session(modules):
        inventory = surgery.inspect(model, also=also, leave=leave, ask=ask)
    show(inventory.to_json(), inventory_view, kind="inventory", as_json=as_json)
    found = inventory.vocabularies
    is_near = not found and bool(inventory.near_tables)
    if is_near or any(v.unexplained or v.slot_problem for v in found):
        ctx.exit(FINDINGS)
