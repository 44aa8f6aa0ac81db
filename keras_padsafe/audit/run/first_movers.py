"""The first layer whose answer moved though what it was given had not."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_padsafe.audit.run.float_noise import MULTIPLE, like
from keras_padsafe.audit.run.movements import CallMovement, Movement, Movements
from keras_padsafe.audit.run.record_calls import (
    Alter,
    CallRecord,
    Key,
    Record,
    Value,
    is_float,
)
from keras_padsafe.audit.run.time_axes import Axes
from keras_padsafe.audit.run.watch import LayerCall, map_tensors
from keras_padsafe.types import Tensor

Noise = Mapping[Value, float]

_LIBRARIES = ("keras", "keras_hub", "keras_padsafe")


def first_mover(
    record: Record, found: Movements, noise: Noise, multiple: float = MULTIPLE
) -> Key | None:
    """The first call, in the order in which calls end: an inner one before its outer.

    Args:
        record: The run of the batch itself.
        found: How far each call moved in another run.
        noise: How far rounding moves each tensor of the first run.
        multiple: How many times the noise a movement has to be.
    """
    for key, call in record.items():
        if key in found and _is_source(call, found[key], noise, multiple):
            return key
    return None


def place_of(record: Record, found: Movements, noise: Noise, key: Key) -> str:
    """The path of a call; for code of the user's own, between which of its layers."""
    call = record[key]
    if not call.has_children or _is_of_a_library(call.layer):
        return call.path
    last = None
    for child in sorted(record.values(), key=lambda child: child.index):
        if child.parent != key or child.key not in found:
            continue
        movement = found[child.key]
        if _moved(child.inputs, movement.inputs, noise, MULTIPLE):
            name = child.path.rpartition("/")[2]
            start = f"between {last} and {name}" if last else f"before {name}"
            return f"{call.path}, {start}"
        last = child.path.rpartition("/")[2]
    return f"{call.path}, after {last}" if last else call.path


def hold_still(
    record: Record, axes: Mapping[Value, Axes], keys: Sequence[Key]
) -> Alter:
    """Gives the outputs of some calls, where they are real, the values of before."""

    def alter(key: Key, call: LayerCall) -> None:
        if key not in keys:
            return
        before = [value for value in record[key].outputs if "float" in value.dtype]
        left = iter(before)

        def restored(tensor: Tensor) -> Tensor:
            value = next(left, None) if is_float(tensor) else None
            if value is None or tuple(tensor.shape) != value.array.shape:
                return tensor
            real = real_in(value, axes)
            now = keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))
            return like(tensor, np.where(real, value.array, now))

        call.outputs = map_tensors(restored, call.outputs)

    return alter


def real_in(value: Value, axes: Mapping[Value, Axes]) -> np.ndarray:
    """Where a tensor is real, in the shape of the tensor."""
    read = axes[value]
    if not read.flat:
        return np.broadcast_to(read.real, value.array.shape)
    rows, time = read.real.shape[:2]
    whole = np.broadcast_to(read.real, (rows, time, *value.array.shape[1:]))
    return whole.reshape(value.array.shape)


def _is_source(
    call: CallRecord, found: CallMovement, noise: Noise, multiple: float
) -> bool:
    return _moved(call.outputs, found.outputs, noise, multiple) and not _moved(
        call.inputs, found.inputs, noise, multiple
    )


def _moved(
    values: Sequence[Value],
    movements: Sequence[Movement | None],
    noise: Noise,
    multiple: float,
) -> bool:
    return any(
        movement is not None and movement.size > multiple * noise.get(value, 0.0)
        for value, movement in zip(values, movements, strict=True)
    )


def _is_of_a_library(layer: keras.Operation) -> bool:
    if isinstance(layer, keras.Model):
        return False
    return type(layer).__module__.partition(".")[0] in _LIBRARIES
