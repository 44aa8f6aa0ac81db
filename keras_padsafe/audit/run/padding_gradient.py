"""Whether an answer would follow what padding holds: its gradient is zero if not."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import floats_in, transform_floats
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.poison import Tap
from keras_padsafe.audit.run.record_calls import Value
from keras_padsafe.audit.run.watch import LayerCall, Moment, Observer
from keras_padsafe.backends.running import as_one, gradients
from keras_padsafe.types import Tensor


def padding_gradient(
    runs: ModelRuns,
    taps: Sequence[Tap],
    inputs: Mapping[int, np.ndarray],
    outputs: Sequence[tuple[Value, np.ndarray]],
) -> tuple[float, float]:
    """The largest gradient of the real outputs, at padding and at what is real.

    Differentiated is a sum of them with random weights.

    Args:
        runs: The model and its batch.
        taps: The calls whose outputs hold the sequence.
        inputs: The number and the padding of the inputs that hold one themselves.
        outputs: Each output of the model that holds floats, and where it is real.
    """
    random = np.random.default_rng(0)
    weights = [random.normal(size=value.array.shape) for value, _ in outputs]
    values = [entry.values for entry in runs.inputs]
    leaves = [_tensor(tap.value.array, tap.value.dtype) for tap in taps]
    leaves += [keras.ops.convert_to_tensor(values[i]) for i in inputs]

    def scalar(tensors: list[Tensor], _: list[Tensor]) -> Tensor:
        given: list[Any] = list(values)
        for n, i in enumerate(inputs):
            given[i] = tensors[len(taps) + n]
        at = {tap.call.index: (tap, tensors[n]) for n, tap in enumerate(taps)}
        made = runs.call(_replacing(at), values=given, only=set(at))
        parts: list[Tensor] = []
        triples = zip(floats_in(made), weights, outputs, strict=True)
        for output, weight, (_value, real) in triples:
            wide = keras.ops.cast(output, "float32")
            kept = keras.ops.where(real, wide, keras.ops.zeros_like(wide))
            parts.append(keras.ops.sum(kept * keras.ops.cast(weight, "float32")))
        return sum(parts[1:], parts[0])

    by_leaf, _ = gradients(as_one(scalar), leaves, [])
    paddings = [tap.padding for tap in taps] + list(inputs.values())
    largest = [0.0, 0.0]
    for gradient, padding in zip(by_leaf, paddings, strict=True):
        if gradient is None:
            continue
        size = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(gradient, "float32")))
        size = size.reshape(*padding.shape, -1).max(-1, initial=0.0)
        for n, place in enumerate((padding, ~padding)):
            part = size[place].max(initial=0.0)
            largest[n] = float(np.maximum(largest[n], part))
    return largest[0], largest[1]


def _replacing(at: Mapping[int, tuple[Tap, Tensor]]) -> Observer:
    """Puts tensors in the place of what comes out of some calls."""

    def put(call: LayerCall, moment: Moment, structure: Any) -> Any:
        if moment == "enter":
            return structure
        tap, tensor = at[call.index]
        if call.path != tap.call.path:
            raise RuntimeError(f"another run called {call.path} in its place")

        def replaced(output: Tensor) -> Tensor:
            if tuple(output.shape) != tap.value.array.shape:
                return output
            # A tensor of its own, for the mask to be set on.
            return keras.ops.reshape(tensor, output.shape)

        return transform_floats(replaced, structure)

    return put


def _tensor(array: np.ndarray, dtype: str) -> Tensor:
    return keras.ops.cast(keras.ops.convert_to_tensor(array), dtype)
