"""Which call lets padding reach an answer, and what follows if it is kept from it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.movements import Movements
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value, put
from keras_padsafe.audit.run.watch import Observer, of_a_library

if TYPE_CHECKING:
    from keras_padsafe.audit.run.padded_runs import PaddedRuns


def first_mover(
    runs: "PaddedRuns", moved: Movements, multiple: float = MULTIPLE
) -> Key | None:
    """The first call whose answer moved though what it was given had not.

    Calls are taken in the order in which they end, an inner one before its outer; what
    a layer of a library does inside is that layer's doing. A movement is one if it is
    that `multiple` of the noise.
    """

    def is_source(key: Key) -> bool:
        given, made = runs.record[key].inputs, runs.record[key].outputs
        again = key in moved.calls and runs.has_moved(made, moved, multiple)
        return again and not runs.has_moved(given, moved, multiple)

    first = next(filter(is_source, runs.record), None)
    return first and owner_of(runs.record, first, is_source)


def owner_of(record: Record, key: Key, is_source: Callable[[Key], bool]) -> Key:
    """The layer of a library, around a call, whose doing that is: or the call itself.

    What a wrapper does is the doing of what it wraps.
    """
    above = record[key].parent
    while above is not None:
        layer = record[above].layer
        wraps = isinstance(layer, keras.layers.Wrapper)
        if of_a_library(layer) and not wraps and is_source(above):
            key = above
        above = record[above].parent
    return key


def moved_inside(runs: "PaddedRuns", moved: Movements, key: Key) -> CallRecord | None:
    """The first call inside another one that was given something that had moved."""
    inside = [c for c in runs.record.values() if c.parent == key]
    reached = [call for call in inside if runs.has_moved(call.inputs, moved)]
    return min(reached, key=lambda call: call.index, default=None)


def place_of(runs: "PaddedRuns", moved: Movements, key: Key) -> str:
    """The path of a call; for code of the user's own, between which of its layers."""
    call = runs.record[key]
    if not call.has_children or of_a_library(call.layer):
        return call.path
    reached = moved_inside(runs, moved, key)
    end = reached.index if reached else float("inf")
    before = [c for c in runs.record.values() if c.parent == key and c.index < end]
    last = max(before, key=lambda c: c.index).layer.name if before else ""
    if reached:
        name = reached.layer.name
        where = f"between {last} and {name}" if last else f"before {name}"
        return f"{call.path}, {where}"
    return f"{call.path}, after {last}" if last else call.path


def as_before(runs: "PaddedRuns", keys: Sequence[Key], real: bool) -> Observer:
    """Holds some calls still: what they give where it is real, as it was before.

    Or, if not `real`, calms them: what they are given where it is padding.
    """

    def held(now: np.ndarray, value: Value) -> np.ndarray:
        return np.where(runs.real(value) == real, value.array, now)

    return put(runs.record, keys, "leave" if real else "enter", held)


def stir(runs: "PaddedRuns", key: Key, real: bool, seed: int) -> Observer:
    """Gives one call other content, where its inputs are real or where they are not."""
    random = np.random.default_rng(seed)

    def stirred(now: np.ndarray, value: Value) -> np.ndarray:
        # Larger than what is there: a maximum would not show it.
        size = np.abs(value.array).max(initial=0.0) or 1.0
        content = random.normal(size=value.array.shape) * 2 * size
        return np.where(runs.real(value) == real, content, now)

    return put(runs.record, [key], "enter", stirred)
