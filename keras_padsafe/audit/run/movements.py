"""How far each tensor of a run stands from where it stood in another run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from keras_padsafe.audit.run.padded_batch import Change
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Value
from keras_padsafe.audit.run.time_axes import BATCH, Axes, Axis


@dataclass(frozen=True, eq=False)
class Movement:
    """How far a tensor moved.

    Attributes:
        everywhere: The largest difference at each place, `(batch, time)` or `(batch,)`;
            infinite where a number became NaN.
        real: Which of those places are real.
        rows: The number in the batch of each row.
    """

    everywhere: np.ndarray
    real: np.ndarray
    rows: np.ndarray

    @property
    def size(self) -> float:
        """The largest difference at a real place."""
        return float(np.max(self.everywhere, where=self.real, initial=0.0))

    @property
    def where(self) -> dict[str, int]:
        """The row, and the position if there is one, of the largest difference."""
        seen = np.where(self.real, self.everywhere, -1.0)
        place = np.unravel_index(int(np.argmax(seen)), seen.shape)
        names = ("row", "position")[: len(place)]
        found = {name: int(n) for name, n in zip(names, place, strict=True)}
        if "row" in found and len(self.rows):
            found["row"] = int(self.rows[found["row"]])
        return found


@dataclass(frozen=True, eq=False)
class CallMovement:
    """How far the inputs and outputs of a call moved; `None`: cannot be compared."""

    inputs: list[Movement | None]
    outputs: list[Movement | None]


Movements = dict[Key, CallMovement]


class Compare:
    """Compares tensors of a changed batch with those of the batch itself.

    Args:
        change: How the batch was changed.
        axes: How each tensor of the first run is read.
    """

    def __init__(self, change: Change, axes: Mapping[Value, Axes]) -> None:
        self._change = change
        self._axes = axes
        self._known: dict[tuple[Value, int], Movement | None] = {}

    def call(self, before: CallRecord | None, after: CallRecord) -> CallMovement | None:
        """How far the tensors of one call moved; `None` if it is a new one."""
        if before is None:
            return None
        return CallMovement(
            self._all(before.inputs, after.inputs),
            self._all(before.outputs, after.outputs),
        )

    def _all(self, before: list[Value], after: list[Value]) -> list[Movement | None]:
        if len(before) != len(after):
            return [None] * len(before)
        return [self._one(a, b) for a, b in zip(before, after, strict=True)]

    def as_read(self, before: Value, after: Value, axes: Axes) -> Movement | None:
        """How far a tensor moved, its axes being read in this way."""
        then, now = before.array.reshape(axes.shape), after.array
        sizes = self._sizes(axes, now.shape)
        if sizes is None or prod(sizes) != now.size:
            return None
        now, real = now.reshape(sizes), axes.real
        places, rows = self._change.rows
        if axes.batch:
            then, now = then[rows], now[places]
            real = real[rows] if real.shape[0] > 1 else real
        for number, line in axes.time:
            moved = self._back(now, axes, number, line)
            if moved is None:
                return None
            now = moved
        if then.shape != now.shape:
            return None
        return _reduced(_difference(then, now), real, axes, rows)

    def _one(self, before: Value, after: Value) -> Movement | None:
        pair = (before, after.tensor)
        if pair not in self._known:
            self._known[pair] = self._movement(before, after)
        return self._known[pair]

    def _movement(self, before: Value, after: Value) -> Movement | None:
        axes = self._axes[before]
        move = self.as_read(before, after, axes)
        if axes.sure or before.array.ndim != 2 or not axes.time:
            return move
        # `(batch, n)` with n as long as the sequence by chance: features did not go
        # where the positions went.
        other = replace(axes, axes=(axes.axes[0], Axis(axes.axes[1].size)))
        known = [m for m in (move, self.as_read(before, after, other)) if m is not None]
        return min(known, key=lambda found: found.size, default=None)

    def _sizes(self, axes: Axes, now: tuple[int, ...]) -> tuple[int, ...] | None:
        apart = len(axes.axes) != len(now)
        sizes = []
        for number, axis in enumerate(axes.axes):
            if axis.line == BATCH:
                sizes.append(self._change.rows_now)
            elif apart and axis.line >= 0:
                sizes.append(self._change.lengths[axis.line])
            else:
                sizes.append(axis.size if apart else now[number])
        return tuple(sizes)

    def _back(
        self, now: np.ndarray, axes: Axes, number: int, line: int
    ) -> np.ndarray | None:
        """A tensor with its positions where they were in the batch itself."""
        axis, size = axes.axes[number], now.shape[number]
        timeline, longer = self._change.timelines[line], self._change.lengths[line]
        length = timeline.length
        where = self._change.where[line]
        if where is None:
            return np.take(now, np.minimum(np.arange(axis.size), size - 1), number)
        places = axis.positions(axis.size, length)
        inside = (places >= 0) & (places < length)
        to = np.take(where, np.clip(places, 0, length - 1), axis=-1)
        if axis.backwards:
            to = longer - 1 - to
        to = to - axis.start
        # What stands before or after a sequence stays at its end.
        ends = np.arange(axis.size)
        after = (places >= length) if not axis.backwards else (places < 0)
        ends = np.where(after, size - axis.size + ends, ends)
        to = np.where(inside, to, ends)
        if inside.any() and (to[..., inside].max() >= size or to.min() < 0):
            return None
        to = self._for_axes(np.clip(to, 0, size - 1), axes, line)
        if to is None:
            return None
        if to.ndim == 1:
            return np.take(now, to, number)
        lines = {a.line: n for n, a in enumerate(axes.axes)}
        over = [n for n in (BATCH, *self._change.timelines[line].outer) if n in lines]
        shape = [1] * now.ndim
        for n, length in zip(
            [*(lines[n] for n in over), number], to.shape, strict=True
        ):
            shape[n] = length
        return np.take_along_axis(now, to.reshape(shape), number)

    def _for_axes(self, to: np.ndarray, axes: Axes, line: int) -> np.ndarray | None:
        """Positions over the axes of a tensor, if all others agree on them."""
        lines = {axis.line for axis in axes.axes}
        to = to[self._change.rows[1]]
        for n, outer in reversed(
            list(enumerate((BATCH, *self._change.timelines[line].outer)))
        ):
            if outer in lines:
                continue
            first = np.take(to, [0], axis=n)
            if not (to == first).all():
                return None
            to = first.squeeze(n)
        return to


def _difference(then: np.ndarray, now: np.ndarray) -> np.ndarray:
    # In double precision the difference of two floats is not rounded to zero.
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(now.astype("float64") - then.astype("float64"))
    same = (then == now) | (np.isnan(then) & np.isnan(now))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _reduced(
    apart: np.ndarray, real: np.ndarray, axes: Axes, rows: np.ndarray
) -> Movement:
    """The largest difference over all axes but the batch and the first of time."""
    time = [axis for axis, _ in axes.time]
    kept = ([0] if axes.batch else []) + time[:1]
    over = tuple(axis for axis in range(apart.ndim) if axis not in kept)
    if any(real.shape[axis] > 1 for axis in over):
        apart = np.where(real, apart, 0.0)
    everywhere = apart.max(axis=over, initial=0.0)
    real = np.broadcast_to(real.any(axis=over), everywhere.shape)
    return Movement(everywhere, real, rows if axes.batch else np.arange(0))
