"""Rows of scores that a mask made `-inf` throughout: harmless until they are read.

The `-inf` of a masked score is meant. What a softmax or maximum makes of a row of
nothing else is not, so that the fault lies there and not where the `-inf` came from.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.births import Birth
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    all_finite,
    bad_values,
    is_float,
    replace_nonfinite,
    transform_floats,
)
from keras_padsafe.audit.run.intervene import Change, Intervene, Key
from keras_padsafe.audit.run.watch import LayerCall, tensors_in
from keras_padsafe.types import Tensor


@dataclass(frozen=True)
class NothingLeft:
    """Where rows that hold `-inf` only are first read in vain.

    Attributes:
        place: The path of the layer.
        bad: What it makes of them.
    """

    place: str
    bad: BadValues


def nothing_left(run: BatchRun, birth: Birth, others: Set[Key]) -> NothingLeft | None:
    """Whether all is finite once one value of each row of `-inf` is another."""
    if birth.bad.has_nan:
        return None
    rest = dict.fromkeys(others, replace_nonfinite)
    shape = birth.bad.bad.shape
    # A single number is no row of scores.
    for axis in [n for n in reversed(range(1, len(shape))) if shape[n] > 1]:
        kept = _Looks({**rest, birth.key: _one_kept(axis)})
        if all_finite(run(kept)):
            lost = _Looks(rest)
            run(lost)
            found = [key for key in lost.bad if key not in kept.bad]
            return lost.bad[found[0]] if found else None
    return None


def _one_kept(axis: int) -> Change:
    def kept(tensor: Tensor) -> Tensor:
        if len(tensor.shape) <= axis:
            return tensor
        hidden = keras.ops.all(tensor == -float("inf"), axis=axis, keepdims=True)
        at = keras.ops.arange(tensor.shape[axis])
        first = keras.ops.reshape(
            at == 0, [-1 if i == axis else 1 for i in range(len(tensor.shape))]
        )
        here = keras.ops.logical_and(hidden, first)
        return keras.ops.where(here, keras.ops.zeros_like(tensor), tensor)

    return lambda structure: transform_floats(kept, structure)


class _Looks(Intervene):
    """Notes each observation that is not finite."""

    def __init__(self, changes: dict[Key, Change]) -> None:
        super().__init__(changes)
        self.bad: dict[Key, NothingLeft] = {}

    def enter(self, call: LayerCall) -> None:
        super().enter(call)
        if call.parent is not None:
            self._look((call.index, "enter"), call.parent.path, call.inputs)

    def leave(self, call: LayerCall) -> None:
        super().leave(call)
        self._look((call.index, "leave"), call.path, tensors_in(call.outputs))

    def _look(self, key: Key, place: str, tensors: list[Any]) -> None:
        for tensor in tensors:
            bad = bad_values(tensor, None) if is_float(tensor) else None
            if bad is not None:
                self.bad[key] = NothingLeft(place, bad)
                return
