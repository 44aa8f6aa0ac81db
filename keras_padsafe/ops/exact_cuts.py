"""Runs a function on cuts as long as the rows are, where shapes may be of any size.

By hand each group of rows is run as it is met. In a graph a loop runs over them, so
that what is run is traced once, however many groups there are.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.ops.row_cuts import (
    Axes,
    Spans,
    cut,
    flatten,
    is_float,
    places,
    unflatten,
)
from keras_padsafe.ops.take_rows import lay_out, take_rows
from keras_padsafe.types import Tensor

# From here on, sorting and putting back costs more than the rest of the padding.
_NEARLY_ALL = 0.9


def on_exact_cuts(
    f: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    axes: Sequence[Axes],
    output: Any,
    output_axes: Axes,
    spans: Spans,
    rows: int,
) -> Tensor:
    """Runs `f` on groups of rows and puts the results where the rows came from.

    Args:
        f: Takes the cut inputs and returns a tensor `(rows, ...)`.
        inputs: Tensors `(batch, ...)`.
        axes: For each input, its axes that run along a sequence.
        output: Shape and dtype of the whole output.
        output_axes: The same for the output; they come before its other axes.
        spans: Where the real tokens are.
        rows: How many rows to run together.
    """
    order = spans.order()
    batch = ops.shape(order)[0]  # In a graph it may be known only later.
    sizes = _sizes(spans, order, rows)
    # By hand, one wait for the device and no more.
    kept = None if _in_graph() else ops.convert_to_numpy(sizes)
    if kept is not None and _share(kept, spans.times, batch, rows) > _NEARLY_ALL:
        return f(*inputs)
    of_rows = ops.repeat(sizes, rows, axis=0)[:batch]
    flat = [
        take_rows(flatten(x, axis), _all_places(x, axis, spans, order, of_rows))
        for x, axis in zip(inputs, axes, strict=True)
        if is_float(x)
    ]  # All at once, so that the gradient is put together only once.

    features = output.shape[len(output_axes) + 1 :]

    def group(members: Tensor, size: Sequence[Any], parts: Sequence[Tensor]) -> Tensor:
        part = iter(parts)
        cuts = [
            _shaped(next(part), axis, size)
            if is_float(x)
            else cut(x, axis, spans, members, size)
            for x, axis in zip(inputs, axes, strict=True)
        ]
        return ops.reshape(f(*cuts), (-1, *features))

    floats = [a for x, a in zip(inputs, axes, strict=True) if is_float(x)]
    if kept is not None:
        made = _one_by_one(group, order, flat, floats, kept, rows)
    else:
        made = _in_a_loop(group, order, flat, floats, sizes, rows, output.dtype)
    where = _all_places(output, output_axes, spans, order, of_rows)
    steps = [spans.times[sequence] for sequence in output_axes.values()]
    made = ops.reshape(made, (-1, *features))
    whole = _spread(made, where, batch * math.prod(steps))
    return ops.reshape(whole, (-1, *output.shape[1:]))


def _sizes(spans: Spans, order: Tensor, rows: int) -> Tensor:
    """How much each group keeps of each sequence, `(groups, sequences)`."""
    lengths = ops.take(ops.stack(spans.lengths, axis=1), order, axis=0)
    missing = -ops.shape(order)[0] % rows
    lengths = ops.pad(lengths, [(0, missing), (0, 0)])
    longest = ops.max(ops.reshape(lengths, (-1, rows, lengths.shape[1])), axis=1)
    return ops.maximum(longest, 1)


def _share(sizes: np.ndarray, times: Sequence[int], batch: int, rows: int) -> float:
    """How much of the batch the cuts keep."""
    shares = (sizes / np.array(times)).max(axis=1)
    return float(np.repeat(shares, rows)[:batch].mean())


def _one_by_one(
    group: Callable[..., Tensor],
    order: Tensor,
    flat: Sequence[Tensor],
    axes: Sequence[Axes],
    sizes: np.ndarray,
    rows: int,
) -> Tensor:
    members = [order[i : i + rows] for i in range(0, int(order.shape[0]), rows)]
    counts = np.array([len(m) for m in members])
    parts = [
        _split(x, (counts * _volume(sizes, axis)).tolist())
        for x, axis in zip(flat, axes, strict=True)
    ]
    return ops.concatenate(
        [
            group(*each)
            for each in zip(
                members, sizes.tolist(), zip(*parts, strict=True), strict=True
            )
        ]
    )


def _in_a_loop(
    group: Callable[..., Tensor],
    order: Tensor,
    flat: Sequence[Tensor],
    axes: Sequence[Axes],
    sizes: Any,
    rows: int,
    dtype: str,
) -> Tensor:
    """Runs the groups in a loop of TensorFlow; the last may have fewer rows."""
    import tensorflow as tf

    groups, sequences = tf.shape(sizes)[0], sizes.shape[1]
    counts = tf.minimum(rows, tf.size(order) - rows * tf.range(groups))
    parts = [
        tf.TensorArray(
            x.dtype, groups, infer_shape=False, element_shape=(None, *x.shape[1:])
        ).split(x, counts * _volume(sizes, axis))
        for x, axis in zip(flat, axes, strict=True)
    ]
    made = tf.TensorArray(dtype, groups, infer_shape=False)

    def step(number: Tensor, made: Any) -> Any:
        size = tf.unstack(sizes[number], num=sequences)
        members = order[rows * number : rows * (number + 1)]
        read = [
            tf.ensure_shape(part.read(number), (None, *x.shape[1:]))
            for part, x in zip(parts, flat, strict=True)
        ]
        y = group(members, size, read)
        return number + 1, made.write(number, y)

    loop = tf.while_loop(
        lambda number, _: number < groups, step, (0, made), maximum_iterations=groups
    )
    return loop[1].concat()


def _volume(sizes: Any, axes: Axes) -> Any:
    """How many elements of an input one row of each group has."""
    volume = sizes[:, 0] * 0 + 1
    for sequence in axes.values():
        volume = volume * sizes[:, sequence]
    return volume


def _shaped(part: Tensor, axes: Axes, size: Sequence[Any]) -> Tensor:
    """Gives the flat cut of an input its shape."""
    kept = [size[sequence] for sequence in axes.values()]
    return unflatten(ops.reshape(part, (-1, *kept, *part.shape[1:])), axes)


def _all_places(
    x: Any, axes: Axes, spans: Spans, order: Tensor, of_rows: Tensor
) -> Tensor:
    """Where in `flatten(x, axes)` the elements of all cuts are, one after another."""
    where = places(x, axes, spans, order, spans.times)
    if not axes:
        return where
    kept = ops.ones_like(order, "bool")
    for count, sequence in enumerate(axes.values()):
        most = of_rows[:, sequence]
        within = ops.arange(spans.times[sequence], dtype="int32") < most[:, None]
        kept = kept[..., None] & ops.reshape(
            within, (-1, *[1] * count, within.shape[1])
        )
    if keras.backend.backend() == "torch":
        return where[kept]
    import tensorflow as tf

    return tf.boolean_mask(where, kept)


def _spread(x: Tensor, where: Tensor, count: int) -> Tensor:
    """Lays elements out among `count`, the others being 0."""

    @ops.custom_gradient
    def spread(x: Tensor, where: Tensor) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            return ops.take(upstream, where, axis=0), None

        return lay_out(x, where, count), gradient

    return spread(x, where)


def _split(x: Tensor, counts: list[int]) -> Sequence[Tensor]:
    if keras.backend.backend() == "torch":
        return x.split(counts)
    import tensorflow as tf

    return tf.split(x, counts)


def _in_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()
