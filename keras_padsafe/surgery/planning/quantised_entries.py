"""New entries of a quantised array: whole numbers and their scales, made together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from keras_padsafe.archive import encode
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.quantisation import RANGES
from keras_padsafe.surgery.finding.sites import Quantised
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.entries import Entries
from keras_padsafe.surgery.planning.quantise import (
    packed,
    rounded,
    scales_of,
    whole_numbers,
)
from keras_padsafe.surgery.planning.real_numbers import RealNumbers

_Scales = tuple[np.ndarray, np.ndarray | None]


@dataclass(eq=False)
class QuantisedEntries:
    """Makes each new row as for a table of real numbers, then rounds it as Keras does.

    The rows are made anew for the numbers and for each of their scales, since all of
    them may not fit into memory; `make` starts from the same draw each time.

    Attributes:
        make: Gives what makes the real numbers.
        weight: The old ones.
        axis: The axis over the ids: the first or the last.
        how: How whole numbers stand for them.
        count: The number of new ids.
    """

    make: Callable[[], Entries]
    weight: RealNumbers
    axis: int
    how: Quantised
    count: int

    def __post_init__(self) -> None:
        self._stored = lru_cache(1)(self._stored_at)  # for all stretches of new ids

    def blocks(self, lead: int, first: int, count: int) -> Iterator[bytes]:
        """The stored bytes of new entries, as `Entries.blocks` gives them."""
        if self.axis == 0:
            for whole in self._rows(first, count):
                is_packed = self.how.packed is not None
                yield (packed(whole, 1) if is_packed else whole).tobytes()
        else:
            yield self._stored(lead)[first : first + count].tobytes()

    def blocks_of_scales(
        self, change: ArrayChange, lead: int, first: int, count: int
    ) -> Iterator[bytes]:
        """The same of their scales, or of their zeros."""
        scale, zero = self.scales
        chosen = scale if change.fill == "scale" or zero is None else zero
        # Of ids that come first, all groups follow; else a group is a lead.
        of_ids = chosen if change.axis == 0 else chosen[:, lead]
        yield encode(of_ids[first : first + count], change.dtype).tobytes()

    def at(self, lead: int) -> np.ndarray:
        """Whole numbers of all new ids at one place, where ids come last."""
        scale, zero = self.scales
        group = self.weight.groups[lead]
        zeros = None if zero is None else zero[:, group]
        return self._whole(self._real_at(self._entries, lead), scale[:, group], zeros)

    def _stored_at(self, lead: int) -> np.ndarray:
        if self.how.packed is None:
            return self.at(lead)
        places = range(2 * lead, min(2 * lead + 2, self.how.length))
        return packed(np.stack([self.at(place) for place in places]), 0)[0]

    def _rows(self, first: int, count: int) -> Iterator[np.ndarray]:
        """Whole numbers of new rows, `(ids, depth)`, where ids come first."""
        for values in self._entries.values(0, first, count):
            values = rounded(values, self.how.dtype)
            if self.how.shared:
                yield self._within(values)
                continue
            scale, zero = self._scales(values)
            groups = self.weight.groups
            zeros = None if zero is None else zero[:, groups]
            yield self._whole(values, scale[:, groups], zeros)

    @cached_property
    def _entries(self) -> Entries:
        return self.make()

    @cached_property
    def scales(self) -> _Scales:
        """Scales and zeros of all new ids, `(ids, groups)`."""
        entries = self.make()
        if self.axis == 0:
            blocks = entries.values(0, 0, self.count)
            found = [self._scales(rounded(b, self.how.dtype)) for b in blocks]
            zeros = [zero for _, zero in found if zero is not None]
            scale = np.concatenate([scale for scale, _ in found])
            return scale, np.concatenate(zeros) if zeros else None
        shape = (self.count, int(self.weight.groups.max(initial=0)) + 1)
        low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
        for lead, group in enumerate(self.weight.groups.tolist()):
            values = self._real_at(entries, lead)
            low[:, group] = np.minimum(low[:, group], values)
            high[:, group] = np.maximum(high[:, group], values)
        return self._of_ranges(low, high)

    def _real_at(self, entries: Entries, lead: int) -> np.ndarray:
        blocks = entries.values(lead, 0, self.count)
        return rounded(np.concatenate([b[:, 0] for b in blocks]), self.how.dtype)

    def _scales(self, values: np.ndarray) -> _Scales:
        starts = np.flatnonzero(np.diff(self.weight.groups, prepend=-1))
        low = np.minimum.reduceat(values, starts, axis=1)
        return self._of_ranges(low, np.maximum.reduceat(values, starts, axis=1))

    def _of_ranges(self, low: np.ndarray, high: np.ndarray) -> _Scales:
        how = self.how
        if how.block and self.weight.depth % how.block:
            # Keras fills the last group with zeros.
            low[:, -1], high[:, -1] = low[:, -1].clip(max=0), high[:, -1].clip(min=0)
        return scales_of(low, high, how.bits, how.dtype, grouped=how.zero is not None)

    def _whole(
        self, values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
    ) -> np.ndarray:
        return whole_numbers(values, scale, zero, self.how.bits, self.how.dtype)

    def _within(self, values: np.ndarray) -> np.ndarray:
        """Rows that share the scales of old ones, if they are no larger than those."""
        scale, most = self.weight.shared_scale, RANGES[self.how.bits][1]
        if (np.abs(values * scale) >= most + 0.5).any():
            raise SurgeryError(
                f"new_rows: {self.weight.path} is quantised, and new rows share the "
                "scales of its old rows. Received: numbers that are too large for "
                "these scales. Expected: 'mean', or no number larger than the old "
                "ones."
            )
        return self._whole(values, scale, None)
