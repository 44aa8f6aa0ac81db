"""Losses that count what is real and nothing else."""

from typing import Any

import keras
from keras import ops

from keras_padsafe.compat import set_keras_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import of_rank
from keras_padsafe.ops.real_pairs import (
    Pairs,
    can_take,
    compares_positions,
    compares_vectors,
    hide_padding,
    read_pairs,
    take_real,
)
from keras_padsafe.registration import serializable
from keras_padsafe.types import Tensor


@serializable
class MaskedLoss(keras.losses.Loss):
    """Makes a loss of Keras count real positions only.

    A position is real if the mask of the predictions says so, and if its label is
    not the pad label. What is not real reaches neither the value nor the gradient,
    even where the target or the prediction is NaN.

    The denominator is that of Keras: with `"sum_over_batch_size"` the number of
    real positions, whatever their sample weights; with
    `"mean_with_sample_weight"` the sum of their sample weights. A batch with
    nothing real gives 0.

    Args:
        loss: A loss of Keras: an instance, a name or a function.
        pad_label: The label that means "nothing here", any number or NaN. For a
            loss that compares vectors, such as the categorical cross-entropy, it is
            a vector of nothing else.
        reduction: As in `keras.losses.Loss`. By default that of `loss`.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Targets.
        y_pred: Predictions.
        sample_weight: Weights whose axes are the first axes of the loss values.

    Example:
    >>> loss = keras_padsafe.losses.MaskedLoss("mse", pad_label=-1)
    >>> y_true = np.array([[1.0, 2.0, -1.0]])
    >>> y_pred = np.array([[1.0, 4.0, np.nan]])
    >>> float(loss(y_true, y_pred))
    2.0
    """

    def __init__(
        self,
        loss: Any,
        pad_label: int | float | None = None,
        reduction: str | None = None,
        name: str = "masked_loss",
        dtype: Any = None,
    ) -> None:
        self.loss = keras.losses.get(loss)
        own = getattr(self.loss, "reduction", "sum_over_batch_size")
        super().__init__(name=name, reduction=reduction or own, dtype=dtype)
        self.pad_label = pad_label

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        vectors = compares_vectors(self.loss)
        pairs = read_pairs(y_true, y_pred, self.pad_label, vectors)
        mask, weights = pairs.mask, sample_weight
        if mask is None:
            return self._value(pairs.y_true, pairs.y_pred, weights)
        if compares_positions(self.loss, pairs):
            shape = ops.shape(pairs.y_pred)[:-1]
            pairs = pairs._replace(mask=_spread(mask, shape))
            weights = None if weights is None else _spread(weights, shape)
            if self.reduction not in (None, "none") and can_take(pairs):
                return self._of_real(pairs, weights)
        elif weights is not None:
            weights = of_rank(ops.convert_to_tensor(weights), len(mask.shape))
        y_true, y_pred, mask = hide_padding(pairs)
        # `y_pred` is ours by now: no tensor of the caller's is written to. On PyTorch
        # Keras writes into the weights, too.
        set_keras_mask(y_pred, mask)
        weights = None if weights is None else hide(weights, mask)
        return self._value(y_true, y_pred, weights)

    def _of_real(self, pairs: Pairs, weights: Tensor | None) -> Tensor:
        """The value of the real positions alone, which costs nothing for the others."""

        def value() -> Tensor:
            given = [*pairs[:2], *([] if weights is None else [weights])]
            y_true, y_pred, *real = take_real(pairs.mask, *given)
            return self._value(y_true, y_pred, real[0] if real else None)

        def nothing() -> Tensor:
            return ops.cast(ops.sum(hide(pairs.y_pred, pairs.mask)), self.dtype)

        return ops.cond(ops.any(pairs.mask), value, nothing)

    def _value(self, y_true: Tensor, y_pred: Tensor, weights: Tensor | None) -> Tensor:
        value = super().__call__(y_true, y_pred, sample_weight=weights)
        # Keras does not reduce the values of an empty batch.
        left = tuple(value.shape) == (0,) and self.reduction not in (None, "none")
        return ops.sum(value) if left else value

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        loss = self.loss
        return (
            loss.call(y_true, y_pred) if hasattr(loss, "call") else loss(y_true, y_pred)
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "loss": keras.losses.serialize(self.loss),
            "pad_label": self.pad_label,
        }


def _spread(x: Tensor, shape: Any) -> Tensor:
    """A mask or weights of the first axes, for each value of a shape."""
    x = of_rank(ops.convert_to_tensor(x), len(shape))
    # Of values (batch, time), Keras takes weights (batch, time, 1) too.
    if len(x.shape) > len(shape):
        x = ops.squeeze(x, -1)
    return ops.broadcast_to(x, shape)
