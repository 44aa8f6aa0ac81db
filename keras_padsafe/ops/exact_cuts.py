"""Runs a function on cuts as long as the rows are, where shapes may be of any size."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.ops.row_cuts import Axes, Spans, cut, flatten, places, unflatten
from keras_padsafe.types import Tensor

# From here on, sorting and putting back costs more than the rest of the padding.
_NEARLY_ALL = 0.9


def on_exact_cuts(
    f: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    axes: Sequence[Axes],
    output_axes: Axes,
    spans: Spans,
    rows: int,
) -> Tensor:
    """Runs `f` on groups of rows and puts the results where the rows came from.

    Args:
        f: Takes the cut inputs and returns a tensor `(rows, ...)`.
        inputs: Tensors `(batch, ...)`.
        axes: For each input, its axes that run along a sequence.
        output_axes: The same for the output; they come before its other axes.
        spans: Where the real tokens are.
        rows: How many rows to run together.
    """
    order = spans.order()
    batch = int(order.shape[0])
    groups = [order[i : i + rows] for i in range(0, batch, rows)]
    sizes = _sizes(spans, order, rows)
    if not _in_graph() and _kept(spans, groups, sizes) > _NEARLY_ALL:
        return f(*inputs)
    cuts = [
        _cut_all(x, axis, spans, groups, sizes)
        for x, axis in zip(inputs, axes, strict=True)
    ]
    outputs = [f(*group) for group in zip(*cuts, strict=True)]
    times = [spans.times[sequence] for sequence in output_axes.values()]
    features = outputs[0].shape[len(times) + 1 :]
    whole = keras.KerasTensor((batch, *times, *features), outputs[0].dtype)
    where = _all_places(whole, output_axes, spans, groups, sizes)
    flat = ops.concatenate([ops.reshape(y, (-1, *features)) for y in outputs])
    return ops.reshape(_spread(flat, where, math.prod((batch, *times))), whole.shape)


def _sizes(spans: Spans, order: Tensor, rows: int) -> list[Any]:
    """How much each group keeps of each sequence: numbers, or scalars in a graph."""
    lengths = ops.take(ops.stack(spans.lengths, axis=1), order, axis=0)
    starts = range(0, int(order.shape[0]), rows)
    longest = [ops.max(lengths[i : i + rows], axis=0) for i in starts]
    kept = ops.maximum(ops.stack(longest), 1)
    if _in_graph():
        return [ops.unstack(group, num=len(spans.times)) for group in longest]
    return ops.convert_to_numpy(kept).tolist()  # One wait for the device, no more.


def _kept(spans: Spans, groups: Sequence[Tensor], sizes: Any) -> float:
    """How much of the batch the cuts keep."""
    rows = [int(group.shape[0]) for group in groups]
    kept = sum(
        max(n / time for n, time in zip(size, spans.times, strict=True)) * count
        for size, count in zip(sizes, rows, strict=True)
    )
    return kept / sum(rows)


def _cut_all(
    x: Tensor, axes: Axes, spans: Spans, groups: Sequence[Tensor], sizes: Any
) -> list[Tensor]:
    """Cuts `x` for each group, so that its gradient is put together only once."""
    if "float" not in keras.backend.standardize_dtype(x.dtype):
        return [
            cut(x, axes, spans, rows, kept)
            for rows, kept in zip(groups, sizes, strict=True)
        ]
    flat = flatten(x, axes)
    shapes = [
        [rows.shape[0], *(kept[sequence] for sequence in axes.values())]
        for rows, kept in zip(groups, sizes, strict=True)
    ]
    every = _gather(flat, _all_places(x, axes, spans, groups, sizes))
    parts = zip(
        _split(every, [math.prod(shape) for shape in shapes]), shapes, strict=True
    )
    return [
        unflatten(ops.reshape(part, (*shape, *flat.shape[1:])), axes)
        for part, shape in parts
    ]


def _all_places(
    x: Any, axes: Axes, spans: Spans, groups: Sequence[Tensor], sizes: Any
) -> Tensor:
    every = [
        ops.reshape(places(x, axes, spans, rows, kept), (-1,))
        for rows, kept in zip(groups, sizes, strict=True)
    ]
    return ops.concatenate(every)


@ops.custom_gradient
def _gather(x: Tensor, where: Tensor) -> Any:
    """Takes elements, none of them twice: the gradient needs no sums."""

    def gradient(*args: Any, upstream: Any = None) -> Any:
        upstream = args[0] if upstream is None else upstream
        return _scatter(upstream, where, x.shape[0]), None

    return ops.take(x, where, axis=0), gradient


def _spread(x: Tensor, where: Tensor, count: int) -> Tensor:
    """Lays elements out among `count`, the others being 0."""

    @ops.custom_gradient
    def spread(x: Tensor, where: Tensor) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return ops.take(upstream, where, axis=0), None

        return _scatter(x, where, count), gradient

    return spread(x, where)


def _scatter(x: Tensor, where: Tensor, count: int) -> Tensor:
    nothing = ops.zeros((count, *x.shape[1:]), x.dtype)
    if keras.backend.backend() == "torch":
        return nothing.index_copy_(0, where.long(), x)  # No second copy.
    return ops.scatter_update(nothing, where[:, None], x)


def _split(x: Tensor, counts: list[Any]) -> Sequence[Tensor]:
    if keras.backend.backend() == "torch":
        return x.split(counts)
    import tensorflow as tf

    return tf.split(x, tf.stack(counts))


def _in_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()
