"""`keras-padsafe remap`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    as_known,
    model_argument,
    read_lines,
    vocabulary_options,
)
from keras_padsafe.cli.make_plan import KnownWords, make_plan
from keras_padsafe.cli.writing import Writing, writing_options


@click.command(
    cls=Command,
    short_help="Move the rows of a saved model to the ids of another word list.",
    examples=[
        "remap model.keras -o moved.keras --old-vocabulary old.txt "
        "--new-vocabulary new.txt",
        "remap model.keras -o moved.keras --old-vocabulary old.txt "
        "--new-vocabulary new.txt --import my_layers",
    ],
)
@model_argument
@click.option(
    "--old-vocabulary",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The word of each old id, from id 0 on, one per line.",
)
@click.option(
    "--new-vocabulary",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The word of each new id, likewise. Words that the old file lacks are new.",
)
@click.option(
    "--new-rows",
    default="mean",
    show_default=True,
    metavar="SPEC",
    help="What new rows hold: mean, zeros, normal[:SEED] or constant:VALUE.",
)
@vocabulary_options
@writing_options
def remap(
    model: str,
    old_vocabulary: Any,
    new_vocabulary: Any,
    new_rows: str,
    writing: Writing,
    **settled: Any,
) -> None:
    """Give the ids of a trained model new numbers; rows follow their words.

    Each word keeps its outputs. Both files have one word per line. An empty first line
    stands for padding.
    """
    old = read_lines("--old-vocabulary", old_vocabulary, empty=True)
    new = read_lines("--new-vocabulary", new_vocabulary, empty=True)

    def change(known: KnownWords) -> dict[str, Any]:
        return {
            "old_vocabulary": as_known(old, known),
            "new_vocabulary": as_known(new, known),
            "new_rows": new_rows,
        }

    reads = [old_vocabulary.name, new_vocabulary.name]
    carry_out(model, lambda: make_plan(model, change, **settled), writing, reads)
