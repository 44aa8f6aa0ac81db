"""One run looked at: where something is not finite, and which positions are real."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import (
    BadValues,
    all_finite,
    bad_values,
    floats_in,
    replace_nonfinite,
)
from keras_padsafe.audit.run.watch import LayerCall, Moment, Spot, tensors_in
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor


class KnownMasks:
    """The padding masks met so far in one run of a model.

    A tensor that carries no mask is taken to have that of the latest tensor with the
    same `(batch, time)`.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[int, ...], np.ndarray] = {}

    def note_all(self, structure: Any) -> None:
        """Remembers the masks that tensors carry, and those that are masks."""
        for tensor in tensors_in(structure):
            masks = [get_keras_mask(tensor)]
            if keras.backend.standardize_dtype(tensor.dtype) == "bool":
                masks.append(tensor)
            for mask in masks:
                if mask is not None and len(mask.shape) == 2:
                    array = keras.ops.convert_to_numpy(mask).astype(bool)
                    self._latest[array.shape] = array

    def of(self, tensor: Tensor) -> np.ndarray | None:
        """The `(batch, time)` mask of a tensor, if one is known for it."""
        carried = get_keras_mask(tensor)
        if carried is not None and tuple(carried.shape) == tuple(tensor.shape[:2]):
            return keras.ops.convert_to_numpy(carried).astype(bool)
        return self.like(tuple(tensor.shape))

    def like(self, shape: tuple[int, ...]) -> np.ndarray | None:
        """The latest mask of tensors of this shape."""
        # A second axis that is the last may be features, equal in length by chance.
        return self._latest.get(shape[:2]) if len(shape) > 2 else None

    def all(self) -> list[np.ndarray]:
        """Every mask, the latest of each shape."""
        return list(self._latest.values())


@dataclass(frozen=True)
class Flow:
    """A tensor of floats at one spot, without what it holds."""

    shape: tuple[int, ...]
    dtype: str
    mask: np.ndarray | None
    each: int = 1


@dataclass(frozen=True)
class Noted:
    """Tensors that are not finite at one spot.

    Attributes:
        call: The call.
        moment: Before it or after it.
        bad: What is not finite, tensor by tensor.
        masks: All masks that were known then.
    """

    call: LayerCall
    moment: Moment
    bad: tuple[BadValues, ...]
    masks: tuple[np.ndarray, ...]

    @property
    def is_input(self) -> bool:
        """Whether it came with the batch."""
        return self.call.parent is None and self.moment == "enter"

    @property
    def place(self) -> str:
        """The path of the layer whose code made it."""
        if self.moment == "enter" and self.call.parent is not None:
            return self.call.parent.path
        return self.call.path


class Look:
    """Looks at every spot of a run.

    Args:
        settle: Whether zeros take the place of what is not finite, so that whatever is
            later was born anew.
        meant: The spots where infinities are meant. They and what they become are let
            be, until one is a NaN.

    Attributes:
        calls: The calls by index, without their tensors.
        unfinished: Those that have begun and not ended, with their tensors.
        flows: The floats at each spot, masks given by name left out.
        noted: What is not finite, in the order of the run.
        masks: The masks that were met.
        meant: The spots where infinities are meant.
    """

    def __init__(self, settle: bool = False, meant: Collection[Spot] = ()) -> None:
        self.calls: dict[int, LayerCall] = {}
        self.unfinished: list[LayerCall] = []
        self.flows: dict[Spot, list[Flow]] = {}
        self.noted: dict[Spot, Noted] = {}
        self.masks = KnownMasks()
        self.meant = meant
        self._settle = settle
        self._last_meant = -1

    def children(self, call: LayerCall | None) -> list[LayerCall]:
        """The calls that happened directly inside a call, in order."""
        above = call.index if call else None
        return [
            inner
            for inner in self.calls.values()
            if (inner.parent.index if inner.parent else None) == above
        ]

    def __call__(self, call: LayerCall, moment: Moment, structure: Any) -> Any:
        """Looks at one spot."""
        flows = structure
        if moment == "enter":
            self.calls[call.index] = replace(call, args=(), kwargs={})
            self.unfinished.append(call)
            flows = call.inputs
        else:
            self.unfinished.pop()
        self.masks.note_all(structure)
        seen = structure if self._settle else flows
        if self._note(call, moment, seen, flows) and self._settle:
            return replace_nonfinite(structure)
        return structure

    def _note(self, call: LayerCall, moment: Moment, seen: Any, flows: Any) -> bool:
        spot: Spot = (call.index, moment)
        each = prod(call.steps)
        self.flows[spot] = [
            Flow(
                tuple(tensor.shape),
                keras.backend.standardize_dtype(tensor.dtype),
                self.masks.of(tensor),
                each,
            )
            for tensor in floats_in(flows)
        ]
        found = [bad_values(t, self.masks.of(t), each) for t in floats_in(seen)]
        bad = tuple(one for one in found if one is not None)
        if bad and not any(one.has_nan for one in bad) and self._is_meant(spot, call):
            self._last_meant = call.index
            return False
        if bad:
            self.noted[spot] = Noted(call, moment, bad, tuple(self.masks.all()))
        return bool(bad)

    def _is_meant(self, spot: Spot, call: LayerCall) -> bool:
        if spot in self.meant:
            return True
        inside = spot[1] == "enter" or call.index <= self._last_meant
        return self._last_meant >= 0 and (inside or not all_finite(call.inputs))
