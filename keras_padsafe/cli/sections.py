"""The parts that every screen is made of."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

SHOWN = 10


def heading(text: str, detail: str = "") -> Text:
    """The first line of a screen or of one vocabulary."""
    return Text.assemble((text, "bold"), detail)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> RenderableType:
    """A titled table without a frame; nothing at all if it has no rows.

    Long cells are folded, never cut. A column whose name starts with `>` is set flush
    right; columns without names have no header.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    if not cells:
        return Group()
    made = Table(
        box=None,
        show_header=any(columns),
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for column in columns:
        right = column.startswith(">")
        made.add_column(
            column.removeprefix(">"),
            justify="right" if right else "left",
            overflow="fold",
        )
    for row in cells:
        made.add_row(*row)
    return titled(title, made)


def titled(title: str, body: RenderableType) -> RenderableType:
    """A part of a screen, set off by an empty line and indented below its title."""
    return Group(
        "", Text(title, "bold cyan"), Padding(body, (0, 0, 0, 2), expand=False)
    )


def bullets(
    title: str, items: Iterable[str], style: str = "bold cyan"
) -> RenderableType:
    """A titled list; nothing at all if it is empty."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    for item in items:
        made.add_row("-", item)
    if not made.row_count:
        return Group()
    return Group("", Text(title, style), Padding(made, (0, 0, 0, 2), expand=False))


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


def _text(cell: Any) -> Any:
    return cell if isinstance(cell, Text) else str(cell)
