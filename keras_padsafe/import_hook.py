"""Something done around the first import of a module, whoever imports it."""

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def around_import(name: str, enter: Callable[[], AbstractContextManager[Any]]) -> None:
    """Lets the first import of a module happen inside a context."""
    sys.meta_path.insert(0, _Finder(name, enter))


class _Finder:
    """Finds nothing itself; lets the real finder find the module."""

    def __init__(
        self, name: str, enter: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._name, self._enter, self._asking = name, enter, False

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self._name or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            # No subclass of Loader: to import importlib.abc takes longer than we do.
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def enter(self) -> AbstractContextManager[Any]:
        """The context; it is entered once."""
        sys.meta_path.remove(self)
        return self._enter()


class _Loader:
    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        with self._finder.enter():
            self._loader.exec_module(module)
