"""What is padding in what a call puts out, where no shape says it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE, rounding_error, typical_size
from keras_padsafe.audit.run.leaks import stir
from keras_padsafe.audit.run.movements import Compare
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
    outputs = {
        n: value
        for n, value in enumerate(call.outputs)
        if value.is_float and value.array.ndim > 1
    }
    if not known or not outputs:
        return False
    return _settle_joined(runs, key, outputs, known, kind) or _settle_unread(
        runs, key, outputs
    )


def _settle_joined(
    runs: "PaddedRuns",
    key: Key,
    outputs: dict[int, Value],
    known: list[np.ndarray],
    kind: Kind,
) -> bool:
    """A sum of two sequences is padding where either of them is."""
    change, put = runs.behind(kind)
    after, compare = runs.again(key, change, put), Compare(change, runs.axes)
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
    return False


def _settle_unread(runs: "PaddedRuns", key: Key, outputs: dict[int, Value]) -> bool:
    """Padding is what follows padding in the inputs, and not what is real there."""
    unread = {
        n: value
        for n, value in outputs.items()
        if not (runs.axes[value].sure or runs.axes[value].time)
    }
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
            real = runs.axes[value].real & ~deepened(alone, value.array.ndim)
            runs.axes[value] = replace(runs.axes[value], real=real)
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
    with np.errstate(invalid="ignore"):
        apart = np.abs(before.array.astype("float64") - after.array)
    return ~(apart <= limit)
