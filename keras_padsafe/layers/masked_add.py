"""A sum that keeps the mask of whichever input has one."""

import functools
import operator
from typing import Unpack

import keras

from keras_padsafe.ops.masks import combine_masks
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class MaskedAdd(keras.layers.Layer):
    """Adds tensors and keeps their masks.

    `x + y` loses a mask, and `keras.layers.Add` loses it when one input has none:
    tokens plus positions, `x + f(x)`. Shapes broadcast as those of operators do.

    Call arguments:
        inputs: List of tensors whose shapes broadcast together.

    Output shape:
        The shape to which the inputs broadcast.

    Masking:
        A position is real if every mask says so; an input without a mask hides
        nothing.

    Example:
    >>> tokens = keras_padsafe.layers.ExtendableEmbedding(9, 4, pad_id=0)
    >>> positions = keras.layers.Embedding(3, 4)
    >>> ids = np.array([[5, 8, 0]])
    >>> add = keras_padsafe.layers.MaskedAdd()
    >>> x = add([tokens(ids), positions(np.arange(3))])
    >>> layer = keras_padsafe.layers.MaskedGlobalAveragePooling1D()
    >>> layer(x).shape[-1]
    4
    """

    def __init__(self, **kwargs: Unpack[PlainLayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: list[Tensor]) -> Tensor:
        return functools.reduce(operator.add, inputs)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return self.call([*map(keras.KerasTensor, input_shape)]).shape

    def compute_mask(
        self, inputs: list[Tensor], mask: list[Tensor | None] | None = None
    ) -> Tensor | None:
        return None if mask is None else combine_masks(*mask)
