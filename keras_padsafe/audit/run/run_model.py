"""Running a model once, eagerly, without a trace of it left in the model."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import Observer, watch
from keras_padsafe.types import Tensor


def run_model(
    model: keras.layers.Layer, x: Any, observer: Observer, *, training: bool = False
) -> Any:
    """Calls `model(x)` and lets `observer` see each call in it.

    Variables, BatchNorm statistics, seeds and compiled functions stay as they are. A
    model that was never built is built first, as its first call would do.
    """
    if not model.built:
        model(x)
    with left_as_it_is(model), watch(model, observer):
        return model(x, training=training)


@contextmanager
def left_as_it_is(
    model: keras.layers.Layer,
    values: Sequence[tuple[keras.Variable, Tensor]] = (),
) -> Iterator[None]:
    """While it lasts, no assignment reaches a Keras variable or a random state.

    Args:
        model: The model that is to run.
        values: What some variables are taken to hold meanwhile.
    """
    # Without a scope Keras reads a regularized weight itself, within one only here.
    regularized = [v for v in model.variables if getattr(v, "regularizer", None)]
    values = [*((v, v.value) for v in regularized), *values]
    python, numpy = random.getstate(), np.random.get_state()
    scope = keras.StatelessScope(state_mapping=values, collect_losses=True)
    with scope, _torch_random_state():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _torch_random_state() -> Iterator[None]:
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def as_tensors(structure: Any) -> Any:
    """Numbers as tensors of the running backend; nested lists of numbers are arrays."""
    if isinstance(structure, dict):
        return {name: as_tensors(part) for name, part in structure.items()}
    if isinstance(structure, (list, tuple)) and not _is_array(structure):
        return type(structure)(as_tensors(part) for part in structure)
    if structure is None or keras.ops.is_tensor(structure):
        return structure
    array = np.asarray(structure)
    # "V" is how NumPy sees bfloat16; text is for the layers that take it.
    return keras.ops.convert_to_tensor(array) if array.dtype.kind in "biufV" else array


def _is_array(structure: Any) -> bool:
    leaves = keras.tree.flatten(structure)
    return all(isinstance(leaf, (bool, int, float)) for leaf in leaves)
