"""The calls to which more padding makes a difference, whatever it holds.

A layer may have set padding to zero, so that no other content in it is seen; a mean
still counts it, a maximum may take it, a recurrent layer goes on through it. So a call
is made once more, its last padded position repeated. It need not be the whole model
that takes longer inputs.
"""

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import like, of_arrays, to_numpy
from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.leaks import owner_of
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Value, apart, put
from keras_padsafe.audit.run.watch import LayerCall, Moment, map_tensors, tensors_in
from keras_padsafe.compat import get_keras_mask, set_keras_mask
from keras_padsafe.types import Tensor

_MORE = 3
"""How many positions are added."""


def readers_of_more(runs: PaddedRuns, keys: Container[Key]) -> list[Key]:
    """Those of some calls whose answer, and that of the model, more padding moves."""
    moved: dict[Key, dict[Value, np.ndarray]] = {}

    def look(call: LayerCall, at: Moment, structure: Any) -> None:
        if at == "enter" and call.key in keys and call.key in runs.record:
            found = _LongerCall(runs, runs.record[call.key], call).moves()
            if found:
                moved[call.key] = found

    runs.runs.call(look, values=runs.batch.unchanged().inputs)
    found: list[Key] = []
    for key in runs.record:
        if key in moved and not any(_inside(runs, other, key) for other in found):
            found.append(owner_of(runs.record, key, moved.__contains__))
    return [key for key in dict.fromkeys(found) if _matters(runs, key, moved[key])]


def _inside(runs: PaddedRuns, key: Key, outer: Key) -> bool:
    above: Key | None = key
    while above is not None and above != outer:
        above = runs.record[above].parent
    return above == outer


def _matters(runs: PaddedRuns, key: Key, moves: dict[Value, np.ndarray]) -> bool:
    """Whether an answer moves with what a call puts out."""

    def moved(now: np.ndarray, value: Value) -> np.ndarray:
        return now + moves[value] if value in moves else now

    given = put(runs.record, [key], "leave", moved)
    return runs.answer_moved(runs.moved(runs.batch.unchanged(), given))


class _LongerCall:
    """One call, made again with more padding in what it is given."""

    def __init__(self, runs: PaddedRuns, known: CallRecord, call: LayerCall) -> None:
        self._runs, self._known, self._call = runs, known, call
        self._lines = runs.batch.timelines
        self._outer = 1 + len(call.steps)
        self._rows = np.ones((1,) * self._outer, bool)

    def moves(self) -> dict[Value, np.ndarray]:
        """How far its outputs move, where they do."""
        floats = [value for value in self._known.inputs if value.is_float]
        real = [np.abs(value.array[self._runs.real(value)]) for value in floats]
        largest = max((np.nanmax(part, initial=0.0) for part in real), default=0.0)

        @of_arrays
        def below_zero(array: np.ndarray) -> np.ndarray:
            # What is larger was filled in, so that no maximum or minimum takes it.
            return np.where(np.abs(array) > 1.01 * largest, array, -np.abs(array))

        found: dict[Value, np.ndarray] = {}
        given = self._call.args, self._call.kwargs
        for args, kwargs in (given, below_zero(given)):
            changed = replace(self._call, args=args, kwargs=kwargs)
            try:
                short = self._answers(args, kwargs)
                long = self._answers(*self._lengthened(changed))
            except Exception:  # A call that takes no other length.
                return found
            for triple in zip(self._known.outputs, short, long, strict=False):
                move = self._move(*triple)
                if move is not None:
                    found.setdefault(triple[0], move)
        return found

    def _answers(self, args: Any, kwargs: Any) -> list[np.ndarray]:
        with self._runs.runs.untouched():  # Each from the state of before.
            outputs = tensors_in(self._call.layer(*args, **kwargs))
        return [apart(to_numpy(tensor), self._call.steps) for tensor in outputs]

    def _lengthened(self, call: LayerCall) -> Any:
        pairs = zip(call.inputs, self._known.inputs, strict=False)
        values = {id(tensor): value for tensor, value in pairs}

        def longer(tensor: Tensor) -> Tensor:
            axes = self._axes_of(tensor, values.get(id(tensor)))
            if not axes:
                return tensor
            made = like(tensor, self._extended(to_numpy(tensor), axes))
            mask = get_keras_mask(tensor)
            if mask is not None:
                mask = keras.ops.convert_to_numpy(mask)
                of_mask = {n: (axes[n][0], None) for n in axes if n < mask.ndim}
                mask = self._extended(mask, of_mask)
                set_keras_mask(made, keras.ops.convert_to_tensor(mask))
            return made

        return map_tensors(longer, (call.args, call.kwargs))

    def _extended(
        self, array: np.ndarray, axes: Mapping[int, tuple[bool, np.ndarray | None]]
    ) -> np.ndarray:
        for axis, (at_start, real) in axes.items():
            end = np.take(array, [0 if at_start else -1], axis)
            if real is None:  # A mask.
                end = np.zeros_like(end)
            elif real.any():
                end = self._without(end, real)
            more = np.repeat(end, _MORE, axis)
            array = np.concatenate([more, array] if at_start else [array, more], axis)
        return array

    def _without(self, end: np.ndarray, real: np.ndarray) -> np.ndarray:
        """What is to be repeated, where some rows end in something real.

        What all others end in is padding for these too; else nothing is known of them.
        """
        padding = end[~real]
        if len(padding) and (padding == padding[:1]).all():
            ones = (1,) * (end.ndim - 1)
            return np.where(real.reshape(-1, *ones), padding[:1], end)
        self._rows = self._rows & ~real.reshape(-1, *self._call.steps)
        return end

    def _axes_of(
        self, tensor: Tensor, value: Value | None
    ) -> dict[int, tuple[bool, np.ndarray | None]]:
        """The axes to make longer: whether at the start, and which rows end real."""
        if value is None:  # A mask, given by name.
            return {
                n: (line.padded_left, None)
                for n, size in enumerate(tensor.shape)
                for line in self._lines
                if n and size == line.length and line.padding.any()
            }
        axes, found = self._runs.axes[value], {}
        if axes.shape != value.array.shape:
            raise ValueError("several axes lie in one")
        real = self._runs.real(value)
        for n, number in axes.time:
            line = self._lines[number]
            if n < self._outer or not line.padding.any():
                continue
            at_start = line.padded_left != axes.axes[n].backwards
            end = np.take(real, 0 if at_start else -1, axis=n)
            ends = end.any(axis=tuple(range(self._outer, end.ndim))).reshape(-1)
            found[n - self._outer + 1] = at_start, ends
        return found

    def _move(
        self, value: Value, before: np.ndarray, after: np.ndarray
    ) -> np.ndarray | None:
        axes = self._runs.axes[value]
        if not value.is_float or not axes.shape == value.array.shape == before.shape:
            return None
        for n, number in axes.time:
            at_start = self._lines[number].padded_left != axes.axes[n].backwards
            more = after.shape[n] - before.shape[n]
            kept = np.arange(before.shape[n]) + (more if at_start else 0)
            after = np.take(after, np.clip(kept, 0, after.shape[n] - 1), axis=n)
        if after.shape != before.shape or not axes.batch:
            return None
        rows = self._rows.reshape(self._rows.shape + (1,) * (after.ndim - self._outer))
        real = self._runs.real(value) & rows
        with np.errstate(invalid="ignore"):
            move = np.where(real, after.astype("float64") - before, 0.0)
        limit = MULTIPLE * self._runs.noise[value]
        return move if np.abs(move).max(initial=0.0) > limit else None
