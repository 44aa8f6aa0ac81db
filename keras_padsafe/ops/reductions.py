"""Sums, means and extremes of what is real.

One rule for all: the axes of the mask are the first axes of `x` (`(batch, time)`
fits `(batch, time, dim)`; see `align_mask`). Nothing real to reduce gives 0, with
zero gradients. What the mask hides, NaN and infinity included, reaches neither
the value nor the gradient. 16-bit types are accumulated in float32.
"""

import math
from collections.abc import Callable

import numpy as np
from keras import backend, ops

from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import align_mask
from keras_padsafe.types import Tensor

Axis = int | tuple[int, ...] | None


def masked_sum(
    x: Tensor, mask: Tensor | None, axis: Axis, keepdims: bool = False
) -> Tensor:
    """Sums what is real.

    Args:
        x: Tensor of numbers.
        mask: Mask of the first axes of `x`; True is real. `None` hides nothing.
        axis: Axis, or axes, to reduce; `None` for all.
        keepdims: Whether the reduced axes stay, with size 1.

    Returns:
        The sums, 0 where nothing is real.

    Example:
    >>> x = [[1.0, 2.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> total = keras_padsafe.ops.masked_sum(x, mask, axis=1)
    >>> keras.ops.convert_to_numpy(total).tolist()
    [3.0, 0.0]
    """
    x, mask, dtype = _prepare(x, mask)
    return ops.cast(_sum(x, mask, axis, keepdims), dtype)


def masked_mean(
    x: Tensor, mask: Tensor | None, axis: Axis, keepdims: bool = False
) -> Tensor:
    """Averages what is real: the sum over it, divided by how much there is.

    Args:
        x: Tensor of numbers. Integers are averaged as floats.
        mask: Mask of the first axes of `x`; True is real. `None` hides nothing.
        axis: Axis, or axes, to reduce; `None` for all.
        keepdims: Whether the reduced axes stay, with size 1.

    Returns:
        The means, 0 where nothing is real.

    Example:
    >>> x = [[1.0, 2.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> mean = keras_padsafe.ops.masked_mean(x, mask, axis=1)
    >>> keras.ops.convert_to_numpy(mean).tolist()
    [1.5, 0.0]
    """
    x, mask, dtype = _prepare(x, mask, floating=True)
    total = _sum(x, mask, axis, keepdims)
    count = ops.maximum(_count(x, mask, axis, keepdims), 1)
    return ops.cast(ops.divide(total, ops.cast(count, x.dtype)), dtype)


def masked_max(
    x: Tensor, mask: Tensor | None, axis: Axis, keepdims: bool = False
) -> Tensor:
    """Takes the largest real value.

    Args:
        x: Tensor of numbers.
        mask: Mask of the first axes of `x`; True is real. `None` hides nothing.
        axis: Axis, or axes, to reduce; `None` for all.
        keepdims: Whether the reduced axes stay, with size 1.

    Returns:
        The maxima, 0 where nothing is real.

    Example:
    >>> x = [[-1.0, -2.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> largest = keras_padsafe.ops.masked_max(x, mask, axis=1)
    >>> keras.ops.convert_to_numpy(largest).tolist()
    [-1.0, 0.0]
    """
    return _extreme(x, mask, axis, keepdims, ops.max)


def masked_min(
    x: Tensor, mask: Tensor | None, axis: Axis, keepdims: bool = False
) -> Tensor:
    """Takes the smallest real value.

    Args:
        x: Tensor of numbers.
        mask: Mask of the first axes of `x`; True is real. `None` hides nothing.
        axis: Axis, or axes, to reduce; `None` for all.
        keepdims: Whether the reduced axes stay, with size 1.

    Returns:
        The minima, 0 where nothing is real.

    Example:
    >>> x = [[1.0, 2.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> smallest = keras_padsafe.ops.masked_min(x, mask, axis=1)
    >>> keras.ops.convert_to_numpy(smallest).tolist()
    [1.0, 0.0]
    """
    return _extreme(x, mask, axis, keepdims, ops.min)


def masked_logsumexp(
    x: Tensor, mask: Tensor | None, axis: Axis, keepdims: bool = False
) -> Tensor:
    """Takes the logarithm of the sum of the exponentials of what is real.

    Args:
        x: Tensor of numbers. Integers are read as floats.
        mask: Mask of the first axes of `x`; True is real. `None` hides nothing.
        axis: Axis, or axes, to reduce; `None` for all.
        keepdims: Whether the reduced axes stay, with size 1.

    Returns:
        The results, 0 where nothing is real (not the logarithm of 0, which no
        layer after it would survive).

    Example:
    >>> x = [[1.0, 1.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> result = keras_padsafe.ops.masked_logsumexp(x, mask, axis=1)
    >>> [round(float(value), 3) for value in result]
    [1.693, 0.0]
    """
    x, mask, dtype = _prepare(x, mask, floating=True)
    peak = ops.stop_gradient(masked_max(x, mask, axis, keepdims=True))
    peak = ops.where(ops.isfinite(peak), peak, ops.zeros_like(peak))
    # Hiding it here keeps what is hidden out of the gradient of `exp`.
    shifted = hide(ops.subtract(x, peak), mask)
    total = _sum(ops.exp(shifted), mask, axis, keepdims=True)
    nothing = ops.equal(total, 0)
    log = ops.log(ops.where(nothing, ops.ones_like(total), total)) + peak
    # Real values that are all -inf also sum to 0, and keep their -inf.
    real = ops.greater(_count(x, mask, axis, keepdims=True), 0)
    log_of_nothing = ops.cast(ops.where(real, -math.inf, 0.0), x.dtype)
    result = ops.where(nothing, log_of_nothing, log)
    result = result if keepdims else ops.squeeze(result, axis)
    return ops.cast(result, dtype)


def _prepare(
    x: Tensor, mask: Tensor | None, floating: bool = False
) -> tuple[Tensor, Tensor, str]:
    """Returns `x` to accumulate, the mask at its rank, and the result's dtype."""
    x = ops.convert_to_tensor(x)
    dtype = backend.standardize_dtype(x.dtype)
    if dtype == "bool" or (floating and "float" not in dtype):
        dtype = backend.floatx() if floating else "int32"
    x = ops.cast(x, "float32" if dtype in ("float16", "bfloat16") else dtype)
    if mask is None:
        return x, ops.ones((1,) * len(x.shape), dtype="bool"), dtype
    return x, align_mask(mask, x), dtype


def _sum(x: Tensor, mask: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return ops.sum(hide(x, mask), axis=axis, keepdims=keepdims)


def _count(x: Tensor, mask: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """Counts what is real, in integers: a float16 cannot count to 70,000."""
    axes = _axes(x, axis)
    length = tuple(slice(None if a in axes else 1) for a in range(len(x.shape)))
    spread = ops.logical_and(mask, ops.ones_like(x[length], dtype="bool"))
    spread = ops.cast(spread, "int32")
    return ops.sum(spread, axis=axis, keepdims=keepdims)


def _axes(x: Tensor, axis: Axis) -> set[int]:
    if axis is None:
        return {*range(len(x.shape))}
    axes = (axis,) if isinstance(axis, int) else axis
    return {a % len(x.shape) for a in axes}


def _extreme(
    x: Tensor,
    mask: Tensor | None,
    axis: Axis,
    keepdims: bool,
    reduce: Callable[..., Tensor],
) -> Tensor:
    x, mask, dtype = _prepare(x, mask)
    if 0 in x.shape:  # Backends refuse the extreme of nothing; its sum is zeros.
        return ops.cast(_sum(x, mask, axis, keepdims), dtype)
    hidden = hide(x, mask, _never_chosen(reduce, x.dtype))
    extreme = reduce(hidden, axis=axis, keepdims=keepdims)
    real = ops.greater(_count(x, mask, axis, keepdims), 0)
    return ops.cast(hide(extreme, real), dtype)


def _never_chosen(reduce: Callable[..., Tensor], dtype: str) -> float | int:
    dtype = backend.standardize_dtype(dtype)
    if "float" in dtype:
        return -math.inf if reduce is ops.max else math.inf
    limits = np.iinfo(dtype)
    return int(limits.min if reduce is ops.max else limits.max)
