"""Times the same work done in several ways, in turns, in one process."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np


def in_turns(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Returns the process times of each way, one a round.

    The first round, which compiles, is told apart as `first`.
    """
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(time.process_time() - start)
    return {
        name: {"first": times[0], "times": times[1:]} for name, times in spent.items()
    }


def batch(share: float, rows: int, steps: int) -> np.ndarray:
    """Returns ids of which `share` is padding, 0; the longest row is whole."""
    rng = np.random.default_rng(0)
    lengths = np.full(rows, steps)
    if share:
        lengths = np.clip(rng.uniform(0, 2 * (1 - share), rows) * steps, 1, steps)
        lengths[0] = steps
    ids = rng.integers(1, 1000, (rows, steps))
    real = np.arange(steps) < lengths.astype(int)[:, None]
    return np.where(real, ids, 0).astype("int32")


def dense(ids: np.ndarray) -> np.ndarray:
    """Returns a batch without padding that has as many real tokens, in fewer rows."""
    return batch(0, max(1, round(float((ids > 0).mean()) * len(ids))), ids.shape[1])


def with_gradient(f: Callable[..., Any], x: np.ndarray) -> Callable[[], Any]:
    """Returns what computes `f(x)`, summed, and its gradient, some times over."""
    tensor = keras.ops.convert_to_tensor(x)
    once = _STEPS[keras.backend.backend()](lambda x: keras.ops.sum(f(x)), tensor)
    return lambda: [once() for _ in range(10)]


def _jax(f: Callable[..., Any], x: Any) -> Callable[[], Any]:
    import jax

    step = jax.jit(jax.value_and_grad(f))
    return lambda: jax.block_until_ready(step(x))


def _tensorflow(f: Callable[..., Any], x: Any) -> Callable[[], Any]:
    import tensorflow as tf

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = f(x)
        return value, tape.gradient(value, x)

    compiled = tf.function(step, autograph=False)
    return lambda: [part.numpy() for part in compiled(x)]


def _torch(f: Callable[..., Any], x: Any) -> Callable[[], Any]:
    import torch

    leaf = x.detach().requires_grad_()

    def step() -> Any:
        value = f(leaf)
        return value, torch.autograd.grad(value, leaf)

    return step


_STEPS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
