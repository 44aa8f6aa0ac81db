"""`keras-padsafe remap`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    model_argument,
    number_or_word,
    read_lines,
    takes_numbers,
    target_options,
    vocabulary_options,
)
from keras_padsafe.cli.output import json_option


@click.command(
    cls=Command,
    short_help="Move the rows of a saved model to the ids of another word list.",
    examples=[
        "remap model.keras -o moved.keras --old-vocabulary old.txt "
        "--new-vocabulary new.txt",
        "remap model.keras -o moved.keras --old-vocabulary old.txt "
        "--new-vocabulary new.txt --new-rows zeros",
    ],
)
@model_argument
@target_options
@click.option(
    "--old-vocabulary",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The word of each old id, from 0 on, one a line.",
)
@click.option(
    "--new-vocabulary",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The word of each new id; a word that is not in the other file is new.",
)
@click.option(
    "--new-rows",
    default="mean",
    show_default=True,
    metavar="SPEC",
    help="mean, zeros, normal[:SEED] or constant:VALUE.",
)
@vocabulary_options
@json_option
def remap(
    model: str,
    output: str,
    old_vocabulary: Any,
    new_vocabulary: Any,
    force: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Give the ids of a trained model new numbers; rows follow their words.

    Each word keeps its outputs. A line is a word, an empty first line the padding.
    """
    from keras_padsafe import surgery

    old = read_lines("--old-vocabulary", old_vocabulary, empty=True)
    new = read_lines("--new-vocabulary", new_vocabulary, empty=True)
    if takes_numbers(model, **rest):
        old, new = [*map(number_or_word, old)], [*map(number_or_word, new)]
    made = surgery.plan(model, old_vocabulary=old, new_vocabulary=new, **rest)
    carry_out(made, model, output, force=force, as_json=as_json)
