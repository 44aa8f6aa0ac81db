"""Changing what flows in a model at some places, and keeping what flows at one."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in
from keras_padsafe.types import Tensor

Key = tuple[int, Literal["enter", "leave"]]
"""One observation: the index of a call, and whether before or after it."""

Change = Callable[[Any], Any]
"""Takes the arguments or the outputs of a call, returns others."""


class AtEachPlace(Observer):
    """Passes the arguments and the outputs of every call through `at`."""

    def enter(self, call: LayerCall) -> None:
        structure = (call.args, call.kwargs)
        call.args, call.kwargs = self.at((call.index, "enter"), structure)

    def leave(self, call: LayerCall) -> None:
        call.outputs = self.at((call.index, "leave"), call.outputs)

    def at(self, key: Key, structure: Any) -> Any:
        """What goes on in the place of a structure of tensors."""
        raise NotImplementedError


class Intervene(AtEachPlace):
    """Changes the tensors at some observations and keeps those at another.

    Args:
        changes: What to do, by observation.
        keep: The observation to keep, as it is after its own change.
    """

    def __init__(self, changes: Mapping[Key, Change], keep: Key | None = None) -> None:
        self.kept: list[Tensor] = []
        self._changes = changes
        self._keep = keep

    def at(self, key: Key, structure: Any) -> Any:
        if key in self._changes:
            structure = self._changes[key](structure)
        if key == self._keep:
            self.kept = tensors_in(structure)
        return structure
