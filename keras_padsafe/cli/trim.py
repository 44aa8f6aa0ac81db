"""`keras-padsafe trim`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    known_words,
    model_argument,
    number_or_word,
    read_lines,
    target_options,
    vocabulary_options,
)
from keras_padsafe.cli.output import json_option


@click.command(
    cls=Command,
    short_help="Keep some ids of a saved model; all others go.",
    examples=[
        "trim model.keras -o small.keras --keep-file words.txt",
        "trim model.keras -o small.keras --keep-file ids.txt --vocabulary tokens",
    ],
)
@model_argument
@target_options
@click.option(
    "--keep-file",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    required=True,
    help="The words to keep, or the ids, one a line, as UTF-8; - reads stdin.",
)
@vocabulary_options
@json_option
def trim(
    model: str, output: str, keep_file: Any, force: bool, as_json: bool, **rest: Any
) -> None:
    """Keep some ids of a trained model; those keep their outputs, all others go.

    The ids kept are numbered anew, in the order of the old ones. Ids for padding and
    unknown words stay without being named. A line is taken for a word if the model
    knows words, and for an id if it does not.
    """
    from keras_padsafe import surgery

    lines = read_lines("--keep-file", keep_file)
    keep = lines if _knows_words(model, **rest) else [*map(number_or_word, lines)]
    made = surgery.plan(model, keep=keep, **rest)
    carry_out(made, model, output, force=force, as_json=as_json)


def _knows_words(model: str, **options: Any) -> bool:
    sites = known_words(model, **options)
    return any(isinstance(word, str) for site in sites for word in site.words[:1])
