"""Registers our classes with Keras exactly when Keras is there to know them.

`keras.models.load_model` finds a custom class only if its module was imported.
Importing our layers imports Keras and a backend, which takes seconds and which
`keras_padsafe.surgery` must never do. So: if Keras is loaded, register now; if
not, register at the moment somebody loads it.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

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
        sys.meta_path.insert(0, _AfterKeras())


def _import_our_classes() -> None:
    for name in MODULES_WITH_KERAS_CLASSES:
        importlib.import_module(f"{PACKAGE}.{name}")


class _AfterKeras:
    """Finds nothing itself; lets the real finder load Keras and then registers."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            # No subclass of Loader: to import importlib.abc takes longer than we do.
            spec.loader = _ThenRegister(spec.loader)  # type: ignore[assignment]
        return spec


class _ThenRegister:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _import_our_classes()
