"""A room whose public names are imported when they are first asked for."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def open_room(package: str, files: Mapping[str, str]) -> None:
    """Lets a package have public names without importing what they need.

    Args:
        package: Its `__name__`; called from its `__init__.py`.
        files: The file of keras_padsafe that holds each name, as `surgery.grow`.
    """
    room = sys.modules[package]
    room.__dict__["_files"] = files
    room.__dict__["__all__"] = [*files]
    room.__class__ = _Room


class _Room(ModuleType):
    _files: Mapping[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._files:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module = import_module(f"keras_padsafe.{self._files[name]}")
        self.__dict__[name] = getattr(module, name)
        return self.__dict__[name]

    def __setattr__(self, name: str, value: Any) -> None:
        """Python calls this once it has imported a file: what it holds wins over it."""
        if name in self._files and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted(
            {*super().__dir__(), *self._files} - {"TYPE_CHECKING", "open_room"}
        )
