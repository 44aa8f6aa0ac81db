"""Which axes of a tensor are time, and which of its positions are real."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, pairwise, product
from math import prod
from typing import NamedTuple

import numpy as np

from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value
from keras_padsafe.audit.run.timeline import Timeline

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

    def positions(self, length: int) -> np.ndarray:
        """Which position of a timeline of this length each of its positions is."""
        found = np.arange(self.size) + self.start
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


class Grown(NamedTuple):
    """The shapes of what a call was given and gave, and whether that holds NaN."""

    inputs: list[tuple[int, ...]]
    outputs: list[tuple[int, ...]]
    has_nan: bool


def grown(call: CallRecord) -> Grown:
    """What is kept of a call with more padding."""
    return Grown(
        [value.array.shape for value in call.inputs],
        [value.array.shape for value in call.outputs],
        any(v.is_float and np.isnan(v.array).any() for v in call.outputs),
    )


@dataclass(frozen=True, eq=False)
class ReadAxes:
    """Reads the axes of the tensors of a run.

    An axis is time if it grows as much as the padding does; where no run with more
    padding is known, if it is as long as the sequence.

    Attributes:
        added: How much longer each timeline was in the longer run.
        longer: The shapes of that run; empty if the model takes one length only.
        of: How each tensor is read.
    """

    batch: PaddedBatch
    added: Sequence[int]
    longer: Mapping[Key, Grown]
    of: dict[Value, Axes] = field(default_factory=dict)

    def read(self, record: Record) -> None:
        """Reads the axes of every tensor of a run."""
        # In the order in which calls end, what made an input is read before it.
        for call in record.values():
            given, made, _ = self.longer.get(call.key, ([], [], False))
            for number, value in enumerate(call.inputs):
                self._read(value, given[number : number + 1], None)
            for number, value in enumerate(call.outputs):
                self._read(value, made[number : number + 1], call)

    def others(self, value: Value) -> list[Axes]:
        """How a tensor reads if an axis runs backwards, or begins elsewhere in time."""
        found, (axes, sure) = [], (self.of[value].axes, self.of[value].sure)
        for number, line in self.of[value].time:
            axis = axes[number]
            apart = self._length(line) - axis.size
            starts = range(min(0, apart), max(0, apart) + 1)
            for backwards, start in product((False, True), sorted(starts, key=abs)):
                other = replace(axis, start=start, backwards=backwards)
                if other != axis:
                    read = (*axes[:number], other, *axes[number + 1 :])
                    found.append(Axes(read, sure, self._real(read, value, sure)))
        return found

    def _read(
        self, value: Value, grown: list[tuple[int, ...]], call: CallRecord | None
    ) -> None:
        shape, sure = value.array.shape, False
        if grown and len(grown[0]) == len(shape):
            axes = self._grown(shape, grown[0])
            pairs = zip(shape, grown[0], axes, strict=False)
            sure = len(axes) > len(shape) or all(
                before == after or axis.line >= 0 for before, after, axis in pairs
            )
        elif grown or value not in self.of:
            axes = self._as_long(value, call)
        else:
            return
        self.of[value] = Axes(axes, sure, self._real(axes, value, sure))

    @cached_property
    def _groups(self) -> list[tuple[tuple[int, ...], int, int]]:
        """Axes that may lie in one, with their joint length before and after."""
        lines = self.batch.timelines
        groups = [(n,) for n in range(len(lines))]
        for n, line in enumerate(lines):
            chain = (BATCH, *line.outer, n)
            ends = combinations(range(len(chain) + 1), 2)
            groups += [chain[i:j] for i, j in ends if j - i > 1]
        pairs = zip(lines, self.added, strict=True)
        longer = [line.length + count for line, count in pairs]
        longer.append(self.batch.rows)  # At the place of `BATCH`, the last.
        return [
            (group, prod(map(self._length, group)), prod(longer[n] for n in group))
            for group in dict.fromkeys(groups)
        ]

    def _grown(
        self, shape: tuple[int, ...], grown: tuple[int, ...]
    ) -> tuple[Axis, ...]:
        found: list[Axis] = []
        for number, (before, after) in enumerate(zip(shape, grown, strict=True)):
            if before == after:
                first = number == 0 and before == self.batch.rows
                found.append(Axis(before, BATCH if first else OTHER))
            else:
                found += self._group(before, after)
        return self._with_outer(tuple(found))

    def _group(self, before: int, after: int) -> list[Axis]:
        for group, *lengths in self._groups:
            if lengths == [before, after]:
                return [Axis(self._length(n), n) for n in group]
        for n, count in enumerate(self.added):
            # What was cut off or put before: how much, `place_values` finds.
            if count and after - before == count and before > 1:
                return [Axis(before, n)]
        return [Axis(before)]

    def _length(self, n: int) -> int:
        return self.batch.rows if n == BATCH else self.batch.timelines[n].length

    def _with_outer(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Timelines that did not grow, found by those that lie in them."""
        lines = [axis.line for axis in axes]
        found = list(axes)
        for number, axis in enumerate(axes):
            outer = self.batch.timelines[axis.line].outer if axis.line >= 0 else ()
            before = range(number - 1, 0, -1)
            for place, n in zip(before, reversed(outer), strict=False):
                free = axes[place].line == OTHER and n not in lines
                if free and axes[place].size == self._length(n):
                    found[place] = replace(axes[place], line=n)
        return tuple(found)

    def _as_long(self, value: Value, call: CallRecord | None) -> tuple[Axis, ...]:
        axes = [Axis(size) for size in value.array.shape]
        if not axes or axes[0].size != self.batch.rows:
            return tuple(axes)
        axes[0] = Axis(axes[0].size, BATCH)
        given = [self.of[value] for value in call.inputs] if call else []
        if given and not any(one.time or not one.batch for one in given):
            return tuple(axes)
        sources = [one.axes for one in given]
        known = self._of_input(value)
        if known == [()]:
            return tuple(axes)
        for source in [*known, *sources]:
            timed = [(n, b) for n, b in enumerate(source[: len(axes)]) if b.line >= 0]
            if timed and all(axes[n].size == axis.size for n, axis in timed):
                for n, axis in timed:
                    axes[n] = axis
                return tuple(axes)
        for number, line in enumerate(self.batch.timelines):
            free = [n for n, axis in enumerate(axes) if n and axis == Axis(line.length)]
            if free and not line.outer:
                first = 1 if 1 in free else free[-1]
                # Scores of attention have it twice.
                for n in free if len(axes) > 3 and first > 1 else [first]:
                    axes[n] = Axis(line.length, number)
        return tuple(axes)

    def _of_input(self, value: Value) -> list[tuple[Axis, ...]]:
        """The axes of the input of the model that a tensor is, if it is one.

        Empty ones for an input that is no sequence.
        """
        found: list[tuple[Axis, ...]] = []
        for i, entry in enumerate(self.batch.inputs):
            if np.array_equal(entry.values, value.array):
                places = [line.places.get(i, ()) for line in self.batch.timelines]
                lines = {axis: n for n, axes in enumerate(places) for axis in axes}
                sizes = enumerate(value.array.shape if lines else ())
                found.append(tuple(Axis(s, lines.get(n, OTHER)) for n, s in sizes))
        return found

    def _real(self, axes: tuple[Axis, ...], value: Value, sure: bool) -> np.ndarray:
        real = np.ones((1,) * len(axes), bool)
        lines = {axis.line: number for number, axis in enumerate(axes)}
        if BATCH in lines:
            real = real & spread(self.batch.filled, len(axes), (lines[BATCH],))
        for number, axis in enumerate(axes):
            if axis.line < 0:
                continue
            line = self.batch.timelines[axis.line]
            found = self._real_along(line, axis, set(lines))
            over = [n for n in (BATCH, *line.outer) if n in lines]
            real = real & spread(found, len(axes), (*(lines[n] for n in over), number))
        backwards = any(axis.backwards for axis in axes)
        mask = None if backwards else value.mask
        shape = tuple(axis.size for axis in axes)
        whole = BATCH in lines and shape == value.array.shape
        if mask is None or not whole or mask.shape != shape[: mask.ndim]:
            return real
        if sure and any(map(self._stayed, axes[1 : mask.ndim])):
            return real
        return real & deepened(mask, len(axes))

    def _stayed(self, axis: Axis) -> bool:
        """Whether an axis is as long as a sequence by chance: it did not grow with it.

        A layer may hand on a mask of positions with features of the same number.
        """
        pairs = zip(self.batch.timelines, self.added, strict=True)
        grew = [count > 0 for line, count in pairs if line.length == axis.size]
        return axis.line == OTHER and bool(grew) and all(grew)

    def _real_along(self, line: Timeline, axis: Axis, lines: set[int]) -> np.ndarray:
        """What is real of a timeline, over those of its outer axes that are there."""
        real = line.real
        if BATCH not in lines:
            real = real[self.batch.filled]
        over = [n for n, outer in enumerate((BATCH, *line.outer)) if outer not in lines]
        real = np.asarray(real.any(axis=tuple(over)))
        places = axis.positions(line.length)
        inside = (places >= 0) & (places < line.length)
        taken = np.take(real, np.clip(places, 0, line.length - 1), axis=-1)
        return np.where(inside, taken, True)


def deepened(flags: np.ndarray, rank: int) -> np.ndarray:
    """Flags of the first axes, with an axis of one for each that is left."""
    return flags.reshape(flags.shape + (1,) * (rank - flags.ndim))


def spread(mask: np.ndarray, rank: int, axes: tuple[int, ...]) -> np.ndarray:
    """An array whose axes are some of a tensor's, to broadcast to it."""
    order = np.argsort(axes, kind="stable")
    if any(a > b for a, b in pairwise(axes)):
        mask = mask.transpose(order)
    sizes = [1] * rank
    for axis, size in zip(sorted(axes), mask.shape, strict=True):
        sizes[axis] = size
    return mask.reshape(sizes)
