"""How the ids of one vocabulary change, as plain data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.saved_model.row_map import RowMap


@dataclass(frozen=True)
class IdChange:
    """How the ids of one vocabulary change.

    Attributes:
        row_map: The old id of each new id.
        axes: The axis over the ids, for each array of the weights file that has one.
        tables: What is looked up by id: arrays, or layers by their groups.
        partial: The row maps of arrays that have no entry for some of the ids.
        pad: The new id that means padding, if one does.
        old_spare: Old ids of spare rows, whose scores are low beyond all others.
        spare: New ids of spare rows.
        words: The words that only one of the models gives.
    """

    row_map: RowMap
    axes: Mapping[str, int]
    tables: frozenset[str]
    partial: tuple[RowMap, ...] = ()
    pad: int | None = None
    old_spare: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()
    words: frozenset[Any] = frozenset()

    @property
    def arrays(self) -> frozenset[str]:
        """All that changes with the ids."""
        return self.tables | self.axes.keys()

    def renamed(self, old: np.ndarray) -> np.ndarray:
        """The new id of each old one that is kept; others stay."""
        names = np.arange(self.row_map.old_size)
        new, was = self.row_map.kept
        names[was[::-1]] = new[::-1]  # Of an id kept twice, the first.
        inside = (old >= 0) & (old < len(names))
        return np.where(inside, names[np.where(inside, old, 0)], old)

    @property
    def moved(self) -> np.ndarray:
        """The old ids that have another number, or none."""
        ids = np.arange(self.row_map.old_size)
        stays = (self.renamed(ids) == ids) & np.isin(ids, self.row_map.kept[1])
        return ids[~stays]

    def along(self, before: int, after: int) -> RowMap | None:
        """The map of an axis that goes from one length to another, if one does."""
        return next(self.all_along(before, after), None)

    def all_along(self, before: int, after: int) -> Iterator[RowMap]:
        """All that do: arrays may have no entries for different ids."""
        for row_map in (self.row_map, *self.partial):
            if (before, after) == (row_map.old_size, row_map.size):
                yield row_map
        more = self.row_map.size - self.row_map.old_size
        if self.row_map.is_append and before <= after == before + more:
            yield RowMap.append(before, more)
