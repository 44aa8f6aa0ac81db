"""How the ids of one vocabulary change, as plain data."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IdChange:
    """How the ids of one vocabulary change.

    Attributes:
        ids: For each new id the old one, or -1 for a new one.
        old_size: The number of ids before.
        arrays: Paths of the arrays of the weights file that change with them.
        tables: Those of them that are looked up by id.
        partial: The same as `ids`, and its old size, for arrays that have no entry for
            some of the ids.
        pad: The new id that means padding, if one does.
        old_spare: Old ids of spare rows, whose scores are low beyond all others.
        spare: New ids of spare rows.
        axes: The axis over the ids, for each array of the file that has one.
    """

    ids: np.ndarray
    old_size: int
    arrays: frozenset[str]
    tables: frozenset[str]
    partial: tuple[tuple[np.ndarray, int], ...] = ()
    pad: int | None = None
    old_spare: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()
    axes: tuple[tuple[str, int], ...] = ()

    @property
    def new_size(self) -> int:
        """The number of ids after."""
        return len(self.ids)

    @property
    def new_ids(self) -> np.ndarray:
        """The ids that come from no old one."""
        return np.flatnonzero(self.ids < 0)

    @property
    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The new ids that come from an old one, and those old ones."""
        return kept_of(self.ids)

    @property
    def is_append(self) -> bool:
        """Whether every old id stays what it is, and new ones follow."""
        return np.array_equal(self.ids[: self.old_size], np.arange(self.old_size))

    def renamed(self, old: np.ndarray) -> np.ndarray:
        """The new id of each old one that is kept; others stay."""
        names = np.arange(self.old_size)
        new, was = self.kept
        names[was[::-1]] = new[::-1]  # Of an id kept twice, the first.
        inside = (old >= 0) & (old < self.old_size)
        return np.where(inside, names[np.where(inside, old, 0)], old)

    def along(self, before: int, after: int) -> np.ndarray | None:
        """The map of an axis that goes from one length to another, if one does."""
        for ids, old_size in ((self.ids, self.old_size), *self.partial):
            if (before, after) == (old_size, len(ids)):
                return ids
        if self.is_append and before <= after == before + self.new_size - self.old_size:
            return np.concatenate([np.arange(before), np.full(after - before, -1)])
        return None


def kept_of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places in `ids` that come from an old id, and those old ids."""
    new = np.flatnonzero(ids >= 0)
    return new, ids[new]
