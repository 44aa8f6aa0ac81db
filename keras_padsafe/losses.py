"""Losses that count what is real and nothing else."""

from typing import Any

import keras
from keras import ops

from keras_padsafe.compat import set_keras_mask
from keras_padsafe.ops.real_pairs import compares_vectors, real_pairs
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
        y_true, y_pred, mask = real_pairs(y_true, y_pred, self.pad_label, vectors)
        if mask is not None:
            # `y_pred` is ours by now: no tensor of the caller's is written to.
            set_keras_mask(y_pred, mask)
            if sample_weight is not None:
                sample_weight = _of_rank(sample_weight, len(mask.shape))
        value = super().__call__(y_true, y_pred, sample_weight=sample_weight)
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


def _of_rank(weights: Tensor, rank: int) -> Tensor:
    weights = ops.convert_to_tensor(weights)
    return weights[(..., *(None,) * (rank - len(weights.shape)))]
