"""Pooling: an average of the real steps that learns which of them matter."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_padsafe.layers.masked_global_pooling import MaskedGlobalPooling1D
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masked_softmax import masked_softmax
from keras_padsafe.ops.masks import align_mask
from keras_padsafe.ops.reductions import masked_sum
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class MaskedGlobalAttentionPooling1D(MaskedGlobalPooling1D):
    """Averages the real steps by weights that it learns.

    A step's weight is the softmax, over the real steps, of its product with one
    learned vector.

    Args:
        data_format: `"channels_last"` for `(batch, time, channels)`, or
            `"channels_first"` for `(batch, channels, time)`.
        keepdims: Whether time stays, with size 1.
        kernel_initializer: Initializer of the learned vector.
        kernel_regularizer: Regularizer of the learned vector.

    Call arguments:
        inputs: The steps.
        mask: Mask of shape `(batch, time)`; by default the one that `inputs` carry.

    Input shape:
        `(batch, time, channels)`.

    Output shape:
        `(batch, channels)`.

    Masking:
        What is masked has weight 0. A row with nothing real gives zeros.
        The output carries no mask.

    Example:
    >>> layer = keras_padsafe.layers.MaskedGlobalAttentionPooling1D(
    ...     kernel_initializer="zeros"
    ... )
    >>> x = np.array([[[1.0], [4.0], [np.nan]], [[5.0], [6.0], [7.0]]])
    >>> mask = np.array([[True, True, False], [False, False, False]])
    >>> keras.ops.convert_to_numpy(layer(x, mask=mask)).tolist()
    [[2.5], [0.0]]

    References:
        [Yang et al., 2016](https://aclanthology.org/N16-1174/)
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Unpack[PlainLayerArguments],
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[2 if self.data_format == "channels_last" else 1]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, 1),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )

    def pool(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:  # Before the product, whose gradient multiplies by it.
            inputs = hide(inputs, align_mask(mask, inputs))
        weights = masked_softmax(ops.matmul(inputs, self.kernel), mask, axis=1)
        return masked_sum(ops.multiply(inputs, weights), mask, axis=1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
