"""Makes the new entries of one array, block by block."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from keras_padsafe.archive import encode
from keras_padsafe.surgery.planning.column_statistics import (
    BLOCK_VALUES,
    ColumnStatistics,
    Weight,
    entries_of,
)
from keras_padsafe.surgery.planning.new_rows import NewRows

_MIXED = 64
_MIXED_AT_ONCE = 32
_MIXES_KEPT = 4096  # of about 1 KiB each


@dataclass
class Entries:
    """The new entries of one array along one axis, made block by block.

    The array is seen as `(lead, ids, trail)`, with the axis of ids in the middle.

    Attributes:
        new_rows: How to make them.
        weight: The array whose statistics count.
        axis: Its axis over the ids.
        start: Where on it they begin.
        size: How many there are.
        dtype: The data type to store.
        takes_mean: Whether they are the mean for every choice but zeros and mixes.
        spare_value: What the entry of a spare row is.
        spare: Which of the new entries, by number, are of spare rows.
        left_out: Old entries that take no part: those of spare rows.
    """

    new_rows: NewRows
    weight: Weight
    axis: int
    start: int
    size: int
    dtype: str
    takes_mean: bool
    spare_value: float
    spare: np.ndarray
    left_out: np.ndarray

    def __post_init__(self) -> None:
        kind = self.new_rows.kind
        takes_mean = self.takes_mean and kind not in ("zeros", "mix")
        self._kind = "mean" if takes_mean else kind
        self._trail = math.prod(self.weight.shape[self.axis + 1 :])
        place = [
            zlib.crc32(self.weight.path.encode()),
            *([self.start] * (self.start > 0)),
        ]
        self._generator = np.random.default_rng([self.new_rows.seed, *place])
        # The same for each place along the axes before that of ids.
        self._mix = lru_cache(_MIXES_KEPT)(self._made_of)
        self.statistics = None
        if self._kind not in ("zeros", "constant"):
            self.statistics = ColumnStatistics(
                self.weight,
                self.axis,
                self.start,
                self.start + self.size,
                deviation=self._kind == "normal",
                left_out=self.left_out,
            )

    def blocks(self, lead: int, first: int, count: int) -> Iterator[bytes]:
        """The stored bytes of `count` new entries, the `first`-th of all new ones on.

        Must be called in the order of the file: a draw goes on where the last ended.
        """
        for values in self.values(lead, first, count):
            yield encode(values, self.dtype).tobytes()

    def values(self, lead: int, first: int, count: int) -> Iterator[np.ndarray]:
        """The same as numbers, in blocks `(ids, trail)`."""
        step = max(1, BLOCK_VALUES // max(1, self._trail))
        if self._kind in ("covariance", "mix") and self.axis == 0:
            step = min(step, _MIXED_AT_ONCE)  # Whole rows of the table are read.
        for start in range(0, count, step):
            rows = min(step, count - start)
            yield self._with_spare(lead, first + start, rows)

    def _with_spare(self, lead: int, first: int, rows: int) -> np.ndarray:
        """New entries; those of spare rows are not counted among the others."""
        low, high = np.searchsorted(self.spare, (first, first + rows))
        if low == high:
            return self._values(lead, first - int(low), rows)
        values = np.full((rows, self._trail), self.spare_value)
        real = np.delete(np.arange(rows), self.spare[low:high] - first)
        if real.size:
            values[real] = self._values(lead, first - int(low), len(real))
        return values

    def _values(self, lead: int, first: int, rows: int) -> np.ndarray:
        shape = (rows, self._trail)
        if self._kind == "zeros":
            return np.zeros(shape)
        if self._kind == "constant":
            return np.full(shape, self.new_rows.value)
        if self._kind in ("covariance", "mix"):
            return self._mixed(lead, first, rows)
        assert self.statistics is not None
        mean, deviation = self.statistics.of(lead)
        values = np.broadcast_to(mean, shape).copy()
        if self._kind == "normal":
            values += deviation * self._generator.standard_normal(shape)
        has_columns = self.axis == 0 and len(self.weight.shape) > 1
        if self._kind == "rows" and has_columns and self.new_rows.rows is not None:
            given = self.new_rows.rows[first : first + rows]
            values[: len(given)] = given
        return values

    def _mixed(self, lead: int, first: int, rows: int) -> np.ndarray:
        """Sums of old entries by weights, the rest of the weight on their mean."""
        made = np.empty((rows, self._trail))
        mixes = [self._mix(first + row) for row in range(rows)]
        needed = np.unique(np.concatenate([ids for ids, _ in mixes])).astype(np.int64)
        old = np.empty((0, self._trail))
        if needed.size:
            places = needed + self.start
            old = entries_of(self.weight, self.axis, lead, places)
        assert self.statistics is not None
        mean, _ = self.statistics.of(lead)
        for row, (ids, weights) in enumerate(mixes):
            rest = 1.0 - weights.sum()
            made[row] = rest * mean if rest else 0.0
            made[row] += weights @ old[np.searchsorted(needed, ids)]
        return made

    @cached_property
    def _real(self) -> np.ndarray:
        """The old entries that take part, by number."""
        return np.delete(np.arange(self.size), self.left_out)

    def _made_of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The old ids that the new entry of this number is made of, and weights."""
        if self._kind == "mix":
            mixes = self.new_rows.mix or ()
            ids = np.array(mixes[number] if number < len(mixes) else (), np.int64)
            return ids, np.full(len(ids), 1 / max(len(ids), 1))
        generator = np.random.default_rng([self.new_rows.seed, number])
        size = len(self._real)
        signs = generator.choice([-1.0, 1.0], _MIXED)
        # Over n rows the covariance is divided by n - 1, a draw of one of them by n.
        unbiased = math.sqrt(size / max(size - 1, 1) / _MIXED)
        ids = self._real[generator.integers(0, size, _MIXED)]
        return ids, signs * self.new_rows.value * unbiased
