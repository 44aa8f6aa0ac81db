"""Strips: the rows of a batch laid out anew, so that less of it is padding.

A strip is as long as a sequence. It holds one row, which begins with its first real
token, or as many rows as fit in it, one after the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import of_rank
from keras_padsafe.ops.row_cuts import Axes, Spans, flatten, unflatten
from keras_padsafe.types import Tensor


class Strips(NamedTuple):
    """Where the tokens of a batch lie in strips. There are as many strips as rows.

    Tokens and places are counted through: row or strip times `time`, plus position.

    Args:
        sources: For each sequence, the token that each place holds, or -1,
            `(strips, time)`.
        places: For each token, the place that holds it, or -1, `(batch, time)`.
        shares: How much of each strip has to be kept, `(strips,)`.
        used: How many strips hold anything; they are the first ones.
    """

    sources: Sequence[Tensor]
    places: Sequence[Tensor]
    shares: Tensor
    used: Any

    def cut(
        self, x: Tensor, axes: Axes, first: Tensor, count: int, sizes: Sequence[int]
    ) -> Tensor:
        """Takes what `count` strips hold from the `first` one on.

        If the batch axis of `x` is 1, its one row stands for every row. Places that
        hold nothing get any token, and `False` if `x` is a mask.

        Args:
            x: Tensor `(batch, ...)`.
            axes: Its axes along a sequence.
            first: The number of a strip.
            count: How many strips to take.
            sizes: For each sequence, how many places of a strip to take.
        """
        shared = x.shape[0] == 1
        if not axes:
            sources = _part(self.sources[0], first, count, 1)[:, 0]
            return x if shared else ops.take(x, sources // self._time(0), axis=0)
        where, held = None, None
        for sequence in axes.values():
            sources = _part(self.sources[sequence], first, count, sizes[sequence])
            time, real = self._time(sequence), sources >= 0
            sources = ops.maximum(sources, 0)
            if where is None or held is None:
                where, held = sources % time if shared else sources, real
            else:
                where = where[..., None] * time + (sources % time)[:, None]
                held = held[..., None] & real[:, None]
        taken = ops.take(flatten(x, axes), where, axis=0)
        if keras.backend.standardize_dtype(x.dtype) == "bool":
            taken = taken & of_rank(held, len(taken.shape))
        return unflatten(taken, axes)

    def put_back(self, x: Tensor, axes: Axes) -> Tensor:
        """Undoes `cut` for all strips, each whole; what was in none of them is 0."""
        if not axes:
            return ops.take(x, self.places[0][:, 0] // self._time(0), axis=0)
        (sequence,) = axes.values()
        place = self.places[sequence]
        back = ops.take(flatten(x, axes), ops.maximum(place, 0), axis=0)
        return unflatten(hide(back, place >= 0), axes)

    def _time(self, sequence: int) -> int:
        return self.sources[sequence].shape[1]


def one_a_strip(spans: Spans) -> Strips:
    """Gives each row a strip, the emptiest first."""
    order = spans.order()
    rank = ops.cast(ops.argsort(order), "int32")[:, None]
    sources, places = [], []
    for time, start in zip(spans.times, spans.starts, strict=True):
        steps = ops.arange(time, dtype="int32")
        position = ops.take(start, order)[:, None] + steps
        sources.append(order[:, None] * time + position % time)
        places.append(rank * time + (steps - start[:, None]) % time)
    shares = ops.take(spans.shares(), order)
    return Strips(sources, places, shares, ops.shape(order)[0])


def packed(spans: Spans) -> Strips:
    """Puts each row into the first strip that has room, the longest row first."""
    lengths = ops.stack(spans.lengths, axis=1)
    times = ops.convert_to_tensor(spans.times, "int32")
    order = spans.order()
    batch = ops.shape(order)[0]
    strips = ops.arange(batch, dtype="int32")

    def put(count: Tensor, carry: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        filled, begins = carry
        row = order[batch - 1 - count]
        fits = ops.all(filled + lengths[row] <= times, axis=1)
        strip = ops.min(ops.where(fits, strips, batch))
        begin = strip * times + filled[strip]
        filled = filled + ops.where((strips == strip)[:, None], lengths[row], 0)
        return filled, ops.slice_update(begins, (row, 0), begin[None])

    nothing = ops.zeros_like(lengths)
    filled, begins = ops.fori_loop(0, batch, put, (nothing, nothing))
    sources, places = [], []
    for sequence, time in enumerate(spans.times):
        steps = ops.arange(time, dtype="int32") - spans.starts[sequence][:, None]
        real = (steps >= 0) & (steps < spans.lengths[sequence][:, None])
        place = ops.where(real, begins[:, sequence, None] + steps, -1)
        places.append(place)
        sources.append(_invert(place))
    used = ops.count_nonzero(ops.max(filled, axis=1))
    shares = ops.ones_like(strips, "float32")
    return Strips(sources, places, shares, ops.cast(used, "int32"))


def _invert(places: Tensor) -> Tensor:
    """For each place, the token that it holds, or -1."""
    count = ops.size(places)
    nothing = ops.full((count + 1,), -1, "int32")  # One more, for those without.
    where = ops.reshape(ops.where(places < 0, count, places), (-1, 1))
    sources = ops.scatter_update(nothing, where, ops.arange(count, dtype="int32"))
    return ops.reshape(sources[:-1], ops.shape(places))


def _part(table: Tensor, first: Tensor, count: int, size: int) -> Tensor:
    return ops.slice(table, (first, ops.zeros_like(first)), (count, size))
