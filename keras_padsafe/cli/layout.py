"""Rows and indented blocks that break a line between words only, to be copied."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

_GAP = 2


def wrapped(text: Text, width: int) -> list[Text]:
    """The lines of a text; a word that is wider than they are keeps its length."""
    lines = []
    for part in text.split("\n", allow_blank=True):
        breaks, start = [], 0
        for word in re.finditer(r"\S+", part.plain):
            if (
                word.start() > start
                and cell_len(part.plain[start : word.end()]) > width
            ):
                start = word.start()
                breaks.append(start)
        lines += part.divide(breaks)
    for line in lines:
        line.rstrip()
    return lines


class Hanging:
    """A block with a prefix before its first line and as much space before the rest."""

    def __init__(self, body: RenderableType, prefix: str) -> None:
        self.body, self.prefix = body, prefix

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Segment]:
        width = max(1, options.max_width - len(self.prefix))
        body = self.body
        if isinstance(body, Text):
            body = Group(*wrapped(body, width))
        prefix = self.prefix
        for line in Segment.split_lines(
            console.render(body, options.update(width=width))
        ):
            if any(segment.text for segment in line):
                yield Segment(prefix)
                yield from line
            yield Segment.line()
            prefix = " " * len(prefix)


class Rows:
    """Columns without a frame.

    Args:
        columns: The name of each; one that starts with `>` is set flush right.
        rows: The cells of each row.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
        self.names = [name.removeprefix(">") for name in columns]
        self.right = [name.startswith(">") for name in columns]
        self.rows = rows

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Any]:
        header = [Text(name, "dim") for name in self.names]
        rows = [header, *self.rows] if any(self.names) else [*self.rows]
        room = options.max_width - _GAP * (len(self.names) - 1)
        widths = _widths(rows, room)
        if widths is None:
            yield from self._records()
            return
        for row in rows:
            yield from self._lines(row, widths)

    def _lines(self, row: Sequence[Text], widths: Sequence[int]) -> Iterator[Text]:
        """The lines of one row: as many as its highest cell has."""
        cells = [*map(wrapped, row, widths)]
        for number in range(max(map(len, cells))):
            line = Text()
            for cell, width, right in zip(cells, widths, self.right, strict=True):
                part = cell[number] if number < len(cell) else Text()
                space = " " * (width - part.cell_len)
                line.append(space if right else part).append(part if right else space)
                line.append(" " * _GAP)
            line.rstrip()
            yield line

    def _records(self) -> Iterator[RenderableType]:
        """Each row as a line of its first cell, and one for each of the others."""
        for row in self.rows:
            yield row[0]
            for name, cell in zip(self.names[1:], row[1:], strict=True):
                yield Hanging(Text(f"{name}: ", "dim") + cell if name else cell, "  ")


def _widths(rows: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """A width for each column that breaks no word, if there is room for that."""
    columns = [*zip(*rows, strict=True)]
    widths = [max(cell.cell_len for cell in column) for column in columns]
    least = [
        max(
            (cell_len(word) for cell in column for word in cell.plain.split()),
            default=0,
        )
        for column in columns
    ]
    while sum(widths) > room:
        slack = [width - low for width, low in zip(widths, least, strict=True)]
        if max(slack) <= 0:
            return None
        widths[slack.index(max(slack))] -= 1
    return widths
