"""Missing values as a mask."""

from typing import Unpack

import keras
from keras import ops

from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import combine_masks
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class NaNMasking(keras.layers.Layer):
    """Masks the steps that are missing, and replaces NaN by zero.

    `keras.layers.Masking(mask_value=nan)` masks nothing, since NaN equals nothing.
    Here a step is masked if all its features are NaN. A feature that is missing
    from a real step becomes zero too. Infinity is no missing value and stays.

    Call arguments:
        inputs: Tensor of floats.
        mask: Mask of shape `(batch, time)`; by default the one that `inputs` carry.

    Input shape:
        `(batch, time, features)`.

    Output shape:
        The same.

    Masking:
        Makes a mask, False where all features are NaN or where `mask` is.

    Example:
    >>> layer = keras_padsafe.layers.NaNMasking()
    >>> x = layer(np.array([[[1.0, np.nan], [np.nan, np.nan]]]))
    >>> keras.ops.convert_to_numpy(x).tolist()
    [[[1.0, 0.0], [0.0, 0.0]]]
    """

    def __init__(self, **kwargs: Unpack[PlainLayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        present = ops.logical_not(ops.isnan(inputs))
        if mask is not None:
            present = combine_masks(present, ops.expand_dims(mask, -1))
        return hide(inputs, present)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        present = ops.any(ops.logical_not(ops.isnan(inputs)), axis=-1)
        return combine_masks(present, mask)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
