"""`keras-padsafe --version`: what a report of a fault has to say."""

import platform

import click

from keras_padsafe.cli.keras_session import settle_backend
from keras_padsafe.version import __version__


def version_line() -> str:
    """Our version, and those of Keras, of the backend in use and of Python."""
    parts = [f"keras-padsafe {__version__}", f"Keras {_installed('keras')}"]
    try:
        backend = settle_backend().name
        parts.append(f"{backend} {_installed(backend)}")
    except click.ClickException:
        parts.append("no backend")
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def _installed(name: str) -> str:
    from importlib import metadata  # takes as long as many a command

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _print(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(version_line())
        ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print,
    help="Show the versions of keras-padsafe, Keras, its backend and Python.",
)
