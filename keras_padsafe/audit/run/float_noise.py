"""How far rounding alone moves the tensors of a model, measured on the running machine.

After every inner call, each number is moved up or down by about the error of one
rounding: what another order of summation does, as another shape of the batch brings it.
"""

from functools import cache

import keras
import numpy as np

from keras_padsafe.audit.run.record_calls import Record, Value, put
from keras_padsafe.audit.run.watch import Observer
from keras_padsafe.types import Tensor

SEEDS = 3
"""How often the noise is drawn; the largest movement counts."""

MULTIPLE = 8.0
"""How many times the noise a movement has to be, to be more than noise."""


def round_again(record: Record, seed: int) -> Observer:
    """Moves what comes out of each inner call by one rounding, up or down."""
    random = np.random.default_rng(seed)

    def moved(now: np.ndarray, value: Value) -> np.ndarray:
        size = np.maximum(np.abs(now), typical_size(now))
        signs = random.choice((-1.0, 1.0), now.shape)
        step = signs * size * rounding_error(value.dtype)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(now), now + step, now)

    inner = [key for key, call in record.items() if not call.has_children]
    return put(record, inner, "leave", moved)


def typical_size(array: np.ndarray) -> float:
    """The root of the mean square of the finite numbers of an array."""
    finite = array[np.isfinite(array)].astype("float64")
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0


@cache
def rounding_error(dtype: str) -> float:
    """The error of one product of matrices in this dtype, relative to its size.

    Never below the distance from 1 to the next number. On a GPU float32 can be far
    from that: TensorFloat-32 keeps 10 bits.
    """
    random = np.random.default_rng(0)
    numbers = [random.normal(size=shape) for shape in ((64, 256), (256, 64))]
    a, b = (keras.ops.cast(keras.ops.convert_to_tensor(n), dtype) for n in numbers)
    exact = _double(a) @ _double(b)
    error = _double(keras.ops.matmul(a, b)) - exact
    smallest = 2.0 ** -{"float64": 52, "float16": 10, "bfloat16": 7}.get(dtype, 23)
    return max(smallest, typical_size(error) / typical_size(exact))


def _double(tensor: Tensor) -> np.ndarray:
    if "float64" not in str(tensor.dtype):
        tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor).astype("float64")
