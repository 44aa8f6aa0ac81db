"""The same batch with more padding, less, on the other side, in other company."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        timelines: The timelines, as they were.
    """

    inputs: tuple[np.ndarray, ...]
    rows: tuple[np.ndarray, np.ndarray]
    where: tuple[np.ndarray | None, ...]
    lengths: tuple[int, ...]
    timelines: tuple[Timeline, ...]

    @property
    def rows_now(self) -> int:
        """How many rows the changed batch has."""
        sizes = {len(v) for v in self.inputs if v.ndim}
        return sizes.pop() if len(sizes) == 1 else max(map(len, self.rows))


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

    @property
    def filled(self) -> np.ndarray:
        """The rows that hold something on every timeline: others have no answer."""
        flat = [line.real.reshape(self.rows, -1) for line in self.timelines]
        return np.all([real.any(1) for real in flat], axis=0)

    def unchanged(self) -> Change:
        """The batch itself."""
        return self._changed(self._values(), (None,) * len(self.timelines))

    def with_more_padding(self, added: Sequence[int]) -> Change:
        """Each timeline longer by so many positions, at the side where padding is."""
        values = list(self._values())
        where: list[np.ndarray | None] = []
        for line, count in zip(self.timelines, added, strict=True):
            shift = count if line.padded_left else 0
            positions = np.arange(line.length) + shift
            where.append(np.broadcast_to(positions, line.padding.shape))
            if not count:
                continue
            place = tuple(map(int, np.argwhere(line.padding)[0]))
            sides = (count, 0) if line.padded_left else (0, count)
            for i, axes in line.places.items():
                for axis in axes:
                    filler = self._filler(i, line, place, axis)
                    values[i] = _extended(values[i], axis, sides, filler)
        lengths = [
            line.length + count
            for line, count in zip(self.timelines, added, strict=True)
        ]
        return self._changed(values, where, lengths)

    def with_less_padding(self, row: int, only: int | None = None) -> Change | None:
        """Without the positions that are padding in every row.

        Args:
            row: Where no position is, this row alone is taken.
            only: The one timeline that is to be shortened; by default all are.

        Returns:
            The changed batch; `None` if the model makes the padding itself.
        """
        chosen = [
            line for n, line in enumerate(self.timelines) if only is None or n == only
        ]
        if not all(line.members for line in chosen):
            return None
        every = np.arange(self.rows)
        if all(_used(line, every).all() for line in chosen):
            every = np.array([row])
        change = self._of_rows(every, (np.arange(len(every)), every))
        values, lengths, where = list(change.inputs), [], []
        for line in self.timelines:
            kept = np.arange(line.length)
            if line in chosen:
                kept = np.flatnonzero(_used(line, every))
            for i, axes in line.places.items():
                for axis in axes:
                    values[i] = np.take(values[i], kept, axis)
            place = np.searchsorted(kept, np.arange(line.length))
            place = np.minimum(place, kept.size - 1)
            where.append(np.broadcast_to(place, line.padding.shape))
            lengths.append(kept.size)
        return replace(
            change, inputs=tuple(values), where=tuple(where), lengths=tuple(lengths)
        )

    def with_padding_on_the_other_side(self) -> Change:
        """Each row with its padding moved to the other end."""
        values = list(self._values())
        where: list[np.ndarray | None] = []
        # The inner ones first: an outer one takes them with it.
        for line in reversed(self.timelines):
            first = line.padding if line.padded_left else line.real
            order = np.argsort(first, axis=-1, kind="stable")
            for i, axes in line.places.items():
                for axis in axes:
                    index = _along(order, values[i].ndim, axis)
                    values[i] = np.take_along_axis(values[i], index, axis)
            where.append(np.argsort(order, axis=-1, kind="stable"))
        return self._changed(values, where[::-1])

    def with_other_mates(self) -> Change:
        """Every other row, in another place, between rows turned about."""
        every = np.arange(self.rows)
        if self.rows == 1:
            return self._beside_itself()
        stays = every % 2 == 0
        values = [
            _turned(v, stays, self._line_of(i))[::-1]
            if v.shape[:1] == (self.rows,)
            else v
            for i, v in enumerate(self._values())
        ]
        kept = every[stays]
        places = self.rows - 1 - kept
        return replace(self._changed(values), rows=(places, kept))

    def _beside_itself(self) -> Change:
        """The only row, and below it the same one turned about."""
        values = [
            np.concatenate([v, _turned(v, np.zeros(1, bool), self._line_of(i))])
            if v.shape[:1] == (1,)
            else v
            for i, v in enumerate(self._values())
        ]
        first = np.array([0])
        return replace(self._changed(values), rows=(first, first))

    def alone(self, row: int) -> Change:
        """One row without the others, its padding as it is."""
        return self._of_rows(np.array([row]), (np.array([0]), np.array([row])))

    def with_other_ids(self, random: np.random.Generator) -> Change | None:
        """Other ids behind the padding; `None` if that would make them real."""
        values = list(self._values())
        changed = False
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
        return self._changed(values) if changed else None

    def _values(self) -> tuple[np.ndarray, ...]:
        return tuple(entry.values for entry in self.inputs)

    def _changed(
        self,
        values: Sequence[np.ndarray],
        where: Sequence[np.ndarray | None] = (),
        lengths: Sequence[int] = (),
    ) -> Change:
        every = np.arange(self.rows)
        return Change(
            tuple(values),
            (every, every),
            tuple(where) or (None,) * len(self.timelines),
            tuple(lengths) or tuple(line.length for line in self.timelines),
            self.timelines,
        )

    def _of_rows(
        self, rows: np.ndarray, compared: tuple[np.ndarray, np.ndarray]
    ) -> Change:
        values = [
            values[rows] if values.shape[:1] == (self.rows,) else values
            for values in self._values()
        ]
        return replace(self._changed(values), rows=compared)

    def _line_of(self, i: int) -> Timeline | None:
        return next((line for line in self.timelines if i in line.members), None)

    def _filler(
        self, i: int, line: Timeline, place: tuple[int, ...], axis: int
    ) -> np.ndarray:
        """What an input holds where padding is, with `axis` cut out."""
        values = self.inputs[i].values
        if i in line.masks:
            return np.zeros((), values.dtype)
        inside = place[: axis + 1] if axis + 1 == len(place) else (0, 0)
        return np.asarray(values[inside])


def _used(line: Timeline, rows: np.ndarray) -> np.ndarray:
    """Which positions of a timeline are real in some row."""
    return np.asarray(line.real[rows].reshape(-1, line.length).any(0))


def _extended(
    values: np.ndarray, axis: int, sides: tuple[int, int], filler: np.ndarray
) -> np.ndarray:
    shape = list(values.shape)
    parts = [values]
    for side, count in enumerate(sides):
        shape[axis] = count
        rest = np.moveaxis(np.empty(shape, values.dtype), axis, 1)
        rest[...] = filler
        part = np.moveaxis(rest, 1, axis)
        parts = [*parts, part] if side else [part, *parts]
    return np.concatenate(parts, axis)


def _along(order: np.ndarray, ndim: int, axis: int) -> np.ndarray:
    shape = [1] * ndim
    shape[: order.ndim - 1], shape[axis] = order.shape[:-1], order.shape[-1]
    return order.reshape(shape)


def _turned(values: np.ndarray, stays: np.ndarray, line: Timeline | None) -> np.ndarray:
    """Rows that do not stay are replaced by others, read from end to start."""
    if values.shape[:1] != stays.shape:
        return values
    others = np.roll(values, 1, axis=0)
    if line is not None and values.ndim > 1 and values.shape[1] == line.length:
        others = others[:, ::-1]
    keep = stays.reshape((-1,) + (1,) * (values.ndim - 1))
    return np.where(keep, values, others)
