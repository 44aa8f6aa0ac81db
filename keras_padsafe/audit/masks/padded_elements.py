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


def replaced(tensor: Tensor, where: np.ndarray, values: np.ndarray) -> Tensor:
    """A new tensor that takes `values` where the flags are set."""
    # In NumPy: JAX would compile each operation anew for each shape.
    content = np.where(spread(where, tensor.shape), values, as_array(tensor))
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return keras.ops.convert_to_tensor(content, dtype=dtype)


def noise(tensor: Tensor, generator: np.random.Generator) -> np.ndarray:
    """Random content, larger than what a tensor holds, of both signs.

    Not an offset: a normalization would take it away again. Larger: a maximum would
    not show it.
    """
    values = as_array(tensor)
    finite = values[np.isfinite(values)]
    size = float(np.abs(finite).max(initial=0)) or 1.0
    signs = generator.choice([-size, size], values.shape)
    return signs * generator.uniform(1, 3, values.shape)


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
    if not alone.ndim:
        return alone, mixed
    # A maximum may hide what else an element depends on: whole positions count, and
    # whole rows where there is no time. What mixes nothing has only moved.
    axes = 2 if alone.ndim > 2 else 1
    inner = tuple(range(axes, alone.ndim))
    position = np.asarray(by_padding.any(inner) & ~by_content.any(inner))
    if mixed.any() or not (alone & ~spread(position, alone.shape)).any():
        return position, mixed
    return alone, mixed
