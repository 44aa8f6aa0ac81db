"""What is padding in what a call puts out, where no shape says it."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE, rounding_error, typical_size
from keras_padsafe.audit.run.leaks import stir
from keras_padsafe.audit.run.movements import Compare
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Value
from keras_padsafe.audit.run.time_axes import deepened

if TYPE_CHECKING:
    from keras_padsafe.audit.run.padded_runs import PaddedRuns


def settle_padding(runs: "PaddedRuns", key: Key, kind: Kind) -> bool:
    """Finds what is padding in what a call puts out, where shapes do not say.

    Returns:
        Whether anything was found.
    """
    call = runs.record[key]
    given = [v for v in call.inputs if v.is_float]
    given = [v for v in given if runs.axes[v].padded is not None]
    outputs = [v for v in call.outputs if v.is_float and v.array.ndim > 1]
    if not given or not outputs:
        return False
    return _settle_joined(runs, call, outputs, given, kind) or _settle_unread(
        runs, call, outputs
    )


def _settle_joined(
    runs: "PaddedRuns",
    call: CallRecord,
    outputs: list[Value],
    given: list[Value],
    kind: Kind,
) -> bool:
    """A sum of two sequences is padding where either of them is."""
    change, put = runs.behind(kind)
    after = runs.again(call.key, change, put)
    for value in outputs:
        axes = runs.axes[value]
        real = axes.real
        for other in given:
            padded = runs.axes[other].padded
            if padded is not None and padded.shape == axes.shape[: padded.ndim]:
                real = real & ~deepened(padded, len(axes.axes))
        n = call.outputs.index(value)
        joined = replace(axes, real=real)
        move = Compare(change, runs.axes).as_read(value, after.outputs[n], joined)
        limit = MULTIPLE * runs.noise.get(value, 0.0)
        if (real.sum() < axes.real.sum() or real.shape != axes.real.shape) and (
            move is not None and move.size <= limit and real.any()
        ):
            runs.axes[value] = joined
            return True
    return False


def _settle_unread(runs: "PaddedRuns", call: CallRecord, outputs: list[Value]) -> bool:
    """Padding is what follows padding in the inputs, and not what is real there."""
    unread = [v for v in outputs if not (runs.axes[v].sure or runs.axes[v].time)]
    if not unread:
        return False
    again = []
    for real, seed in ((False, 0), (True, 1), (True, 2)):
        given = stir(runs.record, runs.axes, call.key, real, seed)
        again.append(runs.again(call.key, runs.batch.unchanged(), given))
    found = False
    for value in unread:
        n = call.outputs.index(value)
        by_padding, *by_real = (_differs(value, run.outputs[n]) for run in again)
        alone = padding_alone(by_padding, np.logical_or(*by_real))
        if alone.any():
            found = True
            real = runs.axes[value].real & ~deepened(alone, value.array.ndim)
            runs.axes[value] = replace(runs.axes[value], real=real)
    return found


def padding_alone(by_padding: np.ndarray, by_real: np.ndarray) -> np.ndarray:
    """Which elements follow padding and nothing else: flags on the first axes.

    Args:
        by_padding: What changed with the content at padded positions.
        by_real: What changed with the content at real ones.
    """
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
