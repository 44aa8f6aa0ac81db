"""For a test of one's own: a layer gets the mask of its inputs."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.masks.mask_findings import how_lost, instead
from keras_padsafe.audit.masks.mask_story import (
    MaskStory,
    declared_pad_ids,
    run_with_masks,
)
from keras_padsafe.audit.read_batch import read_batch
from keras_padsafe.audit.run.record_calls import CallRecord
from keras_padsafe.compat import inner_layers
from keras_padsafe.errors import MaskError

_TIME = 6


def assert_mask_reaches(
    model: keras.layers.Layer,
    layer: str | keras.layers.Layer,
    batch: Any = None,
) -> None:
    """Raises unless a layer gets the mask of every padded input, wherever it is called.

    A mask that the inputs carry counts, and a mask argument: `mask=`,
    `attention_mask=`, `padding_mask=`. It has to hide all of the padding.

    Args:
        model: Any Keras model.
        layer: The layer: its name, its path ("encoder/attention"), or itself.
        batch: What the model is called on, with padding in it. If left out, a small
            batch is made from the model's inputs; a subclassed model has none.

    Raises:
        MaskError: if a mask does not reach the layer: the message says where it was
            last seen, where it was lost, and what to use instead. Also if the model
            never calls the layer, or a batch is needed.

    Example:

    >>> ids = keras.Input((None,), dtype="int32")
    >>> x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    >>> x = keras.layers.LSTM(4, name="reader")(keras.layers.Dense(8)(x))
    >>> model = keras.Model(ids, x)
    >>> keras_padsafe.audit.assert_mask_reaches(model, "reader")
    """
    read_layer(model, "model", MaskError)
    if not isinstance(layer, str):
        read_layer(layer, "layer", MaskError)
    batch = _padded_sample(model) if batch is None else batch
    calls, story = run_with_masks(model, read_batch(batch, "batch", MaskError))
    end = f"/{layer}" if isinstance(layer, str) else None
    found = [
        call
        for call in calls
        if (f"/{call.path}".endswith(end) if end else call.layer is layer)
    ]
    if not found:
        name = repr(layer) if isinstance(layer, str) else repr(layer.name)
        layers = [call.path for call in calls[1:] if hasattr(call.layer, "weights")]
        paths = list(dict.fromkeys(layers))
        more = ", …" if len(paths) > 20 else ""
        raise MaskError(
            f"layer: the model does not call {name}. Expected the name, path or object "
            f"of one of: {', '.join(paths[:20])}{more}."
        )
    for call in found:
        _check(story, call)


def _check(story: MaskStory | None, call: CallRecord) -> None:
    name = f"'{call.path}' ({call.class_name})"
    if story is None or not story.padded_inputs(call):
        what = (
            "Expected: a mask made by an earlier layer, such as "
            "Embedding(mask_zero=True). No earlier layer makes one, or no padding is "
            "left here."
        )
        if any(value.mask is not None for value in call.outputs):
            what = "It makes a mask itself: name a layer after it."
        raise MaskError(f"{name} gets no input that has padding. {what}")
    for value in story.untold(call):
        loss = story.lost(value, call)
        if loss is None:
            seen = story.told_elsewhere(value)
            raise MaskError(
                f"no mask reaches {name}. The mask was last seen at '{seen}', as an "
                "argument. Pass it to this layer too: attention_mask=, padding_mask= "
                "or mask=."
            )
        what = f"no mask reaches {name}"
        if loss.how == "shown":
            what = f"{name} gets a mask that marks padding as real"
        raise MaskError(f"{what}. {how_lost(loss)}. {instead(loss)}")


def _padded_sample(model: keras.layers.Layer) -> Any:
    """Three rows of ids, numbers or words: a whole one, half of one, and one step.

    Padding is what the layers of the model take for padding: their pad ids, or their
    `mask_value`; else 0.
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
    structure = getattr(model, "input", inputs)  # Sequential lacks the first.
    if isinstance(structure, list | tuple) and len(structure) == 1:
        structure = structure[0]
    return keras.tree.map_structure(lambda x: _sample(x, pad_ids, value), structure)


def _sample(tensor: Any, pad_ids: list[int], mask_value: float) -> np.ndarray:
    batch, *inner = tensor.shape
    shape = (batch or 3, *(size or _TIME for size in inner))
    rows, steps, *_ = (*np.indices(shape), np.zeros(shape, int))
    time = (*shape, 1)[1]
    real = steps < np.array([time, max(time // 2, 1), 1])[rows % 3]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype == "string":
        return np.where(rows, "a", " ".join(["a"] * _TIME))
    if dtype == "bool" or "mask" in tensor.name:
        return real.astype(dtype)
    if "int" in dtype or len(shape) < 3:  # Ids, as Input makes them by default.
        one = next(number for number in range(1, 99) if number not in pad_ids)
        return np.where(real, one, pad_ids[0]).astype(dtype)
    content = np.random.default_rng(0).normal(size=shape)
    return np.where(real, content, mask_value).astype(dtype)
