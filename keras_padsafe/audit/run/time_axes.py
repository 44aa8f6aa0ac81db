"""Which axes of a tensor are time, and which of its positions are real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from math import prod

import numpy as np

from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value
from keras_padsafe.audit.run.timeline import Input, Timeline

BATCH, OTHER = -1, -2


@dataclass(frozen=True)
class Axis:
    """What one axis of a tensor is.

    Attributes:
        size: How long it is.
        line: The number of its timeline; `BATCH`, or `OTHER` for anything else.
        start: The position of the timeline that it begins with: above zero where some
            were cut off, below where something stands before them.
        backwards: Whether its last position is the first of the timeline.
    """

    size: int
    line: int = OTHER
    start: int = 0
    backwards: bool = False

    def positions(self, size: int, length: int) -> np.ndarray:
        """The position of the timeline that each of its positions is.

        Args:
            size: How long it is, now.
            length: How long the timeline is, now.
        """
        found = np.arange(size) + self.start
        return length - 1 - found if self.backwards else found


@dataclass(frozen=True, eq=False)
class Axes:
    """How the axes of a tensor are read.

    Attributes:
        axes: What each axis is; one that holds several, one in the other, is given as
            those.
        sure: Whether time was seen to grow, and nothing else grew; if not, an axis may
            only be as long as a sequence.
        real: Bools that broadcast to the tensor, its axes apart, True where it is real.
    """

    axes: tuple[Axis, ...]
    sure: bool
    real: np.ndarray

    @property
    def batch(self) -> bool:
        """Whether the first axis is that of the batch."""
        return bool(self.axes) and self.axes[0].line == BATCH

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape with all axes apart."""
        return tuple(axis.size for axis in self.axes)

    @property
    def time(self) -> tuple[tuple[int, int], ...]:
        """The axes that are time, and of which timeline."""
        return tuple((n, a.line) for n, a in enumerate(self.axes) if a.line >= 0)

    @property
    def padded(self) -> np.ndarray | None:
        """Where padding is, on the first axes; `None` if nowhere, or in whole rows."""
        told = [n for n, size in enumerate(self.real.shape) if size > 1]
        if not told or told == [0] or self.real.all():
            return None
        last = told[-1] + 1
        flags = ~self.real.reshape(self.real.shape[:last])
        return np.broadcast_to(flags, self.shape[:last])


@dataclass(frozen=True)
class Grown:
    """What is kept of a call with more padding.

    Attributes:
        inputs: The shapes of what it was given.
        outputs: The shapes of what it gave.
        has_nan: Whether that holds NaN.
    """

    inputs: list[tuple[int, ...]]
    outputs: list[tuple[int, ...]]
    has_nan: bool


def grown(call: CallRecord) -> Grown:
    """The shapes of a call."""
    return Grown(
        [value.array.shape for value in call.inputs],
        [value.array.shape for value in call.outputs],
        any(v.is_float and np.isnan(v.array).any() for v in call.outputs),
    )


class ReadAxes:
    """Reads the axes of the tensors of a run.

    An axis is time if it grows as much as the padding does; where no run with more
    padding is known, if it is as long as the sequence.

    Args:
        inputs: The arrays of the batch.
        timelines: The sequences of the batch.
        filled: The rows that hold something.
        added: How much longer each timeline was in the longer run.
        longer: The shapes of that run; empty if the model takes one length only.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        timelines: Sequence[Timeline],
        filled: np.ndarray,
        added: Sequence[int],
        longer: Mapping[Key, Grown],
    ) -> None:
        self._inputs = inputs
        self._timelines = timelines
        self._filled = filled
        self._added = added
        self._longer = longer
        self._groups = self._measure_groups()
        self.of: dict[Value, Axes] = {}

    def read(self, record: Record) -> None:
        """Reads the axes of every tensor of a run."""
        # In the order in which calls end, what made an input is read before it.
        for call in record.values():
            then = self._longer.get(call.key, Grown([], [], False))
            for value, shape in zip_longest(call.inputs, then.inputs):
                if value is not None:
                    self._read(value, shape, None)
            for value, shape in zip_longest(call.outputs, then.outputs):
                if value is not None:
                    self._read(value, shape, call)

    def placed(self, value: Value, axes: tuple[Axis, ...], sure: bool) -> Axes:
        """The reading of a tensor whose axes are known."""
        return Axes(axes, sure, self._real(axes, value, sure))

    def _read(
        self, value: Value, grown: tuple[int, ...] | None, call: CallRecord | None
    ) -> None:
        if value in self.of and grown is None:
            return
        shape = value.array.shape
        if grown is not None and len(grown) == len(shape):
            axes = self._grown(shape, grown)
            pairs = zip(shape, grown, strict=True)
            explained = len(axes) > len(shape) or all(
                a == b or axis.line >= 0
                for (a, b), axis in zip(pairs, axes, strict=True)
            )
            self.of[value] = self.placed(value, axes, explained)
        else:
            axes = self._as_long(value, call)
            self.of[value] = self.placed(value, axes, False)

    def _measure_groups(self) -> list[tuple[tuple[int, ...], int, int]]:
        """Axes that may lie in one, with their joint length before and after."""
        rows = len(self._filled)
        lengths = {BATCH: (rows, rows)}
        for n, line in enumerate(self._timelines):
            lengths[n] = (line.length, line.length + self._added[n])
        groups: list[tuple[int, ...]] = [(n,) for n in range(len(self._timelines))]
        for n, line in enumerate(self._timelines):
            chain = (BATCH, *line.outer, n)
            groups += [
                chain[i:j]
                for i in range(len(chain))
                for j in range(i + 2, len(chain) + 1)
            ]
        groups = list(dict.fromkeys(groups))
        return [
            (
                group,
                prod(lengths[n][0] for n in group),
                prod(lengths[n][1] for n in group),
            )
            for group in groups
        ]

    def _grown(
        self, shape: tuple[int, ...], grown: tuple[int, ...]
    ) -> tuple[Axis, ...]:
        found: list[Axis] = []
        for number, (before, after) in enumerate(zip(shape, grown, strict=True)):
            if before == after:
                first = number == 0 and before == len(self._filled)
                found.append(Axis(before, BATCH if first else OTHER))
            else:
                found += self._group(before, after)
        return self._with_outer(tuple(found))

    def _group(self, before: int, after: int) -> list[Axis]:
        for group, then, now in self._groups:
            if (then, now) == (before, after) and then != now:
                return [Axis(self._length(n), n) for n in group]
        for n, count in enumerate(self._added):
            # What was cut off or put before: how much, `place_values` finds.
            if count and after - before == count and before > 1:
                return [Axis(before, n)]
        return [Axis(before)]

    def _length(self, n: int) -> int:
        return len(self._filled) if n == BATCH else self._timelines[n].length

    def _with_outer(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Timelines that did not grow, found by those that lie in them."""
        lines = [axis.line for axis in axes]
        found = list(axes)
        for number, axis in enumerate(axes):
            outer = self._timelines[axis.line].outer if axis.line >= 0 else ()
            for back, n in enumerate(reversed(outer)):
                place = number - 1 - back
                fits = place > 0 and axes[place].line == OTHER and n not in lines
                if fits and axes[place].size == self._timelines[n].length:
                    found[place] = replace(axes[place], line=n)
        return tuple(found)

    def _as_long(self, value: Value, call: CallRecord | None) -> tuple[Axis, ...]:
        shape = value.array.shape
        axes = [Axis(size) for size in shape]
        if not shape or shape[0] != len(self._filled):
            return tuple(axes)
        axes[0] = Axis(shape[0], BATCH)
        sources = [self.of[given].axes for given in call.inputs] if call else []
        if call and call.inputs and not any(_may_have_time(axes) for axes in sources):
            return tuple(axes)
        known = self._of_input(value)
        if known == [()]:
            return tuple(axes)
        for source in [*known, *sources]:
            pairs = list(zip(axes, source, strict=False))
            timed = [n for n, (_, b) in enumerate(pairs) if b.line >= 0]
            if timed and all(pairs[n][0].size == pairs[n][1].size for n in timed):
                for n in timed:
                    axes[n] = pairs[n][1]
                return tuple(axes)
        for n, line in enumerate(self._timelines):
            places = [a for a in range(1, len(shape)) if shape[a] == line.length]
            free = [a for a in places if axes[a].line == OTHER]
            if free and not line.outer:
                chosen = 1 if 1 in free else free[-1]
                axes[chosen] = Axis(shape[chosen], n)
                if len(shape) > 3 and chosen > 1:
                    for a in free:
                        axes[a] = Axis(shape[a], n)
        return tuple(axes)

    def _of_input(self, value: Value) -> list[tuple[Axis, ...]]:
        """The axes of the input of the model that a tensor is, if it is one.

        Empty ones for an input that is no sequence.
        """
        found: list[tuple[Axis, ...]] = []
        for i, entry in enumerate(self._inputs):
            lines = [n for n, line in enumerate(self._timelines) if i in line.places]
            same = entry.values.shape == value.array.shape
            if same and np.array_equal(entry.values, value.array):
                if not lines:
                    found.append(())
                    continue
                axes = [Axis(size) for size in entry.values.shape]
                for n in lines:
                    for axis in self._timelines[n].places[i]:
                        axes[axis] = Axis(axes[axis].size, n)
                found.append(tuple(axes))
        return found

    def _real(self, axes: tuple[Axis, ...], value: Value, sure: bool) -> np.ndarray:
        real = np.ones((1,) * len(axes), bool)
        lines = {axis.line: number for number, axis in enumerate(axes)}
        if BATCH in lines:
            real = real & _placed(self._filled, len(axes), (lines[BATCH],))
        for number, axis in enumerate(axes):
            if axis.line < 0:
                continue
            line = self._timelines[axis.line]
            found = self._real_along(line, axis, set(lines))
            over = [n for n in (BATCH, *line.outer) if n in lines]
            real = real & _placed(found, len(axes), (*(lines[n] for n in over), number))
        backwards = any(axis.backwards for axis in axes)
        carried = None if backwards else value.mask
        shape = tuple(axis.size for axis in axes)
        whole = BATCH in lines and shape == value.array.shape
        if (
            carried is not None
            and whole
            and carried.shape == shape[: carried.ndim]
            and not (sure and any(map(self._stayed, axes[1 : carried.ndim])))
        ):
            real = real & _placed(carried, len(axes), tuple(range(carried.ndim)))
        return real

    def _stayed(self, axis: Axis) -> bool:
        """Whether an axis is as long as a sequence by chance: it did not grow with it.

        A layer may hand on a mask of positions with features of the same number.
        """
        pairs = zip(self._timelines, self._added, strict=True)
        grew = [count > 0 for line, count in pairs if line.length == axis.size]
        return axis.line == OTHER and bool(grew) and all(grew)

    def _real_along(self, line: Timeline, axis: Axis, lines: set[int]) -> np.ndarray:
        """What is real of a timeline, over those of its outer axes that are there."""
        real = line.real
        if BATCH not in lines:
            real = real[self._filled]
        over = [n for n, outer in enumerate((BATCH, *line.outer)) if outer not in lines]
        real = np.asarray(real.any(axis=tuple(over)))
        places = axis.positions(axis.size, line.length)
        inside = (places >= 0) & (places < line.length)
        taken = np.take(real, np.clip(places, 0, line.length - 1), axis=-1)
        return np.where(inside, taken, True)


def deepened(flags: np.ndarray, rank: int) -> np.ndarray:
    """Flags of the first axes, with an axis of one for each that is left."""
    return flags.reshape(flags.shape + (1,) * (rank - flags.ndim))


def _may_have_time(axes: tuple[Axis, ...]) -> bool:
    return any(a.line >= 0 for a in axes) or not (axes and axes[0].line == BATCH)


def _placed(mask: np.ndarray, rank: int, axes: tuple[int, ...]) -> np.ndarray:
    """A mask whose axes are some of a tensor's, to broadcast to it."""
    order = np.argsort(axes, kind="stable")
    if any(a > b for a, b in pairwise(axes)):
        mask = mask.transpose(order)
    sizes = [1] * rank
    for axis, size in zip(sorted(axes), mask.shape, strict=True):
        sizes[axis] = size
    return mask.reshape(sizes)
