"""Where the real tokens of a batch lie, and how to reach them by their positions.

A batch has one or more sequences (of queries, of keys), each with a padding mask
`(batch, time)`. The span of a row reaches from its first real token to its last. A
cut takes the first positions of the spans of some rows, whichever side the padding
is on; what of a row lies before its span comes last.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.types import Tensor

Axes = Mapping[int, int]
"""The axes of a tensor that run along a sequence, and the number of that sequence.

Axis 0 is the batch, and not among them.
"""


@dataclasses.dataclass(frozen=True)
class Spans:
    """Where the spans of each sequence start, and how long they are, `(batch,)`."""

    times: tuple[int, ...]
    starts: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]

    def order(self) -> Tensor:
        """The numbers of the rows, from the emptiest to the fullest."""
        return ops.cast(ops.argsort(self.shares()), "int32")

    def shares(self) -> Tensor:
        """How much of each row has to be kept, `(batch,)`."""
        shares = [
            ops.cast(length, "float32") / time
            for length, time in zip(self.lengths, self.times, strict=True)
        ]
        return ops.max(ops.stack(shares), axis=0)


def find_spans(masks: Sequence[Tensor], starts: str = "own") -> Spans:
    """Finds the span of each row of each sequence.

    Args:
        masks: The padding of each sequence, `(batch, time)`, True = real.
        starts: Where the spans of a row start: each sequence at its "own" first real
            token, or all at the "same" position, so that positions of two of them
            stay as far apart as they are, or at "zero". The "same" also end as one.
    """
    times = tuple(int(mask.shape[1]) for mask in masks)
    ends = [
        ops.max(ops.where(mask, ops.arange(1, time + 1, dtype="int32"), 0), axis=1)
        for mask, time in zip(masks, times, strict=True)
    ]
    firsts = [ops.cast(ops.argmax(mask, axis=1), "int32") for mask in masks]
    if starts == "same":
        firsts = [ops.min(ops.stack(firsts), axis=0)] * len(times)
        ends = [ops.max(ops.stack(ends), axis=0)] * len(times)
    elif starts == "zero":
        firsts = [ops.zeros_like(first) for first in firsts]
    lengths = [
        ops.clip(end - first, 0, time)
        for end, first, time in zip(ends, firsts, times, strict=True)
    ]
    return Spans(times, tuple(firsts), tuple(lengths))


def cut(
    x: Tensor, axes: Axes, spans: Spans, rows: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Takes rows of `x`, and of each sequence the first `sizes` of the span.

    If the batch axis of `x` is 1, its one row stands for every row.
    """
    if x.shape[0] == 1 and not axes:
        return x
    return unflatten(
        ops.take(flatten(x, axes), places(x, axes, spans, rows, sizes), axis=0), axes
    )


def places(
    x: Tensor, axes: Axes, spans: Spans, rows: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Returns where in `flatten(x, axes)` the elements of a cut are."""
    where = ops.zeros_like(rows) if x.shape[0] == 1 else rows
    for count, (axis, sequence) in enumerate(axes.items()):
        time = spans.times[sequence]
        start = ops.take(spans.starts[sequence], rows, axis=0)
        position = start[:, None] + ops.arange(sizes[sequence], dtype="int32")
        position = ops.where(position < time, position, position - time)
        for _ in range(count):
            position = position[:, None]
        where = where[..., None] * x.shape[axis] + position
    return where


def fill_up(x: Tensor, axes: Axes, times: Sequence[int]) -> Tensor:
    """Fills a cut with zeros up to the whole time."""
    missing = [(0, 0)] * len(x.shape)
    for axis, sequence in axes.items():
        missing[axis] = (0, times[sequence] - x.shape[axis])
    return ops.pad(x, missing) if any(behind for _, behind in missing) else x


def is_float(x: Any) -> bool:
    """Whether a tensor, a variable or a shape with a dtype is of floats."""
    return "float" in keras.backend.standardize_dtype(x.dtype)


def flatten(x: Tensor, axes: Axes) -> Tensor:
    """Merges the batch and the axes along sequences into one axis, the first."""
    rest = [x.shape[axis] for axis in _order(x, axes)[len(axes) + 1 :]]
    x = x if _in_order(axes) else ops.transpose(x, _order(x, axes))
    return ops.reshape(x, (-1, *rest))


def unflatten(x: Tensor, axes: Axes) -> Tensor:
    """Moves the axes along sequences, which follow the batch, to where they belong."""
    if _in_order(axes):
        return x
    order = _order(x, axes)
    return ops.transpose(x, [order.index(axis) for axis in range(len(order))])


def _order(x: Tensor, axes: Axes) -> list[int]:
    rest = [axis for axis in range(1, len(x.shape)) if axis not in axes]
    return [0, *axes, *rest]


def _in_order(axes: Axes) -> bool:
    return list(axes) == list(range(1, len(axes) + 1))
