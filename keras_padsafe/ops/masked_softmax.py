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
    with nothing real is all zeros. A real score of -inf gets exactly 0 too, and a
    real NaN makes its row NaN. Any finite real score counts, however low.

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
        return ops.cast(x, dtype)  # no element, and no maximum to ask for
    fill = safe_fill(x.dtype)
    if mask is not None:
        mask = align_mask(mask, x)
        x = ops.where(mask, x, fill)
    # At least the fill: a row of -inf has no -inf to subtract from itself.
    peak = ops.maximum(ops.max(x, axis=axis, keepdims=True), fill)
    weights = ops.exp(x - ops.stop_gradient(peak))
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    total = ops.sum(weights, axis=axis, keepdims=True)
    # An exact test for 0, so that NaN is divided by NaN and stays NaN.
    return ops.cast(weights / ops.where(ops.equal(total, 0.0), 1.0, total), dtype)
