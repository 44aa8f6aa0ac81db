"""Gradients by the running backend's own means, for tests."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def value_and_gradients(
    function: Callable[..., Any], *arrays: Any
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns `function(*arrays)` and d sum(result) / d each array, as NumPy.

    Args:
        function: Takes one tensor an array, returns one floating-point tensor.
        *arrays: Floating-point arrays; their dtypes are kept.
    """
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    value, gradients = _BACKENDS[keras.backend.backend()](function, tensors)
    return _numpy(value), [_numpy(gradient) for gradient in gradients]


def gradient(function: Callable[[Any], Any], array: Any) -> np.ndarray:
    """Returns d sum(function(array)) / d array."""
    return value_and_gradients(function, array)[1][0]


def _numpy(tensor: Any) -> np.ndarray:
    array = keras.ops.convert_to_numpy(tensor)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _tensorflow(function: Callable[..., Any], tensors: list[Any]) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    zero = tf.UnconnectedGradients.ZERO
    return value, tape.gradient(value, tensors, unconnected_gradients=zero)


def _jax(function: Callable[..., Any], tensors: list[Any]) -> Any:
    import jax

    def total(*arguments: Any) -> Any:
        value = function(*arguments)
        return value.sum(), value

    numbers = tuple(range(len(tensors)))
    gradients, value = jax.grad(total, numbers, has_aux=True)(*tensors)
    return value, gradients


def _torch(function: Callable[..., Any], tensors: list[Any]) -> Any:
    import torch

    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    value = function(*leaves)
    gradients = torch.autograd.grad(
        value.sum(), leaves, allow_unused=True, materialize_grads=True
    )
    return value, gradients


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
