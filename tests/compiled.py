"""Compiling a function the way `fit` does on the running backend, for tests."""

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `function` compiled: by XLA on TensorFlow and JAX, by dynamo on torch."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function, backend="eager")


def in_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like `compiled`, but on TensorFlow a graph without XLA."""
    if keras.backend.backend() != "tensorflow":
        return compiled(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)
