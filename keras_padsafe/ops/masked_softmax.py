"""Softmax over what is real."""

from keras import backend, ops

from keras_padsafe.ops.masks import align_mask
from keras_padsafe.ops.safe_fill import safe_fill
from keras_padsafe.types import Tensor


def masked_softmax(
    x: Tensor, mask: Tensor | None, axis: int | tuple[int, ...] = -1
) -> Tensor:
    """Shares one unit of weight among the real scores.

    What is hidden gets exactly 0, whatever it holds, and gets no gradient; a row
    with nothing real is all zeros. A real NaN stays NaN. Any real score
    counts, however low, down to -inf (or the lowest number there is, `safe_fill` of
    the dtype computed in), which gets exactly 0 too.

    Args:
        x: Scores, of any shape.
        mask: Mask whose axes are the first axes of `x`, or 1; True is real.
            `None` hides nothing.
        axis: Axis, or axes, that share the unit of weight.

    Returns:
        The weights, in the dtype of `x`, computed in float32 or better.

    Example:
    >>> scores = [[0.0, 0.0, float("nan")], [5.0, 6.0, 7.0]]
    >>> mask = [[True, True, False], [False, False, False]]
    >>> weights = keras_padsafe.ops.masked_softmax(scores, mask)
    >>> keras.ops.convert_to_numpy(weights).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    x = ops.convert_to_tensor(x)
    dtype = backend.result_type(x.dtype, float)
    x = ops.cast(x, backend.result_type(dtype, "float32"))
    if 0 in x.shape:
        return ops.cast(x, dtype)  # no element, and no maximum to subtract
    # A tensor: TensorFlow reads a Python number as float32, too small for float64's.
    fill = ops.convert_to_tensor(safe_fill(x.dtype), dtype=x.dtype)
    # Not `x > fill`, which would hide NaN.
    counts = ops.logical_not(ops.less_equal(x, fill))
    if mask is not None:
        counts = ops.logical_and(counts, align_mask(mask, x))
    weights = _softmax(ops.where(counts, x, fill), fill, axis)
    # Beside one score that counts, the fill weighs 0 already; alone, it does not.
    return ops.cast(ops.where(counts, weights, 0.0), dtype)


def _softmax(x: Tensor, fill: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    # XLA makes one loop of the sum below, and three of a softmax with what is hidden.
    is_xla = backend.backend() == "jax"
    if isinstance(axis, int) and x.shape[axis] != 1 and not is_xla:
        return ops.softmax(x, axis=axis)
    # Keras warns about an axis of one score, and cannot reshape unknown sizes.
    peak = ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))
    weights = ops.exp(x - peak)
    total = ops.sum(weights, axis=axis, keepdims=True)
    nothing = ops.less_equal(peak, fill)
    return weights * ops.where(nothing, ops.zeros_like(total), 1 / total)
