"""Aliases for what Keras leaves untyped."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the running backend, or a `KerasTensor` while a model is built."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape as Keras writes it: `None` is a dimension not yet known."""
