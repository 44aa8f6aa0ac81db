"""Running a model again with what feeds a birth changed: is it finite then?"""

import math
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun, Values
from keras_padsafe.audit.nonfinite.births import Birth
from keras_padsafe.audit.run.backends import double_precision
from keras_padsafe.audit.run.bad_values import (
    all_finite,
    replace_nonfinite,
    transform_floats,
)
from keras_padsafe.audit.run.intervene import Change, Intervene, Key
from keras_padsafe.types import Tensor

JITTER = 1e-3
"""How much noise `jittered` adds, as a share of the largest value."""


def shrunk(structure: Any) -> Any:
    """Floats times a power of two that leaves none above 2^-12."""

    def halved(tensor: Tensor) -> Tensor:
        largest = float(keras.ops.convert_to_numpy(_largest(tensor)))
        exponent = max(0, math.frexp(largest)[1])
        return tensor * 2.0**-exponent * 2.0**-12

    return transform_floats(halved, structure)


def jittered(structure: Any) -> Any:
    """Floats with a little noise: exact zeros and equal values are gone."""
    return transform_floats(lambda tensor: _with_noise(tensor, 1.0), structure)


def jittered_back(structure: Any) -> Any:
    """Floats with the opposite noise."""
    return transform_floats(lambda tensor: _with_noise(tensor, -1.0), structure)


def widened(structure: Any) -> Any:
    """Floats in double precision."""
    return transform_floats(lambda tensor: keras.ops.cast(tensor, "float64"), structure)


def _with_noise(tensor: Tensor, sign: float) -> Tensor:
    noise = sign * JITTER * np.random.default_rng(0).normal(size=tuple(tensor.shape))
    # No Python number: JAX has none while it differentiates.
    size = keras.ops.stop_gradient(_largest(tensor))
    size = keras.ops.where(size > 0, size, keras.ops.ones_like(size))
    return tensor + keras.ops.convert_to_tensor(noise, tensor.dtype) * size


def _largest(tensor: Tensor) -> Tensor:
    if 0 in tensor.shape:
        return keras.ops.zeros((), tensor.dtype)
    return keras.ops.max(keras.ops.abs(tensor))


def without_zeros(structure: Any) -> Any:
    """Floats with a little above zero for each exact zero."""

    def moved(tensor: Tensor) -> Tensor:
        size = _largest(tensor)
        size = keras.ops.where(size > 0, size, keras.ops.ones_like(size))
        return keras.ops.where(tensor == 0, JITTER * size, tensor)

    return transform_floats(moved, structure)


def finite_with(
    run: BatchRun,
    birth: Birth,
    earlier: Set[Key],
    change: Change,
    values: Values = (),
) -> bool:
    """Whether a birth does not happen once what feeds it is changed.

    Args:
        run: The batch.
        birth: The birth.
        earlier: The other births, to be replaced by zeros.
        change: What to do to its feeds.
        values: What some variables are taken to hold meanwhile.
    """
    changes: dict[Key, Change] = dict.fromkeys(earlier, replace_nonfinite)
    changes |= {
        key: (lambda s: change(replace_nonfinite(s))) if key in earlier else change
        for key in birth.feeds
    }
    experiment = Intervene(changes, keep=birth.key)
    run(experiment, values=values)
    return all_finite(experiment.kept)


def finite_when_wider(run: BatchRun, birth: Birth, earlier: Set[Key]) -> bool:
    """Whether a birth does not happen if it is computed in float64."""
    try:
        with double_precision(), _computing_in_float64(birth):
            return finite_with(run, birth, earlier, widened)
    except Exception:
        # Code that mixes in float32 of its own cannot be widened; that shows nothing.
        return False


@contextmanager
def _computing_in_float64(birth: Birth) -> Iterator[None]:
    """The layers inside keep their dtypes: what they return is made wider."""
    call = birth.call
    inside = birth.moment == "enter" and call.parent is not None
    layer = call.parent.layer if inside and call.parent else call.layer
    policy = getattr(layer, "dtype_policy", None)
    # A map of policies would keep a new entry.
    by_path = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    if policy is None or by_path or not isinstance(layer, keras.layers.Layer):
        yield
        return
    layer.dtype_policy = "float64"
    try:
        yield
    finally:
        layer.dtype_policy = policy
