"""`keras-padsafe refill`."""

from typing import Any

import click

from keras_padsafe.cli.carry_out import carry_out
from keras_padsafe.cli.command import Command
from keras_padsafe.cli.growth_options import (
    adding_options,
    as_known,
    model_argument,
    read_by,
    read_lines,
    vocabulary_options,
)
from keras_padsafe.cli.make_plan import KnownWords, make_plan
from keras_padsafe.cli.read_rows import read_rows
from keras_padsafe.cli.writing import Writing, writing_options


@click.command(
    cls=Command,
    short_help="Give spare rows to new words; free the rows of stale words.",
    examples=[
        "refill model.keras -o today.keras --add okapi --evict dodo",
        "refill model.keras -o today.keras --add-file new.txt --evict-file stale.txt",
    ],
)
@model_argument
@adding_options
@click.option(
    "--evict", multiple=True, metavar="WORD", help="Evict a word. Repeatable."
)
@click.option(
    "--evict-file",
    type=click.File(encoding="utf-8-sig"),
    metavar="FILE",
    help="Evict the words of a UTF-8 text file, one per line.",
)
@vocabulary_options
@writing_options
def refill(
    model: str,
    add: tuple[str, ...],
    add_file: Any,
    new_rows: str,
    evict: tuple[str, ...],
    evict_file: Any,
    writing: Writing,
    **settled: Any,
) -> None:
    """Add new words and remove stale ones without changing any shape.

    New words take spare rows, which grow --capacity N makes, and the rows of evicted
    words. Rows that are left over stay spare: a softmax gives them no probability. All
    other words keep their ids and rows. From then on, an evicted word is an unknown
    word.
    """
    added = [*add, *read_lines("--add-file", add_file)]
    gone = [*evict, *read_lines("--evict-file", evict_file)]
    rows = read_rows(new_rows)

    def change(known: KnownWords) -> dict[str, Any]:
        return {
            "tokens": as_known(added, known) or None,
            "evict": as_known(gone, known),
            "new_rows": rows,
        }

    files = {"add_file": add_file, "new_rows": new_rows}
    reads = [*read_by(files), getattr(evict_file, "name", None)]
    carry_out(model, lambda: make_plan(model, change, **settled), writing, reads)
