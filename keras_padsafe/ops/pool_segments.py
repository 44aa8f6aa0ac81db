"""Pools the steps of each sequence of packed rows."""

from collections.abc import Callable

from keras import backend, ops

from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.ids import as_ids
from keras_padsafe.ops.masks import as_bool_mask
from keras_padsafe.types import Tensor


def pool_segments(
    x: Tensor, segments: Tensor, count: int, mode: str, mask: Tensor | None = None
) -> Tensor:
    """Reduces `(batch, time, channels)` to `(batch, count, channels)`.

    Args:
        x: The steps.
        segments: Integers `(batch, time)`: the sequence of each step, from 1.
        count: How many sequences a row may hold.
        mode: One of `MODES`.
        mask: Mask `(batch, time)` of the steps that count.

    Returns:
        The pooled steps, 0 for a sequence without any.
    """
    x = ops.convert_to_tensor(x)
    dtype = backend.standardize_dtype(x.dtype)
    segments = real_segments(segments, count, mask)
    # The gradient of a maximum on PyTorch multiplies what does not count by 0.
    x = hide(x, ops.greater(segments, 0))
    wide = ops.cast(x, backend.result_type(dtype, "float32"))
    return ops.cast(MODES[mode](wide, segments, count), dtype)


def real_segments(segments: Tensor, count: int, mask: Tensor | None = None) -> Tensor:
    """Sets to 0 the segment of each step that does not count."""
    segments = ops.cast(as_ids(segments), "int32")
    real = ops.logical_and(ops.greater(segments, 0), ops.less_equal(segments, count))
    if mask is not None:
        real = ops.logical_and(real, as_bool_mask(mask, "mask"))
    return hide(segments, real)


def members(segments: Tensor, count: int) -> Tensor:
    """Marks the steps of each segment from 1 to `count`, `(batch, time, count)`."""
    numbers = ops.arange(1, count + 1, dtype="int32")
    return ops.equal(ops.expand_dims(segments, -1), numbers)


def _reduce(
    reduce: Callable[..., Tensor], x: Tensor, segments: Tensor, count: int
) -> Tensor:
    """Reduces each segment of each row. What it makes of no step is up to `reduce`."""
    batch, time = ops.shape(x)[:2]
    own = ops.expand_dims(ops.arange(batch, dtype="int32") * (count + 1), -1)
    places = ops.reshape(segments + own, (batch * time,))
    steps = ops.reshape(x, (batch * time, *x.shape[2:]))
    reduced = reduce(steps, places, num_segments=batch * (count + 1))
    return ops.reshape(reduced, (batch, count + 1, *x.shape[2:]))[:, 1:]


def _sum(x: Tensor, segments: Tensor, count: int) -> Tensor:
    return _reduce(ops.segment_sum, x, segments, count)


def _average(x: Tensor, segments: Tensor, count: int) -> Tensor:
    steps = _sum(ops.ones_like(x[..., :1]), segments, count)
    return ops.divide(_sum(x, segments, count), ops.maximum(steps, 1))


def _max(x: Tensor, segments: Tensor, count: int) -> Tensor:
    largest = _reduce(ops.segment_max, x, segments, count)
    return _where_any(members(segments, count), largest)


def _first(x: Tensor, segments: Tensor, count: int) -> Tensor:
    of = members(segments, count)
    steps = ops.argmax(ops.cast(of, "int32"), axis=1)
    chosen = ops.take_along_axis(x, ops.expand_dims(steps, -1), axis=1)
    return _where_any(of, chosen)


def _last(x: Tensor, segments: Tensor, count: int) -> Tensor:
    return _first(ops.flip(x, axis=1), ops.flip(segments, axis=1), count)


def _where_any(of: Tensor, pooled: Tensor) -> Tensor:
    real = ops.expand_dims(ops.any(of, axis=1), -1)
    return hide(pooled, real)


MODES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "average": _average,
    "max": _max,
    "sum": _sum,
    "first": _first,
    "last": _last,
}
