"""A small batch with padding in it, from what a model says of its inputs."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import inner_layers
from keras_padsafe.errors import MaskError

_TIME = 6


def padded_sample(model: keras.layers.Layer) -> Any:
    """Three rows of ids, numbers or words: a whole one, half of one, and one step.

    Padding is what the layers of the model take for padding: their pad ids, or their
    `mask_value`; else 0.

    Raises:
        MaskError: if the model does not say what its inputs are.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise MaskError(
            f"batch: '{model.name}' ({type(model).__name__}) does not say what its "
            "inputs are. Expected: a Functional model, or a Sequential one with an "
            "Input. Or pass a batch with padding as the third argument."
        )
    pad_ids = declared_pad_ids(model) or [0]
    values = [getattr(layer, "mask_value", None) for layer in inner_layers(model)]
    value = next((value for value in values if value is not None), 0.0)
    samples = iter([_sample(tensor, pad_ids, value) for tensor in inputs])
    return keras.tree.map_structure(lambda _: next(samples), _structure(model))


def declared_pad_ids(model: keras.layers.Layer) -> list[int]:
    """The ids that the layers of a model take for padding, and make a mask of."""
    found: set[int] = set()
    for layer in inner_layers(model):
        if getattr(layer, "mask_zero", False) is True:
            found.add(0)
        pad_id = getattr(layer, "pad_id", None)
        if pad_id is not None:
            found.update(int(one) for one in np.ravel(pad_id))
    return sorted(found)


def _structure(model: Any) -> Any:
    structure = getattr(model, "input", model.inputs)  # Sequential lacks the first.
    single = isinstance(structure, (list, tuple)) and len(structure) == 1
    return structure[0] if single else structure


def _sample(tensor: Any, pad_ids: list[int], mask_value: float) -> np.ndarray:
    batch, *inner = tensor.shape
    shape = (batch or 3, *(size or _TIME for size in inner))
    time = ([*shape[1:], 1])[0]
    lengths = [time, max(time // 2, 1), 1] * shape[0]
    steps = np.arange(time)[None] < np.array(lengths[: shape[0]])[:, None]
    ones = (1,) * (len(shape) - 2)
    real = np.broadcast_to(steps.reshape(shape[:2] + ones), shape)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        words = " ".join(["a"] * _TIME), "a"
        rows = [words[row > 0] for row in range(shape[0])]
        return np.broadcast_to(np.array(rows).reshape(-1, *shape[1:]), shape)
    if dtype == "bool" or "mask" in tensor.name:
        return real.astype(dtype)
    if "int" in dtype or len(shape) < 3:  # Ids, as Input makes them by default.
        one = next(number for number in range(1, 99) if number not in pad_ids)
        return np.where(real, one, pad_ids[0]).astype(dtype)
    content = np.random.default_rng(0).normal(size=shape)
    return np.where(real, content, mask_value).astype(dtype)
