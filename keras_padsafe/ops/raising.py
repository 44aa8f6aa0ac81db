"""Raising on the value of a tensor: the one thing that each backend does its way.

Raised from Python where values are known (eager), by an assertion in the graph of
a TensorFlow function, and by a callback to Python in a compiled JAX function.
Nothing can be raised by TensorFlow under XLA, nor by an exported JAX or torch
program: callers define an answer for these, one that cannot be mistaken.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import backend

from keras_padsafe.errors import IdError
from keras_padsafe.types import Tensor

Explain = Callable[[np.ndarray], str | None]


def raise_if(bad: Tensor, values: Tensor, explain: Explain, summary: str) -> Tensor:
    """Returns `values`, having raised if there is anything wrong with them.

    Args:
        bad: Boolean tensor, True where a value is wrong.
        values: The values.
        explain: Says what is wrong with the values, `None` if nothing is.
        summary: What is wrong, for where the values are out of Python's reach.

    Returns:
        `values`. Use it, and not the argument, so that the check takes place.
    """
    if backend.is_keras_tensor(values):
        return values
    return _BACKENDS[backend.backend()](bad, values, explain, summary)


def _raise_now(values: Any, explain: Explain) -> None:
    message = explain(np.asarray(values))
    if message is not None:
        raise IdError(message)


def _jax(bad: Any, values: Any, explain: Explain, summary: str) -> Any:
    import jax

    if not isinstance(values, jax.core.Tracer):
        _raise_now(values, explain)
        return values
    if not all(isinstance(size, int) for size in values.shape):
        return values  # Sizes are symbols only in an export, which takes no callback.

    def call_python(values: Any) -> Any:
        def check(values: Any) -> Any:
            _raise_now(values, explain)
            return values

        like = jax.ShapeDtypeStruct(values.shape, values.dtype)
        return jax.pure_callback(check, like, values, vmap_method="expand_dims")

    return jax.lax.cond(bad.any(), call_python, lambda values: values, values)


def _tensorflow(bad: Any, values: Any, explain: Explain, summary: str) -> Any:
    import tensorflow as tf

    if tf.executing_eagerly():
        _raise_now(values, explain)
        return values
    first = tf.reshape(tf.boolean_mask(values, bad)[:1], [-1])
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(bad)), [summary, "First one:", first]
    )
    # Under XLA, and in TensorFlow 1 graphs, the assertion may be no operation.
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(values)


def _torch(bad: Any, values: Any, explain: Explain, summary: str) -> Any:
    import torch

    if values.is_meta or torch.compiler.is_exporting():
        return values
    if bool(bad.any()):
        _raise_now(values.cpu(), explain)
    return values


_BACKENDS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
