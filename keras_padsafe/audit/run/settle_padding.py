"""What is padding in what a call puts out, where no shape says it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE, rounding_error, typical_size
from keras_padsafe.audit.run.leaks import stir
from keras_padsafe.audit.run.movements import Compare, difference
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import Key, Value
from keras_padsafe.audit.run.time_axes import deepened

if TYPE_CHECKING:
    from keras_padsafe.audit.run.padded_runs import PaddedRuns


def settle_padding(runs: "PaddedRuns", key: Key, kind: Kind) -> bool:
    """Finds what is padding in what a call puts out; whether anything was found."""
    call = runs.record[key]
    padding = [runs.axes[v].padded for v in call.inputs if v.is_float]
    known = [padded for padded in padding if padded is not None]
    floats = {n: value for n, value in enumerate(call.outputs) if value.is_float}
    outputs = {n: value for n, value in floats.items() if value.array.ndim > 1}
    if not known or not outputs:
        return False
    # A sum of two sequences is padding where either of them is.
    change, put = runs.behind(kind)
    after = runs.again(key, change, put)
    compare = Compare(runs.record, change, runs.axes)
    for n, value in outputs.items():
        axes = runs.axes[value]
        real = axes.real
        for padded in known:
            if padded.shape == axes.shape[: padded.ndim]:
                real = real & ~deepened(padded, len(axes.axes))
        joined = replace(axes, real=real)
        move = compare.as_read(value, after[n], joined)
        still = move is not None and move.size <= MULTIPLE * runs.noise[value]
        less = real.sum() < axes.real.sum() or real.shape != axes.real.shape
        if less and still and real.any():
            runs.axes[value] = joined
            return True
    return _settle_unread(runs, key, outputs)


def _settle_unread(runs: "PaddedRuns", key: Key, outputs: dict[int, Value]) -> bool:
    """Padding is what follows padding in the inputs, and not what is real there."""
    axes = runs.axes
    unread = {n: v for n, v in outputs.items() if not (axes[v].sure or axes[v].time)}
    if not unread:
        return False
    again = [
        runs.again(key, runs.batch.unchanged(), stir(runs, key, real, seed))
        for real, seed in ((False, 0), (True, 1), (True, 2))
    ]
    found = False
    for n, value in unread.items():
        by_padding, *by_real = (_differs(value, run[n]) for run in again)
        alone = _padding_alone(by_padding, np.logical_or(*by_real))
        if alone.any():
            found = True
            real = axes[value].real & ~deepened(alone, value.array.ndim)
            axes[value] = replace(axes[value], real=real)
    return found


def _padding_alone(by_padding: np.ndarray, by_real: np.ndarray) -> np.ndarray:
    """Which elements follow padding and nothing else: flags on the first axes."""
    alone = by_padding & ~by_real
    # A maximum may hide what else an element depends on: whole positions count, and
    # whole rows where there is no time. What mixes nothing has only moved.
    inner = tuple(range(2 if alone.ndim > 2 else 1, alone.ndim))
    position = np.asarray(by_padding.any(inner) & ~by_real.any(inner))
    mixes = (by_padding & by_real).any()
    if mixes or not (alone & ~deepened(position, alone.ndim)).any():
        return position
    return alone


def _differs(before: Value, after: Value) -> np.ndarray:
    if before.array.shape != after.array.shape:
        return np.ones(before.array.shape, bool)
    limit = MULTIPLE * rounding_error(before.dtype) * typical_size(before.array)
    return difference(before.array, after.array) > limit
