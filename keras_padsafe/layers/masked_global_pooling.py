"""What the masked pooling layers share."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_padsafe.errors import PadsafeError
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


class MaskedGlobalPooling1D(keras.layers.Layer):
    """Base of the layers that reduce `(batch, time, channels)` over time.

    A subclass gives `pool`. The arguments are those of Keras's pooling layers.
    """

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        **kwargs: Unpack[PlainLayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise PadsafeError(
                "`data_format` must be 'channels_last' or 'channels_first'. "
                f"Received: {data_format!r}."
            )
        self.keepdims = keepdims
        self.supports_masking = True

    def pool(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """Reduces `(batch, time, channels)` to `(batch, channels)`."""
        raise NotImplementedError

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        channels_last = self.data_format == "channels_last"
        inputs = inputs if channels_last else ops.transpose(inputs, (0, 2, 1))
        outputs = self.pool(inputs, mask)
        if not self.keepdims:
            return outputs
        return ops.expand_dims(outputs, 1 if channels_last else 2)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        """No time is left to mask."""
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels_last = self.data_format == "channels_last"
        batch, channels = input_shape[0], input_shape[2 if channels_last else 1]
        if not self.keepdims:
            return (batch, channels)
        return (batch, 1, channels) if channels_last else (batch, channels, 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }
