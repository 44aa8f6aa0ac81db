"""Compiled functions for tests, as `fit` compiles them and as others read them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import pytest


@contextlib.contextmanager
def read_by_tensorflow() -> Iterator[None]:
    """Skips where TensorFlow is older than the programs that JAX writes."""
    try:
        yield
    except Exception as fault:
        if "StableHLO" not in str(fault):
            raise
        pytest.skip("this TensorFlow cannot read the programs of this JAX")


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
