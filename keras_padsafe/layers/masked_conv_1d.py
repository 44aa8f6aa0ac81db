"""A convolution over time that padding does not reach."""

import functools
from collections.abc import Sequence
from typing import Any, Literal, Unpack

import keras
from keras import ops

from keras_padsafe.errors import MaskError
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import as_bool_mask
from keras_padsafe.registration import serializable
from keras_padsafe.types import LayerArguments, Tensor


@serializable
class MaskedConv1D(keras.layers.Conv1D):
    """Convolves the real steps, as `keras.layers.Conv1D` would without the padding.

    It has the arguments, the weights and the file layout of `keras.layers.Conv1D`.
    A row gives what it would give alone, trimmed to its real steps, whichever side
    the padding is on.

    Args:
        filters: Number of channels of the output.
        kernel_size: Steps that one output reads.
        strides: Steps between two outputs.
        padding: `"valid"`, `"same"` or `"causal"`.
        data_format: `"channels_last"` or `"channels_first"`. Defaults to that of
            `keras.config.image_data_format()`.
        dilation_rate: Distance of the steps that one output reads.
        groups: Number of groups into which the channels are split.
        activation: Activation of the output.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of the kernel.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the kernel.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the outputs.
        kernel_constraint: Constraint on the kernel.
        bias_constraint: Constraint on the bias.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        inputs: The steps.
        mask: Mask of shape `(batch, time)`; by default the one that `inputs` carry.

    Input shape:
        `(batch, time, channels)`.

    Output shape:
        `(batch, new_time, filters)`.

    Masking:
        Masked steps are read as zeros, and masked outputs are zeros. With
        `padding="valid"` an output is real if all steps under its kernel are; with
        `"same"` or `"causal"`, if the step that it stands for is. `"same"` with
        strides is refused under a mask: where its kernels fall depends on how much
        padding there is. With strides, pad on the right.

    Example:
    >>> layer = keras_padsafe.layers.MaskedConv1D(1, 2, kernel_initializer="ones")
    >>> x = np.array([[[1.0], [2.0], [3.0], [np.nan]]])
    >>> mask = np.array([[True, True, True, False]])
    >>> keras.ops.convert_to_numpy(layer(x, mask=mask)).tolist()
    [[[3.0], [5.0], [0.0]]]
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Literal["valid", "same", "causal"] = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if 0 in inputs.shape:  # TensorFlow cannot convolve an empty batch.
            shape = self.compute_output_shape(inputs.shape)
            return ops.zeros(shape, dtype=self.compute_dtype)
        if mask is None:
            return super().call(inputs)
        mask = as_bool_mask(mask, "mask")
        outputs = super().call(self._keep(inputs, mask))
        return self._keep(outputs, self._output_mask(mask))

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor | None:
        return None if mask is None else self._output_mask(as_bool_mask(mask, "mask"))

    def _output_mask(self, mask: Tensor) -> Tensor:
        stride = self.strides[0]
        if self.padding == "valid":
            return self._all_under_kernel(mask)
        if self.padding == "same" and stride > 1:
            raise MaskError(
                "With a mask, `padding='same'` needs strides of 1: where the kernels "
                f"fall would depend on the padding. Received: strides={stride} in "
                f"layer '{self.name}'. Use 'causal' or 'valid'."
            )
        return mask[:, ::stride]

    def _keep(self, x: Tensor, mask: Tensor) -> Tensor:
        axis = -1 if self.data_format == "channels_last" else 1
        return hide(x, ops.expand_dims(mask, axis))

    def _all_under_kernel(self, mask: Tensor) -> Tensor:
        step, stride = self.dilation_rate[0], self.strides[0]
        reach = (self.kernel_size[0] - 1) * step
        taps = [
            mask[:, start : (start - reach) or None : stride]
            for start in range(0, reach + 1, step)
        ]
        return functools.reduce(ops.logical_and, taps)
