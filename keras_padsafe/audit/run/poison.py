"""Where what padding holds enters a model, and other content for it."""

from collections.abc import Container, Mapping
from typing import Literal, NamedTuple

import numpy as np

from keras_padsafe.audit.run.float_noise import typical_size
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value, put
from keras_padsafe.audit.run.time_axes import Axes, deepened
from keras_padsafe.audit.run.watch import Observer

Kind = Literal["random", "large", "nan"]

LARGE = 1e4
"""How much larger than real content the large one is."""


class Tap(NamedTuple):
    """The output of a call whose padded positions can hold anything."""

    call: CallRecord
    value: Value
    padding: np.ndarray


def find_taps(
    record: Record, batch: PaddedBatch, axes: Mapping[Value, Axes]
) -> list[Tap]:
    """The innermost calls that turn ids into features, or make a mask."""
    taps: list[Tap] = []
    covered: set[Key] = set()
    for key, call in record.items():
        if key not in covered:
            tap = _tap(call, batch, axes)
            if tap is None:
                continue
            taps.append(tap)
        if call.parent is not None:
            covered.add(call.parent)
    return taps


def put_in(
    record: Record,
    padding: Mapping[Value, np.ndarray],
    keys: Container[Key],
    kind: Kind,
    seed: int,
) -> Observer:
    """Puts other content at the padded positions of what comes out of some calls."""
    random = np.random.default_rng(seed)

    def other(now: np.ndarray, value: Value) -> np.ndarray:
        if value not in padding:
            return now
        return poisoned(now, padding[value], kind, value.dtype, random)

    return put(record, keys, "leave", other)


def poisoned(
    array: np.ndarray,
    padding: np.ndarray,
    kind: Kind,
    dtype: str,
    random: np.random.Generator,
) -> np.ndarray:
    """An array with other content at its padded positions.

    Not the same number everywhere: LayerNormalization takes a constant away, and a leak
    would stay hidden.
    """
    size = typical_size(array[~padding]) or 1.0
    content = random.normal(size=array.shape) * size
    if kind == "large":
        # The sums over it have to be finite in float16 too.
        limit = 65.0 if dtype == "float16" else np.inf
        content *= min(LARGE, limit / size)
    if kind == "nan":
        content = np.full(array.shape, np.nan)
    where = deepened(padding, array.ndim)
    return np.where(where, content, array).astype(array.dtype)


def _tap(
    call: CallRecord, batch: PaddedBatch, axes: Mapping[Value, Axes]
) -> Tap | None:
    for value in call.outputs:
        if not value.is_float or value.array.ndim < 3:
            continue
        padding = axes[value].padded if _takes_ids(call, value, batch) else None
        if padding is None and call.makes_mask and value.mask is not None:
            padding = ~value.mask
        if padding is None or padding.shape != value.array.shape[: padding.ndim]:
            continue
        if padding.any():
            return Tap(call, value, padding)
    return None


def _takes_ids(call: CallRecord, value: Value, batch: PaddedBatch) -> bool:
    """Whether a call turns ids `(batch, ..., time)` into vectors of more than one."""
    array = value.array
    shaped = [v for v in call.inputs if v.array.shape == array.shape[:-1]]
    # Zeros and one other number: content put there would change who is real.
    mask = np.unique(array[np.isfinite(array)]).size <= 2
    if array.shape[-1] == 1 or not shaped or mask:
        return False
    # Ids beside vectors, as for a mask: the vectors hold what padding holds.
    if any(v.is_float and v.array.ndim > 2 for v in call.inputs):
        return False
    inputs = [batch.inputs[i].values for line in batch.timelines for i in line.members]
    known = any(np.array_equal(ids, given.array) for ids in inputs for given in shaped)
    return known or all("int" in given.dtype for given in call.inputs)
