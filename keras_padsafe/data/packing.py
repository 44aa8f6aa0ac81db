"""Batches of rows that hold several sequences each."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras_padsafe.data.best_fit import Item, best_fit
from keras_padsafe.data.checks import check_count
from keras_padsafe.data.example import Key
from keras_padsafe.data.fill_rows import Fills, Row, fill_rows, segments_and_positions
from keras_padsafe.errors import DataError

_OURS = ("segments", "positions")


@dataclass(frozen=True)
class Packing:
    """How sequences are packed.

    Attributes:
        length: How many steps a row has.
        batch_size: How many rows a batch has.
        max_segments: How many sequences a row may hold.
        drop_remainder: Whether rows that make no whole batch are dropped, or
            filled up with empty ones.
        open_rows: How many rows wait for more sequences; `None` for any number.
        fills: What stands where nothing is.
    """

    length: int
    batch_size: int
    max_segments: int | None
    drop_remainder: bool
    open_rows: int | None
    fills: Fills

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        for name in ("max_segments", "open_rows"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))

    def rows(
        self, items: Iterable[Item], size_of: Callable[[Item], int]
    ) -> Iterator[tuple[Item, ...]]:
        """Puts items into rows."""
        return best_fit(items, size_of, self.length, self.max_segments, self.open_rows)

    def batches(
        self, rows: Iterable[tuple[Item, ...]], size_of: Callable[[Item], int]
    ) -> Iterator[list[tuple[Item, ...]]]:
        """Puts rows into batches."""
        rest = iter(rows)
        while batch := list(itertools.islice(rest, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_remainder:
                yield batch

    def sizes(self, rows: Sequence[Row]) -> tuple[int, int]:
        """The number of rows of a batch, and their length."""
        return self.batch_size, self.length

    def fill(self, rows: Sequence[Row]) -> dict[Key, Any]:
        """Makes the arrays of a batch, all of one shape whatever the rows hold."""
        whole = rows[0][0].whole
        if whole and self.max_segments is None:
            raise DataError(
                "max_segments: labels of whole sequences are laid out as (batch, "
                "max_segments). Expected: the most sequences that a row may hold. "
                "Received: None."
            )
        sizes = self.sizes(rows)
        filled = fill_rows(rows, *sizes, self.max_segments, self.fills)
        if ("x", None) in filled:
            filled = {("x", "tokens"): filled.pop(("x", None)), **filled}
        for name, array in zip(
            _OURS, segments_and_positions(rows, *sizes), strict=True
        ):
            if ("x", name) in filled:
                raise DataError(
                    f"x: the name {name!r} is taken by what packing adds. Expected: "
                    f"other names than {_OURS}. Rename the input."
                )
            filled["x", name] = array
        return filled

    def static_axes(self, rank: int, of_steps: bool) -> tuple[bool, ...]:
        """Says which axes of an array have one size in all batches."""
        return (True,) * rank
