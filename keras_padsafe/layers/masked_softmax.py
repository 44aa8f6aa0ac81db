"""`keras.layers.Softmax` that takes the mask of a sequence."""

from collections.abc import Sequence
from typing import Unpack

import keras

from keras_padsafe.ops.masked_softmax import masked_softmax
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Tensor


@serializable
class MaskedSoftmax(keras.layers.Softmax):
    """`keras.layers.Softmax` for whatever a mask leaves.

    Args:
        axis: Axis, or list of axes, that share one unit of weight.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        inputs: Scores, of any shape.
        mask: Mask whose axes are the first axes of `inputs`, or 1. Defaults to
            the mask that `inputs` carry.

    Output shape:
        The shape of the scores.

    Masking:
        True is real. A mask of the rank of the scores hides scores; one of lower
        rank, like the `(batch, time)` of a sequence, hides whole rows, whatever
        the sizes. What is hidden gets exactly 0, and a row of nothing else is all
        zeros. The mask is kept for the layer after.

    Example:
    >>> layer = keras_padsafe.layers.MaskedSoftmax()
    >>> logits = keras.ops.zeros((1, 2, 4))
    >>> weights = layer(logits, mask=keras.ops.convert_to_tensor([[True, False]]))
    >>> keras.ops.convert_to_numpy(weights).tolist()
    [[[0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 0.0]]]
    """

    def __init__(
        self, axis: int | Sequence[int] = -1, **kwargs: Unpack[PlainLayerArguments]
    ) -> None:
        super().__init__(axis, **kwargs)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        return masked_softmax(inputs, mask, axis=axis)
