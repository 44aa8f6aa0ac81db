"""Aliases for what Keras leaves untyped."""

from typing import Any, TypeAlias, TypedDict

Tensor: TypeAlias = Any
"""A tensor of the running backend, or a `KerasTensor` while a model is built."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape as Keras writes it: `None` is a dimension not yet known."""


class LayerArguments(TypedDict, total=False):
    """What every layer of Keras takes beside its own arguments."""

    name: str | None
    dtype: Any
    trainable: bool
    autocast: bool
    input_shape: Shape
    batch_input_shape: Shape
    batch_shape: Shape
    batch_size: int


class PlainLayerArguments(LayerArguments, total=False):
    """The same, for layers that do not spell out how outputs are regularized."""

    activity_regularizer: Any
