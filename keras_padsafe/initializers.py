"""Initializers that keep arrays out of a model's configuration."""

import hashlib
import inspect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.errors import InitializerError
from keras_padsafe.registration import serializable
from keras_padsafe.types import Tensor


@serializable
class ConcatenatedRows(keras.initializers.Initializer):
    """Stacks arrays, and what an initializer makes, along the rows of a table.

    `keras.initializers.Constant` writes its array into the model's configuration
    as text: 792 MB for 50,000 rows of 768. This one writes down the shape, dtype
    and digest of each array. The rows themselves are weights, and are saved and
    loaded as weights.

    So the configuration alone cannot make the table. Loading a saved model does
    not need to: the weights arrive right after, and until they do the rows are
    NaN. Anywhere else, calling an initializer that was made from a configuration
    raises an error that says which arrays are missing.

    Args:
        parts: Arrays of shape `(rows, ...)`, and at most one initializer, which
            fills the rows that the arrays leave.

    Example:
    >>> pretrained = np.ones((3, 2))
    >>> initializer = keras_padsafe.initializers.ConcatenatedRows(
    ...     [pretrained, keras.initializers.Zeros()]
    ... )
    >>> keras.ops.convert_to_numpy(initializer((4, 2))).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = tuple(_as_part(part) for part in parts)
        initializers = [part for part in self.parts if not _is_sized(part)]
        if len(initializers) > 1:
            raise InitializerError(
                "Only one initializer can fill the rows that the arrays leave. "
                f"Received: {len(initializers)} initializers."
            )

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        """Returns a tensor of `shape`, its rows those of the parts in order."""
        dtype = keras.backend.standardize_dtype(dtype)
        shape = tuple(shape)
        self._check_shape(shape)
        missing = [part for part in self.parts if isinstance(part, ArrayDigest)]
        if not missing:
            left = shape[0] - self._sized_rows()
            return ops.concatenate(
                [_rows(part, left, shape[1:], dtype) for part in self.parts], axis=0
            )
        if not _is_loading_a_model():
            raise InitializerError(
                "A ConcatenatedRows made from a configuration holds no arrays. "
                f"Missing: {', '.join(map(str, missing))}. Load the saved model with "
                "`keras.saving.load_model`, which restores the rows as weights, or "
                "pass a ConcatenatedRows with the arrays as the initializer."
            )
        return ops.full(shape, math.nan, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns shape, dtype and digest of each array, however big."""
        return {"parts": [_part_config(part) for part in self.parts]}

    def clone(self) -> "ConcatenatedRows":
        """Returns itself: it never changes, and a copy would lose the arrays."""
        return self

    def _sized_rows(self) -> int:
        return sum(part.shape[0] for part in self.parts if _is_sized(part))

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        arrays = [part.shape for part in self.parts if _is_sized(part)]
        rows = self._sized_rows()
        fills = len(arrays) < len(self.parts)
        right_count = rows <= shape[0] if fills else rows == shape[0]
        if not right_count or any(array[1:] != shape[1:] for array in arrays):
            raise InitializerError(
                "The arrays do not make up the table. Expected: rows of shape "
                f"{shape[1:]}, {'at most ' if fills else ''}{shape[0]} of them. "
                f"Received: arrays of shapes {arrays}, {rows} rows in all."
            )


@dataclass(frozen=True)
class ArrayDigest:
    """What is known of an array that is not there."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.dtype} array of shape {self.shape}, sha256 {self.sha256[:12]}"


def _as_part(part: Any) -> Any:
    if isinstance(part, dict) and "sha256" in part:
        return ArrayDigest(tuple(part["shape"]), part["dtype"], part["sha256"])
    if isinstance(part, (dict, str)) or callable(part):
        return keras.initializers.get(part)
    return np.asarray(ops.convert_to_numpy(part) if ops.is_tensor(part) else part)


def _is_sized(part: Any) -> bool:
    return isinstance(part, (np.ndarray, ArrayDigest))


def _rows(part: Any, left: int, row_shape: tuple[int, ...], dtype: str) -> Tensor:
    if isinstance(part, np.ndarray):
        return ops.convert_to_tensor(part, dtype=dtype)
    return part((left, *row_shape), dtype=dtype)


def _part_config(part: Any) -> dict[str, Any]:
    if isinstance(part, np.ndarray):
        content = np.ascontiguousarray(part)
        digest = hashlib.sha256(content.view(np.uint8).data).hexdigest()
        part = ArrayDigest(part.shape, part.dtype.name, digest)
    if isinstance(part, ArrayDigest):
        return asdict(part)
    return keras.initializers.serialize(part)


def _is_loading_a_model() -> bool:
    """Whether the caller's callers include `keras.saving.load_model`.

    Keras says nowhere else whether the weights of what it builds will follow.
    """
    load_model = inspect.unwrap(keras.saving.load_model).__code__
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not load_model:
        frame = frame.f_back
    return frame is not None
