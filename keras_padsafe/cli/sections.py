"""The parts that every screen is made of."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.layout import Hanging, Rows

SHOWN = 10


def heading(text: str, detail: str = "") -> RenderableType:
    """The first line of a screen or of one vocabulary."""
    return prose(Text.assemble((text, "bold"), detail))


def prose(text: str | Text) -> RenderableType:
    """Text whose lines break between words only."""
    return Hanging(_text(text), "")


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> RenderableType:
    """A titled table without a frame; nothing at all if it has no rows.

    A word, as a path, is never broken: where the terminal is too narrow for the
    columns, each row becomes a few lines. A column whose name starts with `>` is set
    flush right; columns without names have no header.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    return titled(title, Rows(columns, cells)) if cells else Group()


def titled(title: str, body: RenderableType) -> RenderableType:
    """A part of a screen, set off by an empty line and indented below its title."""
    text = _text(body) if isinstance(body, str) else body
    return Group("", Text(title, "bold cyan"), Hanging(text, "  "))


def bullets(
    title: str, items: Iterable[str], style: str = "bold cyan"
) -> RenderableType:
    """A titled list; nothing at all if it is empty."""
    made = [Hanging(Text(item), "  - ") for item in items]
    return Group("", Text(title, style), *made) if made else Group()


def shape(dims: Sequence[int]) -> str:
    """A shape as Python writes it."""
    return str(tuple(dims))


def some(items: Sequence[Any]) -> str:
    """The first items of a list, and how many more there are."""
    listed = ", ".join(str(item) for item in items[:SHOWN])
    more = len(items) - SHOWN
    return f"{listed} and {more} more" if more > 0 else listed


def count(number: int, noun: str) -> str:
    """`1 array`, `2 arrays`, `4,000 arrays`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def command(*words: str) -> Text:
    """A command to run next, to be copied."""
    import shlex

    return Text(shlex.join(("keras-padsafe", *words)), "green", no_wrap=True)


def _text(cell: Any) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell))


def briefly(value: Any) -> str:
    """A value of config.json as a table shows it."""
    if isinstance(value, dict) and "class_name" in value:
        return value["class_name"]
    return f"{len(value)} entries" if isinstance(value, list | dict) else str(value)
