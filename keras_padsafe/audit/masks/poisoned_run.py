"""A run of a model with other content at its padded positions, or at its real ones."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_padsafe.audit.masks.mask_arguments import contents, named_arguments
from keras_padsafe.audit.masks.mask_lineage import SeenTensor, TracedCall
from keras_padsafe.audit.masks.padded_elements import (
    as_array,
    changed,
    is_floating,
    noise,
    replaced,
    spread,
)
from keras_padsafe.audit.run.watch import LayerCall, Observer, map_tensors
from keras_padsafe.compat import get_keras_mask, set_keras_mask
from keras_padsafe.types import Tensor

Place = tuple[int, int]
"""A call, and the number of one of its inputs; of the model itself, of its outputs."""


class PoisonedRun(Observer):
    """Puts noise where masks say that nothing is; the same noise in every such run.

    Attributes:
        answers: The floating-point outputs of the model.
        differing: Where tensors that no call made differ from the first run, outside
            of their padding: for those alone no call says what they depend on.

    Args:
        calls: The calls of the first run.
        suspects: Calls that seem to read padding: what they make of padded positions
            is noise too, so that runs differ by what they make of real ones.
        calmed: Those of them that get the padded content of the first run.
        settled: Inputs that get the real content of the first run.
        wiped: Noise also in what a layer has wiped and marked with a mask.
        sign: 1 or -1: the noise, or its opposite. A maximum may not show one of them.
    """

    def __init__(
        self,
        calls: list[TracedCall],
        *,
        suspects: Iterable[TracedCall] = (),
        calmed: Iterable[TracedCall] = (),
        settled: Iterable[Place] = (),
        wiped: bool = True,
        sign: int = 1,
    ) -> None:
        self.answers: list[Tensor] = []
        self.differing: dict[Place, np.ndarray] = {}
        self._calls = calls
        self._suspects = {call.index for call in suspects}
        self._calmed = {call.index for call in calmed}
        self._settled = set(settled)
        self._wiped = wiped
        self._sign = sign
        self._begun = 0
        self._open: list[TracedCall | None] = []

    def enter(self, call: LayerCall) -> None:
        """Changes what comes in."""
        traced = self._next(call)
        self._open.append(traced)
        if traced is None:
            return
        tensors = contents(named_arguments(call))
        new: dict[int, Tensor] = {}
        for place, tensor, seen in _pairs(traced, tensors, traced.inputs):
            if seen.unseen:
                self.differing[place] = differing(seen, tensor)
            other = self._changed_input(traced, place, tensor, seen)
            if other is not tensor:
                set_keras_mask(other, get_keras_mask(tensor))
                new[id(tensor)] = other
        if new:
            call.args, call.kwargs = _exchange(new, (call.args, call.kwargs))

    def leave(self, call: LayerCall) -> None:
        """Changes what goes out, and keeps the answers of the model."""
        traced = self._open.pop()
        if traced is None:
            return
        tensors = [tensor for tensor in call.results if is_floating(tensor)]
        pairs = _pairs(traced, tensors, traced.outputs)
        if traced.parent is None:
            self.answers = tensors
            for place, tensor, seen in pairs:
                self.differing[place] = differing(seen, tensor)
            return
        new: dict[int, Tensor] = {}
        for place, tensor, seen in pairs:
            other = self._changed_output(traced, place, tensor, seen)
            if other is not tensor:
                set_keras_mask(other, get_keras_mask(tensor))
                new[id(tensor)] = other
        if new:
            call.outputs = _exchange(new, call.outputs)

    def _changed_input(
        self, traced: TracedCall, place: Place, tensor: Tensor, seen: SeenTensor
    ) -> Tensor:
        if place in self._settled:
            real = np.ones((1,), bool) if seen.padded is None else ~seen.padded
            tensor = replaced(tensor, real, as_array(seen.tensor))
        if seen.padded is None:
            return tensor
        if traced.index in self._calmed:
            return replaced(tensor, seen.padded, as_array(seen.tensor))
        if seen.lineage.enters and (seen.unseen or traced.parent is None):
            return self._noisy(tensor, seen, (-1 - traced.index, place[1]))
        return tensor

    def _changed_output(
        self, traced: TracedCall, place: Place, tensor: Tensor, seen: SeenTensor
    ) -> Tensor:
        if seen.padded is None:
            return tensor
        born = seen.mask is not None and not traced.padded_inputs
        wiped = self._wiped and seen.mask is not None
        enters = seen.lineage.enters and seen.lineage.made_by == place
        if born or wiped or enters or traced.index in self._suspects:
            return self._noisy(tensor, seen, place)
        return tensor

    def _noisy(self, tensor: Tensor, seen: SeenTensor, place: Place) -> Tensor:
        flags = np.zeros(1, bool) if seen.padded is None else seen.padded
        return replaced(tensor, flags, self._sign * _noise_of(place, seen))

    def _next(self, call: LayerCall) -> TracedCall | None:
        index, self._begun = self._begun, self._begun + 1
        traced = self._calls[index] if index < len(self._calls) else None
        # Code may call other layers when it meets other numbers.
        return traced if traced and traced.path == call.path else None


class RealContentRun(PoisonedRun):
    """Puts noise at real positions, and the first content at padded ones."""

    def _changed_input(
        self, traced: TracedCall, place: Place, tensor: Tensor, seen: SeenTensor
    ) -> Tensor:
        if traced.parent is None:
            return self._other(tensor, seen, place)
        return tensor

    def _changed_output(
        self, traced: TracedCall, place: Place, tensor: Tensor, seen: SeenTensor
    ) -> Tensor:
        return self._other(tensor, seen, place)

    def _other(self, tensor: Tensor, seen: SeenTensor, place: Place) -> Tensor:
        padded = np.zeros(1, bool) if seen.padded is None else seen.padded
        flags = spread(padded, tensor.shape)
        content = np.where(flags, as_array(seen.tensor), _noise_of(place, seen))
        return replaced(tensor, np.ones(1, bool), content)


def _noise_of(place: Place, seen: SeenTensor) -> np.ndarray:
    generator = np.random.default_rng([place[0] & 0xFFFFFFFF, place[1]])
    return noise(seen.tensor, generator)


def differing(seen: SeenTensor, tensor: Tensor) -> np.ndarray:
    """The elements at real positions that differ from the first run."""
    found = changed(seen.tensor, tensor)
    if seen.padded is not None:
        found = found & ~spread(seen.padded, tensor.shape)
    return found


def _pairs(
    traced: TracedCall, tensors: list[Tensor], known: list[SeenTensor]
) -> list[tuple[Place, Tensor, SeenTensor]]:
    if len(tensors) != len(known):
        return []
    return [
        ((traced.index, number), tensor, seen)
        for number, (tensor, seen) in enumerate(zip(tensors, known, strict=True))
        if tensor.shape == seen.tensor.shape
    ]


def _exchange(new: dict[int, Tensor], structure: Any) -> Any:
    return map_tensors(lambda tensor: new.get(id(tensor), tensor), structure)
