"""`keras-padsafe plan`."""

from typing import Any

import click

from keras_padsafe.archive.atomic_file import write_file
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    growth_options,
    model_argument,
    read_by,
    read_growth,
)
from keras_padsafe.cli.keras_session import import_option, surgery_session
from keras_padsafe.cli.make_plan import make_plan
from keras_padsafe.cli.output import json_option, show
from keras_padsafe.cli.settle_target import settle_target


@click.command(
    cls=Command,
    short_help="Show what growing would change; change nothing.",
    examples=[
        "plan model.keras --add zebra --add okapi --save plan.json",
        "plan model.keras --rows 100 --import my_layers --json",
    ],
)
@model_argument
@growth_options
@click.option(
    "--save", type=click.Path(), metavar="FILE", help="Write the plan there, as JSON."
)
@click.option("--force", is_flag=True, help="Write over FILE if it exists.")
@import_option
@json_option
def plan(
    model: str,
    save: str | None,
    force: bool,
    modules: tuple[str, ...],
    as_json: bool,
    **growth: Any,
) -> None:
    """Show what growing a vocabulary would change; change nothing.

    You can read a saved plan, keep it under version control, and carry it out with
    keras-padsafe grow --plan FILE, on this model or on another checkpoint of it.
    """
    from keras_padsafe.cli.plan_view import plan_view

    reads = [model, *read_by(growth)]
    inputs = settle_target(save, force=force, inputs=reads)
    change, settled = read_growth(**growth)
    with surgery_session(modules):
        made = make_plan(model, change, **settled)
    if save is not None:
        write_file(save, made.text(), overwrite=force, inputs=inputs)
        click.echo(f"Plan written to {save}", err=True)
    show(made.to_json(), plan_view, kind="plan", as_json=as_json)
