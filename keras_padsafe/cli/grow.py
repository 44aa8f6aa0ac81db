"""`keras-padsafe grow`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    DEFAULTS,
    growth_options,
    model_argument,
    read_by,
    read_growth,
)
from keras_padsafe.cli.make_plan import make_plan
from keras_padsafe.cli.writing import Writing, writing_options


@click.command(
    cls=Command,
    short_help="Add new ids to a saved model; old ids keep their outputs.",
    examples=[
        "grow model.keras -o grown.keras --add zebra --add okapi",
        "grow model.keras -o grown.keras --add-file words.txt --import my_layers",
    ],
)
@model_argument
@growth_options
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(),
    metavar="FILE",
    help="Carry out a saved plan. It takes the place of all options above.",
)
@click.option(
    "--undo", is_flag=True, help="Undo the saved plan, on the file that it made."
)
@writing_options
def grow(
    model: str, plan_file: str | None, undo: bool, writing: Writing, **growth: Any
) -> None:
    """Add new ids to a trained model; old ids keep their outputs.

    These change together, or not at all: tables, output heads and their biases, lookup
    layers, the state of the optimizer, and every number of the configuration that
    counts ids. MODEL is never modified. OUT appears complete or not at all. If the
    model has classes that keras-padsafe does not know, with weights or numbers, Keras
    builds the model to show what belongs to the ids. Then both models are run, and OUT
    is kept only if that proves the change; if not, the exit code is 1.
    """
    from keras_padsafe import surgery

    if plan_file is not None:
        _check_usage(writing, growth)

        def saved() -> surgery.Plan:
            plan = surgery.Plan.load(plan_file)
            return plan.inverse() if undo else plan

        carry_out(model, saved, writing, [plan_file])
        return
    if undo:
        raise click.UsageError("--undo says what to do with a saved plan, --plan FILE.")
    change, settled = read_growth(**growth)
    reads = read_by(growth)
    carry_out(model, lambda: make_plan(model, change, **settled), writing, reads)


def _check_usage(writing: Writing, growth: dict[str, Any]) -> None:
    if writing.output is None:
        raise click.UsageError(
            "--dry-run shows a new plan; --plan carries out a saved one. Leave one "
            "of them out."
        )
    if growth != DEFAULTS:
        raise click.UsageError(
            "--plan already says what to add and how. Leave out the other options, "
            "or make another plan with keras-padsafe plan."
        )
