"""Slots: the rows of a batch laid out anew, so that less of it is padding.

A slot is as long as a sequence. It holds one row, which begins with its first real
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


class Slots(NamedTuple):
    """Where the tokens of a batch lie in slots. There are as many slots as rows.

    Args:
        rows: For each sequence, the row that each place takes its token from, or
            -1, `(slots, time)`.
        positions: The position in that row, `(slots, time)`.
        places: For each token, which of the places it went to, or -1,
            `(batch, time)`; the places of all slots are counted through.
        shares: How much of each slot has to be kept, `(slots,)`.
        used: How many slots hold anything; they are the first ones.
    """

    rows: Sequence[Tensor]
    positions: Sequence[Tensor]
    places: Sequence[Tensor]
    shares: Tensor
    used: Any

    def cut(
        self, x: Tensor, axes: Axes, first: Tensor, count: int, sizes: Sequence[int]
    ) -> Tensor:
        """Takes what `count` slots hold from the `first` one on.

        If the batch axis of `x` is 1, its one row stands for every row. Places that
        hold nothing get any token, and `False` if `x` is a mask.

        Args:
            x: Tensor `(batch, ...)`.
            axes: Its axes along a sequence.
            first: The number of a slot.
            count: How many slots to take.
            sizes: For each sequence, how many places of a slot to take.
        """
        shared = x.shape[0] == 1
        if not axes:
            if shared:
                return x
            row = _part(self.rows[0], first, count, 1)
            return ops.take(x, row[:, 0], axis=0)
        where, held = None, ops.ones((), "bool")
        for axis, sequence in axes.items():
            size = sizes[sequence]
            row = _part(self.rows[sequence], first, count, size)
            position = _part(self.positions[sequence], first, count, size)
            if where is None:
                where, held = ops.zeros_like(row) if shared else row, row >= 0
            else:
                where, held = where[..., None], held[..., None] & (row >= 0)[:, None]
                position = position[:, None]
            where = ops.maximum(where, 0) * x.shape[axis] + position
        taken = ops.take(flatten(x, axes), where, axis=0)
        if keras.backend.standardize_dtype(x.dtype) == "bool":
            taken = taken & of_rank(held, len(taken.shape))
        return unflatten(taken, axes)

    def put_back(self, x: Tensor, axes: Axes) -> Tensor:
        """Undoes `cut` for all slots, each whole; what was in none of them is 0."""
        if not axes:
            return ops.take(x, self.places[0][:, 0] // self.rows[0].shape[1], axis=0)
        (sequence,) = axes.values()
        place = self.places[sequence]
        back = ops.take(flatten(x, axes), ops.maximum(place, 0), axis=0)
        return unflatten(hide(back, place >= 0), axes)


def one_a_slot(spans: Spans) -> Slots:
    """Gives each row a slot, the emptiest first."""
    order = spans.order()
    rank = ops.cast(ops.argsort(order), "int32")
    rows, positions, places = [], [], []
    for time, start in zip(spans.times, spans.starts, strict=True):
        steps = ops.arange(time, dtype="int32")
        position = ops.take(start, order)[:, None] + steps
        rows.append(order[:, None] + ops.zeros_like(steps))
        positions.append(ops.where(position < time, position, position - time))
        place = steps - start[:, None]
        places.append(rank[:, None] * time + ops.where(place < 0, place + time, place))
    shares = ops.take(spans.shares(), order)
    return Slots(rows, positions, places, shares, ops.shape(order)[0])


def packed(spans: Spans) -> Slots:
    """Puts each row into the first slot that has room, the longest row first."""
    times = ops.convert_to_tensor(spans.times, "int32")
    lengths = ops.stack(spans.lengths, axis=1)
    order = spans.order()
    batch = ops.shape(order)[0]
    number = ops.arange(batch, dtype="int32")

    def put(count: Tensor, carry: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        filled, slots, offsets = carry
        row = order[batch - 1 - count]
        length = lengths[row]
        fits = ops.all(filled + length <= times, axis=1)
        slot = ops.cast(ops.argmax(fits), "int32")
        here, mine = (number == slot)[:, None], number == row
        return (
            ops.where(here, filled + length, filled),
            ops.where(mine, slot, slots),
            ops.where(mine[:, None], filled[slot], offsets),
        )

    nothing = ops.zeros_like(lengths)
    start = nothing, ops.zeros_like(number), nothing
    _, slots, offsets = ops.fori_loop(0, batch, put, start)
    rows, positions, places = [], [], []
    for sequence, time in enumerate(spans.times):
        steps = ops.arange(time, dtype="int32") - spans.starts[sequence][:, None]
        real = (steps >= 0) & (steps < spans.lengths[sequence][:, None])
        place = slots[:, None] * time + offsets[:, sequence, None] + steps
        source = _scatter(ops.where(real, place, batch * time))
        rows.append(ops.reshape(ops.where(source < 0, -1, source // time), (-1, time)))
        positions.append(ops.reshape(ops.maximum(source, 0) % time, (-1, time)))
        places.append(ops.where(real, place, -1))
    shares = ops.ones_like(slots, "float32")
    return Slots(rows, positions, places, shares, ops.max(slots) + 1)


def _scatter(places: Tensor) -> Tensor:
    """For each place, the number of the token that went there, or -1."""
    count = ops.size(places)
    nothing = ops.full((count + 1,), -1, "int32")  # One more, for those without.
    tokens = ops.arange(count, dtype="int32")
    return ops.scatter_update(nothing, ops.reshape(places, (-1, 1)), tokens)[:-1]


def _part(table: Tensor, first: Tensor, count: int, size: int) -> Tensor:
    start = first, ops.zeros_like(first)
    return ops.slice(table, start, (count, size))
