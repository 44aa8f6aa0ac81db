"""How far each tensor of a run stands from where it stood in another run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from keras_padsafe.audit.run.padded_batch import Change
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value
from keras_padsafe.audit.run.time_axes import Axes


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


def movements(
    before: Record, after: Record, change: Change, axes: Mapping[Value, Axes]
) -> Movements:
    """Compares each call of two runs.

    Args:
        before: The run of the batch itself.
        after: The run of a changed batch.
        change: How it was changed.
        axes: How each tensor of the first run is read.
    """
    compare = _Compare(change, axes)
    return {
        key: CallMovement(
            compare.all(call.inputs, after[key].inputs),
            compare.all(call.outputs, after[key].outputs),
        )
        for key, call in before.items()
        if key in after
    }


def moved_outputs(call: CallRecord, found: Movements) -> list[Movement]:
    """The movements of the floats that came out of a call, or of all if none are."""
    outputs = found[call.key].outputs if call.key in found else []
    pairs = list(zip(call.outputs, outputs, strict=False))
    floats = [move for value, move in pairs if "float" in value.dtype]
    return [move for move in floats or outputs if move is not None]


class _Compare:
    def __init__(self, change: Change, axes: Mapping[Value, Axes]) -> None:
        self._change = change
        self._axes = axes
        self._known: dict[tuple[Value, Value], Movement | None] = {}

    def all(self, before: list[Value], after: list[Value]) -> list[Movement | None]:
        if len(before) != len(after):
            return [None] * len(before)
        return [self._one(a, b) for a, b in zip(before, after, strict=True)]

    def _one(self, before: Value, after: Value) -> Movement | None:
        pair = (before, after)
        if pair not in self._known:
            self._known[pair] = self._movement(before, after)
        return self._known[pair]

    def _movement(self, before: Value, after: Value) -> Movement | None:
        axes = self._axes[before]
        move = self._moved(before, after, axes)
        if axes.sure or before.array.ndim != 2 or not axes.time:
            return move
        # `(batch, n)` with n as long as the sequence by chance: features did not go
        # where the positions went.
        other = self._moved(before, after, replace(axes, time=()))
        known = [found for found in (move, other) if found is not None]
        return min(known, key=lambda found: found.size, default=None)

    def _moved(self, before: Value, after: Value, axes: Axes) -> Movement | None:
        then, now = before.array, after.array
        real = axes.real
        if axes.flat:
            rows = self._batch_size()
            if not now.shape or now.shape[0] % rows:
                return None
            then = then.reshape(-1, axes.real.shape[1], *then.shape[1:])
            now = now.reshape(rows, -1, *now.shape[1:])
        places, rows = self._change.rows
        if axes.batch:
            if now.shape[:1] != (self._batch_size(),):
                return None
            then, now = then[rows], now[places]
            real = real[rows] if real.shape[0] > 1 else real
        for axis, line in dict(axes.time).items():
            moved = self._moved_along(now, then, axis, line, axes.batch)
            if moved is None:
                return None
            now = moved
        if then.shape != now.shape:
            return None
        return _reduced(_difference(then, now), real, axes, rows)

    def _moved_along(
        self, now: np.ndarray, then: np.ndarray, axis: int, line: int, batch: bool
    ) -> np.ndarray | None:
        if axis >= now.ndim or axis >= then.ndim:
            return None
        where = self._change.where[line]
        if where is None:
            if now.shape[axis] == then.shape[axis]:
                return now
            last = now.shape[axis] - 1
            where = np.minimum(np.arange(then.shape[axis]), last)
            return np.take(now, where, axis)
        where = where[self._change.rows[1]]
        if not batch:
            same = (where == where[:1]).all() and where.max() < now.shape[axis]
            return np.take(now, where[0], axis) if same else None
        if where.max() >= now.shape[axis]:
            return None
        shape = [1] * now.ndim
        shape[0], shape[axis] = where.shape
        return np.take_along_axis(now, where.reshape(shape), axis)

    def _batch_size(self) -> int:
        places, rows = self._change.rows
        sizes = {len(v) for v in self._change.inputs if v.ndim}
        return sizes.pop() if len(sizes) == 1 else max(len(places), len(rows))


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
    if len(time) > 1:
        apart = np.where(real, apart, 0.0)
    over = tuple(axis for axis in range(apart.ndim) if axis not in kept)
    everywhere = apart.max(axis=over, initial=0.0)
    real = np.broadcast_to(real.any(axis=over), everywhere.shape)
    return Movement(everywhere, real, rows if axes.batch else np.arange(0))
