"""Which call lets padding reach an answer, and what follows if it is kept from it."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.movements import Movement, Movements
from keras_padsafe.audit.run.poison import Kind, poisoned
from keras_padsafe.audit.run.record_calls import (
    Alter,
    CallRecord,
    Key,
    Record,
    Value,
    put,
)
from keras_padsafe.audit.run.time_axes import Axes
from keras_padsafe.audit.run.watch import of_a_library

Noise = Mapping[Value, float]


def first_mover(
    record: Record, found: Movements, noise: Noise, multiple: float = MULTIPLE
) -> Key | None:
    """The first call whose answer moved though what it was given had not.

    Calls are taken in the order in which they end, an inner one before its outer; what
    a layer of a library does inside is that layer's doing.

    Args:
        record: The run of the batch itself.
        found: How far each call moved in another run.
        noise: How far rounding moves each tensor of the first run.
        multiple: How many times the noise a movement has to be.
    """

    def is_source(key: Key) -> bool:
        call, moved = record[key], found.get(key)
        return (
            moved is not None
            and has_moved(call.outputs, moved.outputs, noise, multiple)
            and not has_moved(call.inputs, moved.inputs, noise, multiple)
        )

    first = next(filter(is_source, record), None)
    return first and owner_of(record, first, is_source)


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


def moved_inside(
    record: Record, found: Movements, noise: Noise, key: Key
) -> CallRecord | None:
    """The first call inside another one that was given something that had moved."""
    for child in sorted(record.values(), key=lambda child: child.index):
        if child.parent == key and child.key in found:
            movement = found[child.key]
            if has_moved(child.inputs, movement.inputs, noise):
                return child
    return None


def place_of(record: Record, found: Movements, noise: Noise, key: Key) -> str:
    """The path of a call; for code of the user's own, between which of its layers."""
    call = record[key]
    if not call.has_children or of_a_library(call.layer):
        return call.path
    reached = moved_inside(record, found, noise, key)
    end = reached.index if reached else float("inf")
    before = [c for c in record.values() if c.parent == key and c.index < end]
    last = max(before, key=lambda c: c.index).path if before else ""
    last, name = (p.rpartition("/")[2] for p in (last, reached.path if reached else ""))
    if reached:
        where = f"between {last} and {name}" if last else f"before {name}"
        return f"{call.path}, {where}"
    return f"{call.path}, after {last}" if last else call.path


def as_before(
    record: Record, axes: Mapping[Value, Axes], keys: Sequence[Key], real: bool
) -> Alter:
    """Holds some calls still: what they give where it is real, as it was before.

    Or, if not `real`, calms them: what they are given where it is padding.
    """

    def held(now: np.ndarray, value: Value) -> np.ndarray:
        return np.where(real_in(value, axes) == real, value.array, now)

    return put(record, keys, "leave" if real else "enter", held)


def stir(
    record: Record, axes: Mapping[Value, Axes], key: Key, real: bool, seed: int
) -> Alter:
    """Gives one call other content, where its inputs are real or where they are not."""
    random = np.random.default_rng(seed)

    def stirred(now: np.ndarray, value: Value) -> np.ndarray:
        # Larger than what is there: a maximum would not show it.
        size = np.abs(value.array).max(initial=0.0) or 1.0
        content = random.normal(size=value.array.shape) * 2 * size
        return np.where(real_in(value, axes) == real, content, now)

    return put(record, [key], "enter", stirred)


def unsettle(
    record: Record, axes: Mapping[Value, Axes], keys: Sequence[Key], kind: Kind
) -> Alter:
    """Puts other content in what some calls put out, where it is padding."""
    random = np.random.default_rng(2)

    def other(now: np.ndarray, value: Value) -> np.ndarray:
        padded = axes[value].padded
        if padded is None or axes[value].shape != now.shape:
            return now
        content = poisoned(value.array, padded, kind, value.dtype, random)
        return np.where(real_in(value, axes), now, content)

    return put(record, keys, "leave", other)


def real_in(value: Value, axes: Mapping[Value, Axes]) -> np.ndarray:
    """Where a tensor is real, in the shape of the tensor."""
    read = axes[value]
    return np.broadcast_to(read.real, read.shape).reshape(value.array.shape)


def has_moved(
    values: Sequence[Value],
    movements: Sequence[Movement | None],
    noise: Noise,
    multiple: float = MULTIPLE,
) -> bool:
    """Whether any of some tensors moved by more than rounding."""
    return any(
        movement is not None and movement.size > multiple * noise.get(value, 0.0)
        for value, movement in zip(values, movements, strict=True)
    )
