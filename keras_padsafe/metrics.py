"""Metrics that count what is real and nothing else."""

from typing import Any

import keras
from keras import ops

from keras_padsafe.ops.masks import of_rank
from keras_padsafe.ops.real_pairs import compares_vectors, hide_padding, read_pairs
from keras_padsafe.registration import serializable
from keras_padsafe.types import Tensor


@serializable
class MaskedMetric(keras.metrics.Metric):
    """Makes a metric of Keras count real positions only.

    A position is real if the mask of the predictions says so, and if its label is
    not the pad label. All metrics that take sample weights will do, `Precision`,
    `Recall`, `AUC` and `RootMeanSquaredError` among them.

    Inside `fit`, on JAX, Keras hands metrics predictions that have lost their mask.
    A pad label is not lost: give one, and `fit`, `evaluate` and NumPy agree on
    every backend.

    Args:
        metric: A metric of Keras: an instance, a name or a function.
        pad_label: The label that means "nothing here", any number or NaN. For a
            metric that compares vectors, such as `CategoricalAccuracy`, it is a
            vector of nothing else.
        name: Name of the metric. By default that of `metric`.
        dtype: As in `keras.metrics.Metric`.

    Example:
    >>> metric = keras_padsafe.metrics.MaskedMetric(
    ...     keras.metrics.Precision(), pad_label=-1
    ... )
    >>> metric.update_state(np.array([[1, 0, -1]]), np.array([[0.9, 0.8, np.nan]]))
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self,
        metric: Any,
        pad_label: int | float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        metric = keras.metrics.get(metric)
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(metric, name=metric.__name__)
        super().__init__(name=name or metric.name, dtype=dtype)
        self.metric = metric
        self.pad_label = pad_label

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Any:
        vectors = compares_vectors(self.metric)
        pairs = read_pairs(y_true, y_pred, self.pad_label, vectors)
        y_true, y_pred, mask = hide_padding(pairs)
        if mask is not None:
            real = ops.cast(mask, self.dtype)
            if sample_weight is None:
                sample_weight = real
            else:
                weights = ops.cast(sample_weight, self.dtype)
                sample_weight = of_rank(weights, len(mask.shape)) * real
        return self.metric.update_state(y_true, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "metric": keras.metrics.serialize(self.metric),
            "pad_label": self.pad_label,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedMetric":
        return cls(**config)
