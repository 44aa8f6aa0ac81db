"""Which elements of a tensor are padding: NumPy arrays, and what two runs tell of them.

An array of padded elements covers the first axes of its tensor, usually `(batch,
time)`; True = padding there, the reverse of a mask.
"""

from collections.abc import Sequence

import keras
import numpy as np

from keras_padsafe.types import Tensor

# Runs of one shape differ by rounding alone: far less than what padding changes.
_ROUNDING = {"float16": 2e-3, "bfloat16": 1.6e-2}


def spread(flags: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Flags on the first axes, as flags on every element."""
    inner = (1,) * (len(shape) - flags.ndim)
    return np.broadcast_to(flags.reshape(flags.shape + inner), tuple(shape))


def covers(flags: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether flags are on the first axes of a shape."""
    return flags.shape == tuple(shape)[: flags.ndim]


def is_floating(tensor: Tensor) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor's values, half precisions widened."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array.astype("float64") if is_floating(tensor) else array


def changed(before: Tensor, after: Tensor) -> np.ndarray:
    """The elements that differ by more than rounding."""
    old, new = as_array(before), as_array(after)
    if not is_floating(before):
        return np.asarray(old != new)
    finite = np.abs(old[np.isfinite(old)])
    dtype = keras.backend.standardize_dtype(before.dtype)
    rounding = _ROUNDING.get(dtype, 1e-6) * (finite.max() if finite.size else 1)
    with np.errstate(invalid="ignore"):
        same = (np.abs(old - new) <= rounding) | (old == new)
    return ~(same | (np.isnan(old) & np.isnan(new)))


def replaced(tensor: Tensor, where: np.ndarray, values: Tensor) -> Tensor:
    """A new tensor that takes `values` where the flags are set."""
    flags = keras.ops.convert_to_tensor(spread(where, tensor.shape).copy())
    return keras.ops.where(flags, values, tensor)


def noise(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """Random content of the size of what a tensor holds, and of another kind.

    Not an offset: a normalization would take it away again.
    """
    values = as_array(tensor)
    finite = values[np.isfinite(values)]
    size = float(np.abs(finite).max()) if finite.size else 0.0
    content = generator.normal(scale=2 * size or 1.0, size=values.shape)
    return keras.ops.cast(
        keras.ops.convert_to_tensor(content.astype("float32")), tensor.dtype
    )


def padded_outputs(
    by_padding: np.ndarray, by_content: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which elements come from padding alone, and which from padding and content.

    Args:
        by_padding: What changed with the content at padded positions.
        by_content: What changed with the content at real positions.
    """
    mixed = by_padding & by_content
    alone = by_padding & ~by_content
    if alone.ndim < 3:
        return alone, mixed
    inner = tuple(range(2, alone.ndim))
    position = by_padding.any(inner) & ~by_content.any(inner)
    # A transposed tensor has its time elsewhere, and mixes nothing.
    if mixed.any() or not (alone & ~spread(position, alone.shape)).any():
        return position, mixed
    return alone, mixed
