"""What an experiment does to the floats that feed a fault."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import of_arrays, of_tensors
from keras_padsafe.types import Tensor

_JITTER = 1e-3  # As a share of the largest value.


@of_arrays
def shrunk(array: np.ndarray) -> np.ndarray:
    """Floats times a power of two that leaves none above 2^-12."""
    exponent = max(0, math.frexp(float(np.abs(array).max(initial=0.0)))[1])
    return array.astype("float64") * 2.0**-exponent * 2.0**-12


@of_arrays
def without_zeros(array: np.ndarray) -> np.ndarray:
    """Floats with a little above zero for each exact zero."""
    size = np.abs(array).max(initial=0.0) or 1.0
    return np.where(array == 0, _JITTER * size, array)


@of_arrays
def noisy(array: np.ndarray) -> np.ndarray:
    """Values around 1, no two alike, for all that is not finite."""
    noise = np.random.default_rng(0).uniform(0.5, 1.5, array.shape)
    return np.where(np.isfinite(array), array, noise)


@of_tensors
def jittered(tensor: Tensor) -> Tensor:
    """Floats with a little noise: exact zeros and equal values are gone."""
    if 0 in tensor.shape:
        return tensor
    noise = _JITTER * np.random.default_rng(0).normal(size=tuple(tensor.shape))
    # No Python number: JAX has none while it differentiates.
    size = keras.ops.stop_gradient(keras.ops.max(keras.ops.abs(tensor)))
    size = keras.ops.where(size > 0, size, keras.ops.ones_like(size))
    return tensor + keras.ops.convert_to_tensor(noise, tensor.dtype) * size


@of_tensors
def widened(tensor: Tensor) -> Tensor:
    """Floats in double precision."""
    return keras.ops.cast(tensor, "float64")


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
