"""Where in a tensor the values are not finite.

What is asked of values is asked in NumPy: JAX would compile each question anew for each
shape of a tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import Change, map_tensors, tensors_in
from keras_padsafe.compat import get_keras_mask, set_keras_mask
from keras_padsafe.types import Tensor

_SHOWN = 8


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor can hold NaN."""
    name = str(tensor.dtype)
    return "float" in name and "float8" not in name


def floats_in(structure: Any) -> list[Tensor]:
    """The tensors of floats in a structure."""
    return [tensor for tensor in tensors_in(structure) if is_float(tensor)]


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor as NumPy; types that NumPy lacks as float32."""
    if "bfloat16" in str(tensor.dtype):
        tensor = keras.ops.cast(tensor, "float32")
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array.astype("float32") if array.dtype.kind == "V" else array


def like(tensor: Tensor, array: np.ndarray) -> Tensor:
    """An array as a tensor with the dtype and the mask of another one."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype != "bfloat16":
        array = np.asarray(array, dtype)
    made = keras.ops.cast(keras.ops.convert_to_tensor(array), dtype)
    mask = get_keras_mask(tensor)
    if mask is not None:
        set_keras_mask(made, mask)
    return made


def is_finite(tensor: Tensor) -> bool:
    """Whether every value of a floating-point tensor is finite."""
    return bool(np.isfinite(to_numpy(tensor)).all())


def all_finite(structure: Any) -> bool:
    """Whether every floating-point tensor of a structure is finite throughout."""
    return all(map(is_finite, floats_in(structure)))


def largest_of(structure: Any) -> float:
    """The largest size of a number in a structure; 0 if there is none."""
    arrays = [np.abs(to_numpy(tensor)) for tensor in floats_in(structure)]
    return max((float(np.nanmax(a)) for a in arrays if a.size), default=0.0)


def of_tensors(function: Callable[[Tensor], Tensor]) -> Change:
    """What a function makes of each floating-point tensor, with the mask it had."""

    def changed(tensor: Tensor) -> Tensor:
        result = function(tensor) if is_float(tensor) else tensor
        mask = get_keras_mask(tensor)
        if mask is not None and result is not tensor:
            set_keras_mask(result, mask)
        return result

    return partial(map_tensors, changed)


def of_arrays(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    """What a function of arrays makes of each floating-point tensor."""

    def changed(tensor: Tensor) -> Tensor:
        array = to_numpy(tensor)
        new = function(array)
        return tensor if np.array_equal(array, new) else like(tensor, new)

    return of_tensors(changed)


@of_arrays
def replace_nonfinite(array: np.ndarray) -> np.ndarray:
    """The same with zeros for all that is not finite."""
    return np.where(np.isfinite(array), array, 0)


@dataclass(frozen=True)
class BadValues:
    """The values of a tensor that are not finite: false if all are.

    Attributes:
        bad: Where they are, bool, of the tensor's shape.
        mask: Which positions are real, bool `(rows, time)`, where that is known.
        each: How many rows of the tensor each row of the batch has: those of its steps
            in a `TimeDistributed`.
    """

    bad: np.ndarray
    has_nan: bool
    has_inf: bool
    dtype: str
    mask: np.ndarray | None
    each: int = 1

    def __bool__(self) -> bool:
        return self.has_nan or self.has_inf

    @property
    def own_rows(self) -> np.ndarray:
        """The rows of the tensor that hold one."""
        if self.bad.ndim == 0:
            return np.zeros(0, int)
        return np.flatnonzero(self.bad.reshape(len(self.bad), -1).any(axis=1))

    @property
    def rows(self) -> np.ndarray:
        """The rows of the batch that hold one."""
        return np.unique(self.own_rows // self.each)

    @property
    def positions(self) -> np.ndarray:
        """The positions that hold one, `(count, 2)` of own row and step; or none."""
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
        kinds = (("NaN", self.has_nan), ("inf", self.has_inf))
        found: dict[str, Any] = {
            "values": " and ".join(name for name, has in kinds if has),
            "count": int(self.bad.sum()),
            "of": int(self.bad.size),
            "dtype": self.dtype,
            "shape": list(self.bad.shape),
            "rows": self.rows[:_SHOWN].tolist(),
            "row_count": len(self.rows),
        }
        shown = self.positions
        if self.each > 1:
            shown = np.stack(np.divmod(self.own_rows, self.each), axis=1)
        if len(shown):
            found["positions"] = shown[:_SHOWN].tolist()
            found["position_count"] = len(shown)
        if self.mask is not None and len(self.positions):
            real = int(self.mask[tuple(self.positions.T)].sum())
            found["real_positions"] = real
            found["padded_positions"] = len(self.positions) - real
        return found


def bad_values(tensor: Tensor, mask: np.ndarray | None, each: int = 1) -> BadValues:
    """What is not finite in a tensor of floats."""
    array = to_numpy(tensor)
    bad = ~np.isfinite(array)
    nan, infinite = bool(np.isnan(array[bad]).any()), bool(np.isinf(array[bad]).any())
    if not bad.any():
        bad = np.broadcast_to(False, bad.shape)  # Takes no room.
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return BadValues(bad, nan, infinite, dtype, mask, each)
