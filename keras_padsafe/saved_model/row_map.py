"""Where each new id comes from: the one description of every change of ids."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from functools import cached_property

import numpy as np

from keras_padsafe.arguments import MAX_IDS
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import is_count, shortly

NEW = -1
# A plan can come from anywhere, and every new id takes memory.
_MOST_PER_OLD_ID, _MOST_NEW_IDS = 8, 1 << 22


def check_size(size: int, what: str) -> None:
    """Refuses a number of ids for which there would be no memory."""
    if not is_count(size) or size > MAX_IDS:
        raise SurgeryError(
            f"row_map: received {shortly(size)} {what}. Expected: at most {MAX_IDS}."
        )


def check_new_size(size: int, old_size: int) -> None:
    """Refuses more new ids than anyone means to add to so many old ones."""
    check_size(size, "new ids")
    if size > _MOST_PER_OLD_ID * old_size + _MOST_NEW_IDS:
        raise SurgeryError(
            f"row_map: received {size} new ids for {old_size} old ones. Expected: at "
            f"most {_MOST_PER_OLD_ID} for each, and {_MOST_NEW_IDS} beside."
        )


def _vector(ids: Iterable[int] | np.ndarray) -> np.ndarray:
    if isinstance(ids, np.ndarray):
        return ids
    if isinstance(ids, Sized):
        check_size(len(ids), "new ids")
    try:
        if isinstance(ids, Mapping | Set):
            raise TypeError
        return np.asarray(list(ids))
    except (TypeError, ValueError, OverflowError):
        raise SurgeryError(
            f"row_map: received {shortly(ids)}. Expected: a vector of integers, the "
            "old id of each new id or -1 for a new row."
        ) from None


class RowMap:
    """For each new id the old id that it comes from, or -1 for a new row.

    Append, insert, permute, trim and merge are all row maps.

    Args:
        ids: The old id of each new id, a vector of integers.
        old_size: The number of old ids.

    Example:

    >>> from keras_padsafe.saved_model.row_map import RowMap
    >>> grown = RowMap([0, 1, 2, -1], old_size=3)
    >>> grown.new_ids.tolist()
    [3]
    >>> grown.inverse().ids.tolist()
    [0, 1, 2]
    """

    def __init__(self, ids: Iterable[int] | np.ndarray, old_size: int) -> None:
        values = _vector(ids)
        if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iu":
            raise SurgeryError(
                "row_map: expected a vector of integers, the old id of each new id or "
                f"-1 for a new row; received {values.dtype} of shape {values.shape}."
            )
        check_size(old_size, "old ids")
        check_new_size(values.size, old_size)
        # Before the cast, which would make a huge unsigned number a new row.
        wrong = np.flatnonzero((values < NEW) | (values >= old_size))
        if wrong.size:
            raise SurgeryError(
                f"row_map: new id {wrong[0]} is to come from old id "
                f"{values[wrong[0]]}, and there are {old_size} old ids. Expected: 0 to "
                f"{old_size - 1}, or -1 for a new row."
            )
        self._lay(values.astype(np.int64), np.ones(values.size, np.int64), old_size)

    def _lay(self, starts: np.ndarray, counts: np.ndarray, old_size: int) -> None:
        """Keeps stretches of ids; those that follow one another become one."""
        ends = np.where(starts == NEW, NEW, starts + counts)
        first = np.flatnonzero(np.append(True, starts[1:] != ends[:-1]))
        self.old_size = old_size
        self._starts, self._counts = starts[first], np.add.reduceat(counts, first)
        self._ends = np.cumsum(self._counts)

    def of(self, new: Sequence[int] | np.ndarray) -> np.ndarray:
        """The old ids of some new ones, without writing out all of them."""
        places = np.asarray(new, np.int64)
        run = np.searchsorted(self._ends, places, side="right")
        start, first = self._starts[run], (self._ends - self._counts)[run]
        return np.where(start == NEW, NEW, start + places - first)

    @cached_property
    def ids(self) -> np.ndarray:
        """The old id of each new id; written out only once somebody looks."""
        return self.of(np.arange(self.size))

    @classmethod
    def append(cls, old_size: int, rows: int) -> "RowMap":
        """The map that adds `rows` new ids at the end."""
        kept = np.arange(old_size, dtype=np.int64)
        return cls(np.concatenate([kept, np.full(rows, NEW, np.int64)]), old_size)

    @property
    def size(self) -> int:
        """The number of new ids."""
        return int(self._ends[-1])

    @property
    def is_append(self) -> bool:
        """Whether every old id stays what it is, and new ones follow."""
        stays = (self._starts[0], self._counts[0]) == (0, self.old_size)
        return bool(stays) and self._starts[1:].tolist() in ([], [NEW])

    @property
    def moves_ids(self) -> bool:
        """Whether an old id gets another number."""
        starts, first = self._starts, self._ends - self._counts
        return bool(((starts != NEW) & (starts != first)).any())

    @property
    def keeps_all(self) -> bool:
        """Whether every old id has a new one, told without writing out the ids."""
        kept = self._starts != NEW
        starts, counts = self._starts[kept], self._counts[kept]
        order = np.argsort(starts, kind="stable")
        reached = np.maximum.accumulate((starts + counts)[order])
        before = np.append(0, reached)
        has_gap = (starts[order] > before[:-1]).any()
        return bool(not has_gap and before[-1] == self.old_size)

    @property
    def new_ids(self) -> np.ndarray:
        """The ids whose rows are made anew."""
        return np.flatnonzero(self.ids == NEW)

    @property
    def new_count(self) -> int:
        """How many rows are made anew."""
        return int(self._counts[self._starts == NEW].sum())

    @property
    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The new ids that come from an old one, and those old ones."""
        new = np.flatnonzero(self.ids != NEW)
        return new, self.ids[new]

    def without(self, old: Sequence[int], new: Sequence[int]) -> "RowMap":
        """The map of an array without entries for some old ids and some new ones."""
        if not len(old) and not len(new):
            return self
        has_old, has_new = np.ones(self.old_size, bool), np.ones(self.size, bool)
        has_old[np.asarray(old, np.int64)] = False
        has_new[np.asarray(new, np.int64)] = False
        place = np.where(has_old, np.cumsum(has_old) - 1, NEW)
        left = self.ids[has_new]
        return RowMap(np.where(left == NEW, NEW, place[left]), int(has_old.sum()))

    def within(self, starts: Sequence[int], length: int) -> "RowMap":
        """The map of an axis on which stretches are mapped so, and all else stays."""
        parts, end = list[np.ndarray](), 0
        for start in starts:
            parts.append(np.arange(end, start))
            parts.append(np.where(self.ids == NEW, NEW, self.ids + start))
            end = start + self.old_size
        return RowMap(np.concatenate([*parts, np.arange(end, length)]), length)

    def inverse(self) -> "RowMap":
        """The map back; an old id that was dropped becomes a new row."""
        back = np.full(self.old_size, NEW, np.int64)
        new, old = self.kept
        back[old[::-1]] = new[::-1]
        return RowMap(back, self.size)

    def runs(self) -> Iterator[tuple[int, int]]:
        """The map as stretches: the first old id, or -1 for new ones, and how many."""
        return zip(self._starts.tolist(), self._counts.tolist(), strict=True)

    def keeps_apart(self, skips: Sequence[int], new_skips: Sequence[int]) -> bool:
        """Whether the new ids of some old ids, and no others that have one, are these.

        Both are in order; new ids without an old one may be any.
        """
        kept = self._starts != NEW
        starts, counts = self._starts[kept], self._counts[kept]
        low, high = np.searchsorted(skips, [starts, starts + counts])
        named = self.of(new_skips)
        named = named[named != NEW]
        return bool(np.isin(named, skips).all() and len(named) == (high - low).sum())

    def to_json(self) -> list[list[int]]:
        """The runs as `[old, count]` pairs."""
        return [[*run] for run in self.runs()]

    @classmethod
    def from_json(cls, runs: Sequence[Sequence[int]], old_size: int) -> "RowMap":
        """Reads what `to_json` wrote.

        Raises:
            SurgeryError: if it is not that.
        """
        check_size(old_size, "old ids")
        total = 0
        for run in runs:
            match run:
                case [old, count] if (
                    type(old) is type(count) is int and old >= NEW and count > 0
                ):
                    total += count
                case _:
                    raise SurgeryError(
                        f"row_map: {shortly(run)} is not understood. Expected: pairs "
                        "of the first old id, or -1, and how many ids follow."
                    )
            check_size(max(total, old + 1), "ids")
            if old != NEW and old + count > old_size:
                raise SurgeryError(
                    f"row_map: {shortly(run)} takes old ids up to {old + count - 1}, "
                    f"and there are {old_size}. Expected: old ids from 0 on, or -1."
                )
        if not total:
            raise SurgeryError("row_map: expected at least one id; received none.")
        check_new_size(total, old_size)
        made = cls.__new__(cls)
        starts, counts = np.array(runs, np.int64).T
        made._lay(starts, counts, old_size)
        return made

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RowMap)
            and self.old_size == other.old_size
            and np.array_equal(self._starts, other._starts)
            and np.array_equal(self._counts, other._counts)
        )
