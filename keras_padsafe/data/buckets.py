"""Batches of sequences of about one length."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras_padsafe.data.best_fit import Item
from keras_padsafe.data.checks import check_count
from keras_padsafe.data.example import Key, size_of
from keras_padsafe.data.fill_rows import Fills, Row, fill_rows
from keras_padsafe.errors import DataError


@dataclass(frozen=True)
class Buckets:
    """How sequences are put into buckets.

    Attributes:
        boundaries: The greatest length of each bucket, in increasing order.
        batch_sizes: How many sequences make a batch, for each bucket.
        drop_remainder: Whether what makes no whole batch is dropped.
        fills: What stands where nothing is.
    """

    boundaries: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    drop_remainder: bool
    fills: Fills

    def __post_init__(self) -> None:
        for name, values in (
            ("boundaries", self.boundaries),
            ("batch_size", self.batch_sizes),
        ):
            for value in values:
                check_count(name, value)
        if not self.boundaries or list(self.boundaries) != sorted(set(self.boundaries)):
            raise DataError(
                "boundaries: expected the greatest length of each bucket, in "
                f"increasing order. Received: {self.boundaries!r:.60}."
            )
        if len(self.batch_sizes) != len(self.boundaries):
            raise DataError(
                "batch_size: expected a number, or one for each of "
                f"{len(self.boundaries)} boundaries. Received: "
                f"{len(self.batch_sizes)} numbers."
            )

    @classmethod
    def of(
        cls,
        boundaries: Sequence[int],
        batch_size: int | Sequence[int],
        drop_remainder: bool,
        pad_id: Any,
        pad_label: Any,
    ) -> "Buckets":
        """Reads the arguments of a caller."""
        limits = tuple(boundaries)
        alike = not isinstance(batch_size, Sequence)
        sizes = (batch_size,) * len(limits) if alike else tuple(batch_size)
        return cls(limits, sizes, drop_remainder, Fills(pad_id, pad_label))

    def rows(
        self, items: Iterable[Item], size_of: Callable[[Item], int]
    ) -> Iterator[tuple[Item, ...]]:
        """Gives each item a row of its own."""
        return ((item,) for item in items)

    def batches(
        self, rows: Iterable[tuple[Item, ...]], size_of: Callable[[Item], int]
    ) -> Iterator[list[tuple[Item, ...]]]:
        """Puts rows of one bucket into batches; what is left comes last."""
        open_batches: list[list[tuple[Item, ...]]] = [[] for _ in self.boundaries]
        for row in rows:
            bucket = bisect_left(self.boundaries, size_of(row[0]))
            open_batches[bucket].append(row)
            if len(open_batches[bucket]) == self.batch_sizes[bucket]:
                yield open_batches[bucket]
                open_batches[bucket] = []
        if not self.drop_remainder:
            yield from filter(None, open_batches)

    def sizes(self, rows: Sequence[Row]) -> tuple[int, int]:
        """The number of rows of a batch, and their length."""
        longest = max(size_of(example) for (example,) in rows)
        return len(rows), self.boundaries[bisect_left(self.boundaries, longest)]

    def fill(self, rows: Sequence[Row]) -> dict[Key, Any]:
        """Makes the arrays of a batch, padded to the boundary of its bucket."""
        filled = fill_rows(rows, *self.sizes(rows), 1, self.fills)
        for key in rows[0][0].whole:
            filled[key] = filled[key][:, 0]
        return filled

    def static_axes(self, rank: int, of_steps: bool) -> tuple[bool, ...]:
        """Says which axes of an array have one size in all batches."""
        varying = 2 if of_steps else 1
        return (False,) * varying + (True,) * (rank - varying)
