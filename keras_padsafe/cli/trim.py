"""`keras-padsafe trim`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    model_argument,
    number_or_word,
    read_lines,
    vocabulary_options,
)
from keras_padsafe.cli.make_plan import KnownWords, make_plan
from keras_padsafe.cli.writing import Writing, writing_options


@click.command(
    cls=Command,
    short_help="Keep some ids of a saved model; remove all others.",
    examples=[
        "trim model.keras -o small.keras --keep-file words.txt",
        "trim model.keras -o small.keras --keep-file ids.txt --import my_layers",
    ],
)
@model_argument
@click.option(
    "--keep-file",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The words or ids to keep, one per line, as UTF-8; - reads stdin.",
)
@vocabulary_options
@writing_options
def trim(model: str, keep_file: Any, writing: Writing, **settled: Any) -> None:
    """Keep some ids of a trained model, with their outputs; remove all others.

    The kept ids get new numbers, in the order of the old ones. The ids for padding and
    unknown words are always kept. If the model knows words, each line of the file is a
    word; if not, each line is an id.
    """
    lines = read_lines("--keep-file", keep_file)

    def change(known: KnownWords) -> dict[str, Any]:
        words = any(isinstance(word, str) for site in known for word in site.words[:1])
        return {"keep": lines if words else [*map(number_or_word, lines)]}

    reads = [keep_file.name]
    carry_out(model, lambda: make_plan(model, change, **settled), writing, reads)
