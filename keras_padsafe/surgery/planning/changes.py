"""What changes: ids, and in a file arrays, values of config.json and words."""

from dataclasses import dataclass, field, replace
from typing import Any

from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.row_map import RowMap
from keras_padsafe.surgery.finding.sites import ArrayOverIds, ListedWords


@dataclass(frozen=True)
class Change:
    """New ids and the words among them.

    Attributes:
        row_map: The old id of each new id.
        words: The new words, by the first new ids in order.
        pad: The new id that is to mean padding, if one is.
        old_words: The words of the old ids, where they were given.
        spare_ids: New ids after those of the words that are kept for words to come.
        undoes: Whether it may undo another, whose words at the end go.
        unpads: Whether the padding may go that another brought.
    """

    row_map: RowMap
    words: tuple[str | int, ...] = ()
    pad: int | None = None
    old_words: tuple[str | int, ...] = ()
    spare_ids: tuple[int, ...] = ()
    undoes: bool = False
    unpads: bool = False


@dataclass(frozen=True)
class ArrayChange(ArrayOverIds):
    """An array whose axis over the ids changes.

    Attributes:
        new_shape: Its shape after.
        new_skips: The ids for which the new array has no entry.
    """

    new_shape: tuple[int, ...] = field(kw_only=True)
    new_skips: tuple[int, ...] = ()

    @property
    def is_packed(self) -> bool:
        """Whether two ids share a byte."""
        return self.quantised is not None and self.quantised.packed == self.axis

    @property
    def takes_rows(self) -> bool:
        """Whether rows that are given become its new entries."""
        return self.axis == 0 and self.fill == "rows" and len(self.shape) > 1

    def own(self, row_map: RowMap) -> RowMap:
        """The row map of the axis: the ids that it has entries for, and the rest."""
        own = row_map.without(self.skips, self.new_skips)
        return own.within(self.starts, self.shape[self.axis]) if self.starts else own

    def more(self, row_map: RowMap) -> int:
        """By how many entries each stretch over the ids grows."""
        before, after = row_map.old_size, row_map.size
        return (after - len(self.new_skips)) - (before - len(self.skips))

    def sized(self, row_map: RowMap) -> "ArrayChange":
        """The same with the new shape that `row_map` gives it."""
        axis, stretches = self.axis, max(len(self.starts), 1)
        size = self.real_shape[axis] + stretches * self.more(row_map)
        size = (size + 1) // 2 if self.is_packed else size
        shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
        return replace(self, new_shape=shape)

    def inverse(self, row_map: RowMap) -> "ArrayChange":
        """The change back, where `row_map` is the one of this change."""
        more = self.more(row_map)
        return replace(
            self,
            shape=self.new_shape,
            new_shape=self.shape,
            skips=self.new_skips,
            new_skips=self.skips,
            starts=tuple(start + n * more for n, start in enumerate(self.starts)),
            quantised=self.quantised
            if self.quantised is None or not self.is_packed
            else replace(self.quantised, length=self.quantised.length + more),
        )


@dataclass(frozen=True)
class ConfigChange:
    """A value of config.json that changes, and the keys that lead to it."""

    path: ConfigPath
    old: Any
    new: Any
    reason: str


@dataclass(frozen=True, kw_only=True)
class WordsChange(ListedWords):
    """A lookup layer or tokenizer whose words change with the ids.

    Attributes:
        new_first_id: The id of the first word listed, after.
        count: The number of words before.
        new_count: The number of words after.
        added: Words of the new ids, in order; new ids may be more than words.
        removed: Words that no new id keeps, in the order of their ids.
    """

    new_first_id: int
    count: int
    new_count: int
    added: tuple[str | int, ...]
    removed: tuple[str | int, ...]

    @property
    def ends(self) -> tuple[int, int]:
        """One more than the last id that a word has, before and after."""
        return self.first_id + self.count, self.new_first_id + self.new_count

    def inverse(self) -> "WordsChange":
        """The change back."""
        return replace(
            self,
            first_id=self.new_first_id,
            new_first_id=self.first_id,
            count=self.new_count,
            new_count=self.count,
            added=self.removed,
            removed=self.added,
        )
