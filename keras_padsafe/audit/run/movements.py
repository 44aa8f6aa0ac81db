"""How far each tensor of a run stands from where it stood in another run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from keras_padsafe.audit.run.padded_batch import Change
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value
from keras_padsafe.audit.run.time_axes import BATCH, Axes, Axis, spread


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


class Movements(dict[Value, Movement]):
    """How far each tensor of the batch itself moved, where that can be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[Key] = set()
        """Those that were made again."""


def pairs_of(record: Record, after: CallRecord) -> Iterator[tuple[Value, Value]]:
    """What a call was given and gave in two runs, where that is as many tensors."""
    before = record.get(after.key)
    if before is not None:
        given, made = (before.inputs, after.inputs), (before.outputs, after.outputs)
        for old, new in (given, made):
            yield from zip(old, new, strict=True) if len(old) == len(new) else ()


@dataclass(frozen=True, eq=False)
class Compare:
    """Compares tensors of a changed batch with those of the batch itself."""

    record: Record
    change: Change
    axes: Mapping[Value, Axes]
    moved: Movements = field(default_factory=Movements)
    _latest: dict[Value, int] = field(default_factory=dict)

    def call(self, after: CallRecord) -> None:
        """Compares the tensors of one call."""
        self.moved.calls.add(after.key)
        for pair in pairs_of(self.record, after):
            self._compare(*pair)

    def as_read(self, before: Value, after: Value, axes: Axes) -> Movement | None:
        """How far a tensor moved, its axes being read in this way."""
        then, now = before.array.reshape(axes.shape), after.array
        sizes = self._sizes(axes, now.shape)
        if prod(sizes) != now.size:
            return None
        now, real = now.reshape(sizes), axes.real
        places, rows = self.change.rows
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
        return _reduced(difference(then, now), real, axes, rows)

    def _compare(self, before: Value, after: Value) -> None:
        if self._latest.get(before) == after.tensor:
            return
        self._latest[before] = after.tensor
        axes = self.axes[before]
        readings = [axes]
        if not axes.sure and before.array.ndim == 2 and axes.time:
            # `(batch, n)` with n as long as the sequence by chance: features did not
            # go where the positions went.
            features = Axis(axes.axes[1].size)
            readings.append(replace(axes, axes=(axes.axes[0], features)))
        moves = [self.as_read(before, after, reading) for reading in readings]
        known = [move for move in moves if move is not None]
        self.moved.pop(before, None)
        if known:
            self.moved[before] = min(known, key=lambda move: move.size)

    def _sizes(self, axes: Axes, now: tuple[int, ...]) -> list[int]:
        """How long each axis is now, several that lie in one being apart."""
        counts = {len(values) for values in self.change.inputs if values.ndim}
        rows = counts.pop() if len(counts) == 1 else max(map(len, self.change.rows))
        if len(axes.axes) == len(now):
            pairs = zip(axes.axes, now, strict=True)
            return [rows if axis.line == BATCH else size for axis, size in pairs]
        lengths = {**dict(enumerate(self.change.lengths)), BATCH: rows}
        return [lengths.get(axis.line, axis.size) for axis in axes.axes]

    def _back(
        self, now: np.ndarray, axes: Axes, number: int, line: int
    ) -> np.ndarray | None:
        """A tensor with its positions where they were in the batch itself."""
        axis, size = axes.axes[number], now.shape[number]
        where = self.change.where[line]
        if where is None:
            return np.take(now, np.minimum(np.arange(axis.size), size - 1), number)
        timeline, longer = self.change.timelines[line], self.change.lengths[line]
        length = timeline.length
        places = axis.positions(length)
        inside = (places >= 0) & (places < length)
        to = np.take(where, np.clip(places, 0, length - 1), axis=-1)
        if axis.backwards:
            to = longer - 1 - to
        # What stands before or after a sequence stays at its end.
        ends = np.arange(axis.size)
        after = (places >= length) if not axis.backwards else (places < 0)
        ends = np.where(after, size - axis.size + ends, ends)
        to = np.where(inside, to - axis.start, ends)
        if inside.any() and (to[..., inside].max() >= size or to.min() < 0):
            return None
        to = np.clip(to, 0, size - 1)[self.change.rows[1]]
        # Over the axes of the tensor, if all others agree on the positions.
        lines = {a.line: n for n, a in enumerate(axes.axes)}
        over: list[int] = []
        for n, outer in reversed(list(enumerate((BATCH, *timeline.outer)))):
            if outer in lines:
                over.insert(0, lines[outer])
                continue
            first = np.take(to, [0], axis=n)
            if not (to == first).all():
                return None
            to = first.squeeze(n)
        to = spread(to, now.ndim, (*over, number))
        return np.take_along_axis(now, to, number)


def difference(then: np.ndarray, now: np.ndarray) -> np.ndarray:
    """How far each number moved; infinite where one became NaN."""
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
