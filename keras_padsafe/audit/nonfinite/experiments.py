"""What an experiment does to the floats that feed a fault."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import change_arrays, transform_floats
from keras_padsafe.types import Tensor

_JITTER = 1e-3  # As a share of the largest value.


def shrunk(structure: Any) -> Any:
    """Floats times a power of two that leaves none above 2^-12."""

    def halved(array: np.ndarray) -> np.ndarray:
        exponent = max(0, math.frexp(float(np.abs(array).max(initial=0.0)))[1])
        return array.astype("float64") * 2.0**-exponent * 2.0**-12

    return change_arrays(halved, structure)


def without_zeros(structure: Any) -> Any:
    """Floats with a little above zero for each exact zero."""

    def moved(array: np.ndarray) -> np.ndarray:
        size = np.abs(array).max(initial=0.0) or 1.0
        return np.where(array == 0, _JITTER * size, array)

    return change_arrays(moved, structure)


def noisy(structure: Any) -> Any:
    """Values around 1, no two alike, for all that is not finite."""

    def replaced(array: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).uniform(0.5, 1.5, array.shape)
        return np.where(np.isfinite(array), array, noise)

    return change_arrays(replaced, structure)


def jittered(structure: Any) -> Any:
    """Floats with a little noise: exact zeros and equal values are gone."""

    def moved(tensor: Tensor) -> Tensor:
        if 0 in tensor.shape:
            return tensor
        noise = _JITTER * np.random.default_rng(0).normal(size=tuple(tensor.shape))
        # No Python number: JAX has none while it differentiates.
        size = keras.ops.stop_gradient(keras.ops.max(keras.ops.abs(tensor)))
        size = keras.ops.where(size > 0, size, keras.ops.ones_like(size))
        return tensor + keras.ops.convert_to_tensor(noise, tensor.dtype) * size

    return transform_floats(moved, structure)


def widened(structure: Any) -> Any:
    """Floats in double precision."""
    return transform_floats(lambda tensor: keras.ops.cast(tensor, "float64"), structure)


@contextmanager
def in_float64(layer: keras.Operation) -> Iterator[None]:
    """While it lasts, a layer computes in float64; those inside keep their dtypes."""
    policy = getattr(layer, "dtype_policy", None)
    # A map of policies would keep a new entry.
    by_path = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    if by_path or not isinstance(layer, keras.layers.Layer):
        yield
        return
    layer.dtype_policy = "float64"
    try:
        yield
    finally:
        layer.dtype_policy = policy
