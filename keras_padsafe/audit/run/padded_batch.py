"""The same batch with more padding, less, on the other side, in other company."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from keras_padsafe.audit.run.find_timelines import pad_ids
from keras_padsafe.audit.run.timeline import Input, Timeline


@dataclass(frozen=True, eq=False)
class Change:
    """A batch that asks the same questions in another way.

    Attributes:
        inputs: The arrays of the batch, changed.
        rows: For each row that is compared, its number here and in the batch itself.
        where: For each timeline, where each of its positions is now: an array
            of positions, shaped as its padding; `None` where they stayed.
        lengths: How many positions each timeline has now.
    """

    inputs: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, np.ndarray]
    where: tuple[np.ndarray | None, ...]
    lengths: tuple[int, ...]
    timelines: tuple[Timeline, ...]


@dataclass(frozen=True, eq=False)
class PaddedBatch:
    """The arrays of a batch, and what of them is padding."""

    inputs: tuple[Input, ...]
    timelines: tuple[Timeline, ...]
    pad_id: object

    @property
    def rows(self) -> int:
        """How many rows the batch has."""
        return self.timelines[0].padding.shape[0]

    @cached_property
    def filled(self) -> np.ndarray:
        """The rows that hold something on every timeline: others have no answer."""
        flat = [line.real.reshape(self.rows, -1) for line in self.timelines]
        return np.all([real.any(1) for real in flat], axis=0)

    @property
    def most_padded(self) -> int:
        """The row with most padding, of those that hold something."""
        shares = [
            line.padding.reshape(self.rows, -1).mean(1) for line in self.timelines
        ]
        return int(np.argmax(np.where(self.filled, np.sum(shares, 0), -1.0)))

    def unchanged(self) -> Change:
        """The batch itself."""
        every = np.arange(self.rows)
        return Change(
            tuple(entry.values for entry in self.inputs),
            (every, every),
            (None,) * len(self.timelines),
            tuple(line.length for line in self.timelines),
            self.timelines,
        )

    def with_more_padding(self, added: Sequence[int]) -> Change:
        """Each timeline longer by so many positions, at the side where padding is."""
        pairs = zip(self.timelines, added, strict=True)
        spans = [(-n if line.padded_left else 0, line.length + n) for line, n in pairs]
        taken = [np.arange(start, start + size) for start, size in spans]
        return self._taken(self.unchanged(), taken)

    def with_less_padding(self, row: int, only: int | None = None) -> Change | None:
        """Without the positions that are padding in every row, on one timeline or all.

        Where there are none, one row alone is taken. `None` if the model makes the
        padding itself.
        """
        chosen = [n for n in range(len(self.timelines)) if only in (None, n)]
        if not all(self.timelines[n].members for n in chosen):
            return None
        change = self.unchanged()
        if all(_used(self.timelines[n]).all() for n in chosen):
            change = self.alone(row)
        taken: list[np.ndarray | None] = [None] * len(self.timelines)
        for n in chosen:
            taken[n] = np.flatnonzero(_used(self.timelines[n], change.rows[1]))
        return self._taken(change, taken)

    def with_padding_on_the_other_side(self) -> Change:
        """Each row with its padding moved to the other end."""
        sides = [li.padding if li.padded_left else li.real for li in self.timelines]
        orders = [np.argsort(first, axis=-1, kind="stable") for first in sides]
        return self._taken(self.unchanged(), orders)

    def _taken(self, change: Change, taken: Sequence[np.ndarray | None]) -> Change:
        """A batch with other positions on its timelines.

        Taken are positions in order, padding where there is none of that number; or
        another order for each row. `None` leaves a timeline alone.
        """
        values, where = list(change.inputs), list(change.where)
        lengths = list(change.lengths)
        # The inner ones first: an outer one takes them with it.
        for n in reversed(range(len(taken))):
            line, index = self.timelines[n], taken[n]
            if index is None:
                continue
            for i, axes in line.places.items():
                for axis in axes:
                    values[i] = _take(values[i], index, axis, line, i in line.masks)
            now = np.argsort(index, axis=-1, kind="stable")
            if index.ndim == 1:  # What is cut off is where its neighbour is.
                now = np.searchsorted(index, np.arange(line.length))
            lengths[n] = index.shape[-1]
            now = np.minimum(now, lengths[n] - 1)
            where[n] = np.broadcast_to(now, line.padding.shape)
        return replace(
            change, inputs=tuple(values), where=tuple(where), lengths=tuple(lengths)
        )

    def with_other_mates(self) -> Change:
        """Every other row, in another place, between rows turned about."""
        if self.rows == 1:
            first = np.array([0])
            return self._of_rows(
                lambda v, i: np.concatenate([v, self._turned(v, i)]), (first, first)
            )
        every = np.arange(self.rows)
        stays = every % 2 == 0

        def mixed(values: np.ndarray, i: int) -> np.ndarray:
            keep = stays.reshape((-1,) + (1,) * (values.ndim - 1))
            return np.where(keep, values, self._turned(values, i))[::-1]

        return self._of_rows(mixed, ((self.rows - 1 - every)[stays], every[stays]))

    def alone(self, row: int) -> Change:
        """One row without the others, its padding as it is."""
        return self._of_rows(lambda v, _: v[[row]], (np.array([0]), np.array([row])))

    def with_other_ids(self, random: np.random.Generator) -> Change | None:
        """Other ids behind the padding; `None` if that would make them real."""
        change = self.unchanged()
        values, changed = list(change.inputs), False
        for line in self.timelines:
            for i in line.members:
                entry = self.inputs[i]
                shaped = entry.values.shape == line.padding.shape
                if i in line.masks or not entry.is_integer or not shaped:
                    continue
                choices = entry.values[line.real]
                if not line.held:
                    choices = pad_ids(self.pad_id, entry.name)
                if np.unique(choices).size > 1:
                    drawn = random.choice(choices, entry.values.shape)
                    drawn = drawn.astype(entry.values.dtype)
                    values[i] = np.where(line.padding, drawn, entry.values)
                    changed |= bool((values[i] != entry.values).any())
        return replace(change, inputs=tuple(values)) if changed else None

    def _of_rows(
        self,
        function: Callable[[np.ndarray, int], np.ndarray],
        rows: tuple[np.ndarray, np.ndarray],
    ) -> Change:
        change = self.unchanged()
        values = [
            function(v, i) if v.shape[:1] == (self.rows,) else v
            for i, v in enumerate(change.inputs)
        ]
        return replace(change, inputs=tuple(values), rows=rows)

    def _turned(self, values: np.ndarray, i: int) -> np.ndarray:
        """In place of each row another one, read from end to start."""
        others = np.roll(values, 1, axis=0)
        lines = [line for line in self.timelines if i in line.members]
        if lines and values.ndim > 1 and values.shape[1] == lines[0].length:
            others = others[:, ::-1]
        return others


def _used(line: Timeline, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Which positions of a timeline are real in some row."""
    return np.asarray(line.real[rows].reshape(-1, line.length).any(0))


def _take(
    values: np.ndarray, index: np.ndarray, axis: int, line: Timeline, mask: bool
) -> np.ndarray:
    """Positions of an axis; where there is none, what stands where padding is."""
    if index.ndim > 1:
        shape = [1] * values.ndim
        shape[: index.ndim - 1], shape[axis] = index.shape[:-1], index.shape[-1]
        return np.take_along_axis(values, index.reshape(shape), axis)
    outside = (index < 0) | (index >= values.shape[axis])
    taken = np.moveaxis(np.take(values, np.where(outside, 0, index), axis), axis, 1)
    if outside.any():
        place = tuple(np.argwhere(line.padding)[0])
        inside = place if axis + 1 == len(place) else (0, 0)
        taken[:, outside] = 0 if mask else values[inside]
    return np.moveaxis(taken, 1, axis)
