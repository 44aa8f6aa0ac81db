"""Where a command's result, notes and progress go."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from keras_padsafe.cli.as_document import as_document
from keras_padsafe.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
)
_WHOLE_LINES = 10_000


def show(
    document: dict[str, Any],
    view: Callable[[dict[str, Any]], "RenderableType"],
    *,
    kind: str,
    as_json: bool,
) -> None:
    """Prints the result on stdout.

    A terminal gets lines of its width; a file or another program gets whole lines.

    Args:
        document: The result as plain data.
        view: Makes the screen of it.
        kind: What the document is; with a version, the value of its key `format`.
        as_json: Whether to print the document itself, its keys sorted.
    """
    if as_json:
        click.echo(as_document(kind, document))
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WHOLE_LINES
    console.print(view(printable(document)), crop=False, overflow="ignore")


@contextmanager
def progress_bar(
    title: str, *, as_json: bool
) -> Iterator[Callable[[int, int], None] | None]:
    """Yields what takes bytes done and their total; `None` if nobody is watching."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
