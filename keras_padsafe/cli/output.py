"""Where a command's result, notes and progress go."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_padsafe.archive.atomic_file import explaining
from keras_padsafe.archive.target import check_target
from keras_padsafe.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead."
)


def show(
    document: dict[str, Any],
    view: Callable[[dict[str, Any]], "RenderableType"],
    *,
    as_json: bool,
) -> None:
    """Prints the result on stdout.

    Args:
        document: The result as plain data.
        view: Makes the screen of it.
        as_json: Whether to print the document itself, its keys sorted.
    """
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True))
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    console.print(view(printable(document)))


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


def settle_target(
    target: str | os.PathLike[str],
    *,
    force: bool,
    inputs: Sequence[str | None] = (),
    check: Callable[..., None] = check_target,
) -> tuple[str, ...]:
    """Refuses a file that may not be written, before any work is done for it.

    Args:
        target: The file.
        force: Whether it may exist.
        inputs: What the command reads; `None` where it reads nothing.
        check: What refuses it: `check_folder` where a folder is to be written.

    Returns:
        The inputs that are files, for the writer, which looks again.
    """
    read = tuple(path for path in inputs if path is not None and os.path.exists(path))
    with explaining(target):
        path = Path(os.path.realpath(target))
        check(path, overwrite=force, inputs=read)
    return read
