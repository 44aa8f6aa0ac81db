"""Whether an answer would follow what padding holds: its gradient is zero if not."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import floats_in, of_tensors
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.poison import Tap
from keras_padsafe.audit.run.record_calls import Value
from keras_padsafe.audit.run.watch import LayerCall, Moment
from keras_padsafe.backends.running import as_one, gradients
from keras_padsafe.types import Tensor


def padding_gradient(
    runs: ModelRuns,
    taps: Sequence[Tap],
    inputs: Mapping[int, np.ndarray],
    outputs: Sequence[tuple[Value, np.ndarray]],
) -> tuple[float, float]:
    """The largest gradient of the real outputs, at padding and at what is real.

    Differentiated is a sum of them with random weights, by what comes out of taps and
    by the inputs, known by number and padding, that hold a sequence themselves.
    """
    random = np.random.default_rng(0)
    weights = [random.normal(size=value.array.shape) for value, _ in outputs]
    values = [entry.values for entry in runs.inputs]
    tensor = keras.ops.convert_to_tensor
    leaves = [tensor(tap.value.array, tap.value.dtype) for tap in taps]
    leaves += [tensor(values[i]) for i in inputs]

    def scalar(tensors: list[Tensor], _: list[Tensor]) -> Tensor:
        given: list[Any] = list(values)
        for n, i in enumerate(inputs):
            given[i] = tensors[len(taps) + n]
        at = {tap.call.key: (tap, tensors[n]) for n, tap in enumerate(taps)}

        def replacing(call: LayerCall, moment: Moment, structure: Any) -> Any:
            tap, tensor = at[call.key]

            @of_tensors
            def replaced(output: Tensor) -> Tensor:
                if tuple(output.shape) != tap.value.array.shape:
                    return output
                # A tensor of its own, for the mask to be set on.
                return keras.ops.reshape(tensor, output.shape)

            return structure if moment == "enter" else replaced(structure)

        made = runs.call(replacing, values=given, only=at)
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
