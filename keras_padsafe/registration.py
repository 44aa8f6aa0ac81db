"""Registers our classes with Keras exactly when Keras is there to know them.

`keras.models.load_model` finds a custom class only if its module was imported.
Importing our layers imports Keras and a backend, which takes seconds and which
`keras_padsafe.surgery` must never do. So: if Keras is loaded, register now; if
not, register at the moment somebody loads it.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from keras_padsafe.import_hook import around_import

PACKAGE = "keras_padsafe"
MODULES_WITH_KERAS_CLASSES = ("layers", "initializers", "losses", "metrics")

Class = TypeVar("Class", bound=type)


def serializable(cls: Class) -> Class:
    """Class decorator: registers `cls` as `keras_padsafe>ClassName`.

    The registered name is a file format: renaming a class breaks saved models,
    moving its module does not.
    """
    import keras

    return keras.saving.register_keras_serializable(package=PACKAGE)(cls)


def register_with_keras() -> None:
    """Imports our Keras classes now if Keras is loaded, else when it is."""
    if "keras" in sys.modules:
        _import_our_classes()
    else:
        around_import("keras", _then_our_classes)


@contextmanager
def _then_our_classes() -> Iterator[None]:
    yield
    _import_our_classes()


def _import_our_classes() -> None:
    for name in MODULES_WITH_KERAS_CLASSES:
        importlib.import_module(f"{PACKAGE}.{name}")
