"""Models that lose a mask in one place each, and where that is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]], "int32")


class MaskFault(NamedTuple):
    """A model that loses a mask.

    Attributes:
        code: The code that has to be given first.
        place: The path that has to be named with it.
        build: Takes ids, `(batch, time)`; returns the output.
    """

    code: str
    place: str
    build: Callable[[Any], Any]


def tokens(ids: Any, name: str = "tokens") -> Any:
    return layers.Embedding(9, 8, mask_zero=True, name=name)(ids)


def attend(x: Any, name: str) -> Any:
    return layers.MultiHeadAttention(2, 4, name=name)(x, x)


def pool(x: Any) -> Any:
    return layers.GlobalAveragePooling1D(name="pool")(x)


def _attended_twice(ids: Any) -> Any:
    """D1 of the defects: attention takes the mask from its caller's tensor.

    Keras runs the second one first.
    """
    x = tokens(ids)
    first, second = attend(x, "first"), attend(x, "second")
    return pool(layers.Concatenate(name="both")([first, second]))


def _residual(ids: Any) -> Any:
    """D2: the sum loses the mask that attention took from one of its inputs."""
    x = tokens(ids)
    x = layers.Add(name="sum")([x, attend(x, "first")])
    return pool(attend(x, "second"))


def _cached_attention(ids: Any) -> Any:
    """D22: it uses masks given by name only."""
    import keras_hub

    layer = keras_hub.layers.CachedMultiHeadAttention(2, 4, name="cached")
    x = tokens(ids)
    return pool(layer(x, x))


def _concatenated(ids: Any) -> Any:
    """D23: one input without a mask makes all of it real."""
    other = layers.Embedding(9, 4, name="other")(ids)
    return pool(layers.Concatenate(name="beside")([tokens(ids), other]))


def _added(ids: Any) -> Any:
    """D23: one input without a mask, and the sum has none."""
    other = layers.Embedding(9, 8, name="other")(ids)
    return attend(layers.Add(name="sum")([tokens(ids), other]), "attention")


class InCode(layers.Layer):
    """A block whose own code loses the mask between two layers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        x = x * 2.0
        return self.attention(x, x)


def _nested(ids: Any) -> Any:
    x = keras.Input((4, 8))
    inner = keras.Model(
        x, layers.Conv1D(8, 3, padding="same", name="conv")(x), name="body"
    )
    return pool(inner(tokens(ids)))


def _reused(ids: Any) -> Any:
    x = tokens(ids)
    x = layers.Lambda(lambda x: x + 1.0, name="lambda")(x)
    return layers.LSTM(3, name="lstm")(x)


MASK_FAULTS: dict[str, MaskFault] = {
    "attention twice": MaskFault("PS303", "second", _attended_twice),
    "residual sum": MaskFault("PS303", "first", _residual),
    "cached attention": MaskFault("PS302", "cached", _cached_attention),
    "concatenated": MaskFault("PS304", "beside", _concatenated),
    "sum with positions": MaskFault("PS301", "sum", _added),
    "times a number": MaskFault(
        "PS301", "multiply", lambda ids: attend(tokens(ids) * 2.0, "attention")
    ),
    "sliced": MaskFault(
        "PS301", "get_item", lambda ids: layers.LSTM(3)(tokens(ids)[:, 1:])
    ),
    "joined": MaskFault(
        "PS301",
        "concatenate",
        lambda ids: layers.GRU(3)(ops.concatenate([tokens(ids)] * 2, axis=-1)),
    ),
    "convolution": MaskFault(
        "PS302",
        "conv",
        lambda ids: pool(layers.Conv1D(8, 3, padding="same", name="conv")(tokens(ids))),
    ),
    "maximum": MaskFault(
        "PS302", "top", lambda ids: layers.GlobalMaxPooling1D(name="top")(tokens(ids))
    ),
    "flattened": MaskFault(
        "PS301",
        "flat",
        lambda ids: layers.Dense(2)(layers.Flatten(name="flat")(tokens(ids))),
    ),
    "normalised": MaskFault(
        "PS301",
        "norm",
        lambda ids: pool(layers.RMSNormalization(name="norm")(tokens(ids))),
    ),
    "lambda": MaskFault("PS301", "lambda", _reused),
    "code of one's own": MaskFault(
        "PS301", "block", lambda ids: pool(InCode(name="block")(tokens(ids)))
    ),
    "nested": MaskFault("PS302", "body/conv", _nested),
    "per step to the loss": MaskFault(
        "PS305", "relu", lambda ids: ops.relu(layers.Dense(1)(tokens(ids)))
    ),
}
