"""One run looked at: where something is not finite, and which positions are real."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
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


@dataclass(frozen=True, eq=False)
class Noted:
    """What is not finite at one spot, tensor by tensor, and all masks known then.

    In a settled run it was born there: in the call, if it is seen after it, or else in
    the code of the call around it.
    """

    look: "Look"
    call: LayerCall
    moment: Moment
    bad: tuple[BadValues, ...]
    masks: tuple[np.ndarray, ...]

    @property
    def lost(self) -> BadValues:
        """What is not finite, in the first tensor."""
        return self.bad[0]

    @property
    def spot(self) -> Spot:
        """Where it was seen."""
        return self.call.index, self.moment

    @property
    def is_input(self) -> bool:
        """Whether it came with the batch."""
        return self.call.parent is None and self.moment == "enter"

    @property
    def scope(self) -> LayerCall:
        """The call whose own code made it."""
        return self.call if self.moment == "leave" else self.call.parent or self.call

    @property
    def place(self) -> str:
        """The path of the layer whose code made it, or `"input"`."""
        return "input" if self.is_input else self.scope.path

    @cached_property
    def before(self) -> list[LayerCall]:
        """The calls in that code that had ended."""
        inside = self.look.children(self.scope)
        leaves = self.moment == "leave"
        return [call for call in inside if leaves or call.index < self.call.index]

    @cached_property
    def feeds(self) -> set[Spot]:
        """The spots whose tensors it was made of."""
        made: set[Spot] = {(call.index, "leave") for call in self.before}
        given: set[Spot] = {(self.scope.index, "enter")}
        return made if self.is_input else made | given

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of the layer whose code made it, without its sublayers'."""
        inside = self.look.children(self.scope)
        below = {id(v) for call in inside for v in call.layer_variables}
        own = [] if self.is_input else self.scope.layer_variables
        return [v for v in own if id(v) not in below]


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
        flows: The floats at each spot; if not settled, masks given by name left out.
        noted: What is not finite, in the order of the run.
    """

    def __init__(self, settle: bool = False, meant: Collection[Spot] = ()) -> None:
        self.calls: dict[int, LayerCall] = {}
        self.unfinished: list[LayerCall] = []
        self.flows: dict[Spot, list[BadValues]] = {}
        self.noted: dict[Spot, Noted] = {}
        self.masks = KnownMasks()
        self.meant = meant
        self._settle = settle
        self._last_meant = -1

    def children(self, call: LayerCall) -> list[LayerCall]:
        """The calls that happened directly inside a call, in order."""
        every = self.calls.values()
        return [c for c in every if c.parent and c.parent.index == call.index]

    def __call__(self, call: LayerCall, moment: Moment, structure: Any) -> Any:
        """Looks at one spot."""
        spot: Spot = (call.index, moment)
        seen = structure if self._settle else call.shown(moment)
        if moment == "enter":
            self.calls[call.index] = replace(call, args=(), kwargs={})
            self.unfinished.append(call)
        else:
            self.unfinished.pop()
        self.masks.note_all(structure)
        masks, each = self.masks, prod(call.steps)
        found = [bad_values(t, masks.of(t), each) for t in floats_in(seen)]
        self.flows[spot] = found
        bad = tuple(filter(None, found))
        if bad and not any(one.has_nan for one in bad) and self._is_meant(spot, call):
            self._last_meant = call.index
        elif bad:
            self.noted[spot] = Noted(self, call, moment, bad, tuple(masks.all()))
            return replace_nonfinite(structure) if self._settle else structure
        return structure

    def _is_meant(self, spot: Spot, call: LayerCall) -> bool:
        if spot in self.meant:
            return True
        inside = spot[1] == "enter" or call.index <= self._last_meant
        return self._last_meant >= 0 and (inside or not all_finite(call.inputs))
