"""Pooling: the average of the real steps."""

from keras_padsafe.layers.masked_global_pooling import MaskedGlobalPooling1D
from keras_padsafe.ops.reductions import masked_mean
from keras_padsafe.registration import serializable
from keras_padsafe.types import Tensor


@serializable
class MaskedGlobalAveragePooling1D(MaskedGlobalPooling1D):
    """Takes the average of the real steps, as `keras.layers.GlobalAveragePooling1D`.

    Args:
        data_format: `"channels_last"` for `(batch, time, channels)`, or
            `"channels_first"` for `(batch, channels, time)`.
        keepdims: Whether time stays, with size 1.

    Call arguments:
        inputs: The steps.
        mask: Mask of shape `(batch, time)`; by default the one that `inputs` carry.

    Input shape:
        `(batch, time, channels)`.

    Output shape:
        `(batch, channels)`.

    Masking:
        What is masked does not count. A row with nothing real gives zeros.
        The output carries no mask.

    Example:
    >>> layer = keras_padsafe.layers.MaskedGlobalAveragePooling1D()
    >>> x = np.array([[[1.0], [4.0], [np.nan]], [[5.0], [6.0], [7.0]]])
    >>> mask = np.array([[True, True, False], [False, False, False]])
    >>> keras.ops.convert_to_numpy(layer(x, mask=mask)).tolist()
    [[2.5], [0.0]]
    """

    def pool(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        return masked_mean(inputs, mask, axis=1)
