"""Gives a tensor the mask that an operator took from it."""

from typing import Unpack

import keras
from keras import ops

from keras_padsafe.ops.masks import align_mask, combine_masks
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class KeepMask(keras.layers.Layer):
    """Returns its first input, with the mask of its second.

    `2 * x`, `keras.ops.relu(x)` and every other operator that keeps the positions
    of `x` loses its mask: `KeepMask()([2 * x, x])` keeps it.

    A slice has other positions, and its mask is the slice of the mask: give it to the
    next layer as `mask=`.

    Call arguments:
        inputs: Two tensors: the result, and what carries the mask.

    Output shape:
        The shape of the first input.

    Masking:
        A position is real if the masks of both inputs say so; an input without a
        mask hides nothing.

    Example:
    >>> x = keras_padsafe.layers.ExtendableEmbedding(9, 4, pad_id=0)(np.array([[5, 0]]))
    >>> y = keras_padsafe.layers.KeepMask()([2 * x, x])
    >>> keras_padsafe.layers.MaskedGlobalFirstPooling1D()(y).shape[-1]
    4
    """

    def __init__(self, **kwargs: Unpack[PlainLayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: list[Tensor]) -> Tensor:
        # A copy: the mask is set on what is returned, which is the caller's.
        return ops.copy(inputs[0])

    def compute_mask(
        self, inputs: list[Tensor], mask: list[Tensor | None] | None = None
    ) -> Tensor | None:
        masks = [] if mask is None else [given for given in mask if given is not None]
        for given in masks:
            align_mask(given, inputs[0])  # Raises if it is not of these positions.
        return combine_masks(*masks)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return input_shape[0]
