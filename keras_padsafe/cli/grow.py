"""`keras-padsafe grow`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    DEFAULTS,
    growth_options,
    model_argument,
    read_growth,
)
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="Add new ids to a saved model; old ids keep their outputs.",
    examples=[
        "grow model.keras -o grown.keras --add zebra --add okapi",
        "grow model.keras -o grown.keras --add-file words.txt --multiple-of 64",
    ],
)
@model_argument
@click.option("-o", "--output", metavar="OUT", help="The .keras file to write.")
@growth_options
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    help="Carry out a saved plan; it brings all of the options above.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")
@click.option("--force", is_flag=True, help="Write over OUT if it exists.")
@json_option
def grow(
    model: str,
    output: str | None,
    plan_file: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **growth: Any,
) -> None:
    """Add new ids to a trained model; old ids keep their outputs.

    Tables, output heads and their biases, lookup layers, optimizer slots and every
    number of the configuration that counts ids change together, or not at all.
    MODEL is never modified, and OUT appears whole or not at all.
    """
    from keras_padsafe import surgery
    from keras_padsafe.cli.plan_view import plan_view

    _check_usage(output, plan_file, dry_run, growth)
    if plan_file is not None:
        made = surgery.Plan.load(plan_file)
    else:
        made = surgery.plan(model, **read_growth(model, **growth))
    if dry_run or output is None:
        show(made.to_json(), plan_view, as_json=as_json)
        return
    carry_out(made, model, output, force=force, as_json=as_json)


def _check_usage(
    output: str | None, plan_file: str | None, dry_run: bool, growth: dict[str, Any]
) -> None:
    if output is None and not dry_run:
        raise click.UsageError(
            "Missing option '-o' / '--output', the .keras file to write. To see only "
            "what would change, add --dry-run."
        )
    if plan_file is not None and dry_run:
        raise click.UsageError(
            "--dry-run shows a plan before it is carried out; --plan has one already."
        )
    if plan_file is not None and growth != DEFAULTS:
        raise click.UsageError(
            "--plan says already what to add and how. Leave out the other options, or "
            "make another plan with keras-padsafe plan."
        )
