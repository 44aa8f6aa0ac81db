"""Where in a tensor the values are not finite."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import map_tensors, tensors_in
from keras_padsafe.compat import get_keras_mask, set_keras_mask
from keras_padsafe.types import Tensor

_SHOWN = 8


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor can hold NaN."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def is_finite(tensor: Tensor) -> bool:
    """Whether every value of a floating-point tensor is finite.

    A sum is finite only if every term is; it is looked at first, being much cheaper.
    """
    total = keras.ops.sum(keras.ops.cast(tensor, "float32"))
    if bool(keras.ops.isfinite(total)):
        return True
    return bool(keras.ops.all(keras.ops.isfinite(tensor)))


def all_finite(structure: Any) -> bool:
    """Whether every floating-point tensor of a structure is finite throughout."""
    return all(
        is_finite(tensor) for tensor in tensors_in(structure) if is_float(tensor)
    )


def replace_nonfinite(structure: Any) -> Any:
    """The same with zeros for all that is not finite; masks are kept."""

    def replaced(tensor: Tensor) -> Tensor:
        return keras.ops.where(
            keras.ops.isfinite(tensor), tensor, keras.ops.zeros_like(tensor)
        )

    return transform_floats(replaced, structure)


def replace_by_noise(structure: Any) -> Any:
    """The same with values around 1, no two alike, for all that is not finite."""

    def replaced(tensor: Tensor) -> Tensor:
        noise = np.random.default_rng(0).uniform(0.5, 1.5, tuple(tensor.shape))
        noise = keras.ops.convert_to_tensor(noise, tensor.dtype)
        return keras.ops.where(keras.ops.isfinite(tensor), tensor, noise)

    return transform_floats(replaced, structure)


def transform_floats(function: Callable[[Tensor], Tensor], structure: Any) -> Any:
    """Applies `function` to each floating-point tensor; the masks are kept."""

    def transformed(tensor: Tensor) -> Tensor:
        if not is_float(tensor):
            return tensor
        result = function(tensor)
        mask = get_keras_mask(tensor)
        if mask is not None:
            set_keras_mask(result, mask)
        return result

    return map_tensors(transformed, structure)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor as NumPy; types that NumPy lacks as float32."""
    if is_float(tensor) and keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor)


@dataclass(frozen=True)
class BadValues:
    """The values of a tensor that are not finite.

    Attributes:
        bad: Where they are, bool, of the tensor's shape.
        has_nan: Whether there is a NaN among them.
        has_inf: Whether there is an infinity among them.
        dtype: The tensor's dtype.
        mask: Which positions are real, bool `(batch, time)`, where that is known.
    """

    bad: np.ndarray
    has_nan: bool
    has_inf: bool
    dtype: str
    mask: np.ndarray | None

    @property
    def rows(self) -> np.ndarray:
        """The rows of the batch that hold one."""
        if self.bad.ndim == 0:
            return np.zeros(0, int)
        return np.flatnonzero(self.bad.reshape(len(self.bad), -1).any(axis=1))

    @property
    def positions(self) -> np.ndarray:
        """The positions that hold one, `(count, 2)` of row and step; or none."""
        if self.bad.ndim < 2 or not (self.bad.ndim > 2 or self.mask is not None):
            return np.zeros((0, 2), int)
        steps = self.bad.reshape(*self.bad.shape[:2], -1).any(axis=2)
        return np.argwhere(steps)

    @property
    def only_in_padding(self) -> bool:
        """Whether every one of them is at a padded position."""
        if self.mask is None or not len(self.positions):
            return False
        return not self.mask[tuple(self.positions.T)].any()

    def evidence(self) -> dict[str, Any]:
        """The figures as plain data."""
        found: dict[str, Any] = {
            "values": " and ".join(
                name
                for name, has in (("NaN", self.has_nan), ("inf", self.has_inf))
                if has
            ),
            "count": int(self.bad.sum()),
            "of": int(self.bad.size),
            "dtype": self.dtype,
            "shape": list(self.bad.shape),
            "rows": self.rows[:_SHOWN].tolist(),
            "row_count": len(self.rows),
        }
        if len(self.positions):
            found["positions"] = self.positions[:_SHOWN].tolist()
            found["position_count"] = len(self.positions)
        if self.mask is not None and len(self.positions):
            real = int(self.mask[tuple(self.positions.T)].sum())
            found["real_positions"] = real
            found["padded_positions"] = len(self.positions) - real
        return found


def bad_values(tensor: Tensor, mask: np.ndarray | None) -> BadValues | None:
    """What is not finite in a tensor; `None` if all of it is.

    Args:
        tensor: Floating-point, `(batch, ...)`.
        mask: The `(batch, time)` mask that it has, if it is known.
    """
    if is_finite(tensor):
        return None
    array = to_numpy(tensor)
    return BadValues(
        bad=~np.isfinite(array),
        has_nan=bool(np.isnan(array).any()),
        has_inf=bool(np.isinf(array).any()),
        dtype=keras.backend.standardize_dtype(tensor.dtype),
        mask=mask,
    )
