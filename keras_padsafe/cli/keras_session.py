"""Sessions with Keras: the backend is settled before it is imported."""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click

from keras_padsafe.cli.command import Failure
from keras_padsafe.errors import PadsafeError
from keras_padsafe.import_hook import around_import

BACKENDS = ("jax", "tensorflow", "torch")

import_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers classes of your own. Repeatable.",
)


@contextmanager
def keras_session(modules: tuple[str, ...] = ()) -> Iterator[None]:
    """Lets Keras be imported and run; whatever it or a model prints goes to stderr.

    Args:
        modules: Modules to import first, which register classes of the user.
    """
    with _quiet():
        chosen = settle_backend()
        if not chosen.is_wanted:
            name = chosen.name
            click.echo(f"KERAS_BACKEND is not set; running on {name}.", err=True)
        os.environ["KERAS_BACKEND"] = chosen.name
        _import(modules)
        yield


@contextmanager
def surgery_session(modules: tuple[str, ...] = ()) -> Iterator[None]:
    """`keras_session` for a command that imports Keras only where it must be asked.

    Says nothing of the backend, and a backend that is missing is an error only once
    Keras is imported.
    """
    missing: Failure | None = None
    with _quiet():
        try:
            os.environ["KERAS_BACKEND"] = settle_backend().name
        except Failure as failure:
            if modules:  # They register classes of Keras, and so import it.
                raise
            missing = failure
        try:
            _import(modules)
            yield
        except PadsafeError:
            raise
        except (ImportError, ValueError):
            if missing is not None:
                raise missing from None
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    # Must be set before TensorFlow is loaded; it greets on stderr otherwise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        around_import("tensorflow", _silence)
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps from stderr what C++ code writes there, past Python, while it is loaded."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@dataclass(frozen=True)
class Backend:
    """The backend to run on, and whether the user or keras.json names it."""

    name: str
    is_wanted: bool


def settle_backend() -> Backend:
    """The backend asked for, or else the one of keras.json, or else one installed.

    Raises:
        Failure: if it is not installed, naming those that are.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    asked = os.environ.get("KERAS_BACKEND")
    if asked in installed:
        return Backend(asked, True)
    if not installed:
        raise Failure(
            f"Keras needs one of {', '.join(BACKENDS)}, and none is installed. Run: "
            'pip install "keras-padsafe[jax]"'
        )
    if asked:
        command = click.get_current_context().command_path
        raise Failure(
            f"KERAS_BACKEND={asked}: that backend is not installed, or not one of "
            f"{', '.join(BACKENDS)}. Installed: {', '.join(installed)}. Run: "
            f"KERAS_BACKEND={installed[0]} {command}"
        )
    configured = _configured_backend()
    if configured in installed:
        return Backend(configured, True)
    return Backend(installed[0], False)


def _configured_backend() -> str:
    """The backend of keras.json; Keras writes `tensorflow` there unasked."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        text = Path(home, "keras.json").read_text(encoding="utf-8")
        return str(json.loads(text).get("backend"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def _import(modules: tuple[str, ...]) -> None:
    """Imports modules, those of the current folder among them, as `python -m` does."""
    if modules:
        sys.path.insert(0, os.getcwd())
    for name in modules:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise Failure(
                f"--import {name}: it could not be imported ({type(error).__name__}: "
                f"{error}). Expected: the name of a module, as in Python, installed or "
                "in this folder."
            ) from None
