"""`keras-padsafe demo`."""

import tempfile
import time
from pathlib import Path

import click

from keras_padsafe.archive.atomic_file import explaining
from keras_padsafe.cli.command import FINDINGS, Command
from keras_padsafe.cli.keras_session import keras_session
from keras_padsafe.cli.output import json_option, show
from keras_padsafe.cli.settle_target import settle_target


@click.command(
    cls=Command,
    short_help="Train, grow, verify and fine-tune a small model.",
    examples=["demo", "demo --keep demo-files --json"],
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Leave the two files in FOLDER instead of a temporary one.",
)
@click.option("--force", is_flag=True, help="Write over files that exist in FOLDER.")
@json_option
@click.pass_context
def demo(ctx: click.Context, keep: str | None, force: bool, as_json: bool) -> None:
    """Train, grow, verify and fine-tune a small model; nothing is downloaded.

    The data comes with Python: the names of Unicode's characters. The demo trains a
    small classifier on the names of 2002, saves it, adds the words of later names,
    verifies the new file, and fine-tunes it on a few hundred new names. It compares
    this with the old vocabulary and with training from scratch. The exit code is 1 if a
    check failed.
    """
    started = time.perf_counter()
    before, after = _files(keep, force=force)
    with keras_session():
        click.echo("Loading Keras ...", err=True)
        from keras_padsafe.cli.story import tell

        document = tell(
            before,
            after,
            lambda step: click.echo(f"{step} ...", err=True),
            overwrite=force,
        )
    document["seconds"]["total"] = round(time.perf_counter() - started, 2)

    from keras_padsafe.cli.story_view import story_view

    show(document, story_view, kind="demo", as_json=as_json)
    if not document["certificate"]["passed"]:
        ctx.exit(FINDINGS)


def _files(keep: str | None, *, force: bool) -> tuple[Path, Path]:
    """The files to write, in a folder that exists."""
    folder = Path(keep or tempfile.mkdtemp(prefix="keras_padsafe_demo_"))
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before, after = folder / "names-2002.keras", folder / "names-grown.keras"
    for path in (before, after):
        settle_target(path, force=force)
    return before, after
