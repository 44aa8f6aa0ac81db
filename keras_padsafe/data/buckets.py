"""Batches of sequences of about one length."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keras_padsafe.arguments import is_listed, read_count, unread
from keras_padsafe.data.batching import Batching, Item, Row
from keras_padsafe.data.example import Example
from keras_padsafe.data.forms import Key
from keras_padsafe.errors import DataError


@dataclass(frozen=True)
class Buckets(Batching):
    """Batches sequences of about one length, for models that no packing suits.

    A batch is `(batch_size, boundary)` for the least of the boundaries that its
    sequences fit in, padded on the right. Only so many shapes occur, and with them
    compilations; what is left of a bucket at the end makes a smaller batch. `predict`
    joins outputs of one shape only: where they have an axis of time, call
    `predict_on_batch` for each batch.

    Args:
        boundaries: The greatest length of each bucket, in increasing order.
        batch_size: How many sequences make a batch; a list for one number a bucket.
        y_per: Whether labels belong to steps or to sequences, `"step"` or
            `"sequence"`; a dict by the names of `y` for several. Labels of sequences
            are `(batch_size, ...)`.
        too_long: What to do with a sequence that fits no bucket: `"raise"`,
            `"truncate"` or, where all labels belong to steps, `"split"`.
        pad_id: What inputs hold where nothing is; a dict by name for several.
        pad_label: What labels hold where nothing is; a dict by name for several.
        drop_remainder: Whether smaller batches are dropped.

    Example:
    >>> buckets = keras_padsafe.data.Buckets([2, 4], batch_size=2, y_per="sequence")
    >>> data = keras_padsafe.data.SequenceDataset(
    ...     buckets, [[7, 8, 9], [5], [4, 6]], [1, 0, 1]
    ... )
    >>> [(x.tolist(), y.tolist()) for x, y in data]
    [([[4, 6], [5, 0]], [1, 0]), ([[7, 8, 9, 0]], [1])]
    """

    boundaries: Sequence[int]
    batch_size: int | Sequence[int] = 32

    one_shape = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_listed(self.boundaries):
            raise unread("boundaries", "a list of lengths", self.boundaries, DataError)
        limits = [
            read_count(value, "boundaries", DataError, least=1)
            for value in self.boundaries
        ]
        object.__setattr__(self, "boundaries", tuple(limits))
        if not limits or limits != sorted({*limits}):
            raise DataError(
                "boundaries: expected the greatest length of each bucket, in "
                f"increasing order. Received: {limits!r:.60}."
            )
        if len(self._batch_sizes) != len(limits):
            raise DataError(
                f"batch_size: expected a number, or one for each of {len(limits)} "
                f"boundaries. Received: {len(self._batch_sizes)} numbers."
            )
        for size in self._batch_sizes:
            read_count(size, "batch_size", DataError, least=1)

    @property
    def longest(self) -> int:
        return self.boundaries[-1]

    @property
    def _batch_sizes(self) -> Sequence[int]:
        if isinstance(self.batch_size, Sequence):
            return self.batch_size
        return (self.batch_size,) * len(self.boundaries)

    def rows(
        self, items: Iterable[Item], size_of: Callable[[Item], int], in_order: bool
    ) -> Iterator[Row[Item]]:
        return ((item,) for item in items)

    def batches(
        self, rows: Iterable[Row[Item]], size_of: Callable[[Item], int]
    ) -> Iterator[list[Row[Item]]]:
        waiting: list[list[Row[Item]]] = [[] for _ in self.boundaries]
        for row in rows:
            bucket = bisect_left(self.boundaries, size_of(row[0]))
            waiting[bucket].append(row)
            if len(waiting[bucket]) == self._batch_sizes[bucket]:
                yield waiting[bucket]
                waiting[bucket] = []
        if not self.drop_remainder:
            yield from filter(None, waiting)

    def sizes(self, rows: Sequence[Row[Example]]) -> tuple[int, int]:
        longest = max(example.length for (example,) in rows)
        return len(rows), self.boundaries[bisect_left(self.boundaries, longest)]

    def fill(self, rows: Sequence[Row[Example]]) -> dict[Key, np.ndarray]:
        first = rows[0][0]
        filled = {key: self.lay(rows, key, *self.sizes(rows)) for key in first.steps}
        for key in first.whole:
            filled[key] = self.lay(rows, key, len(rows), 1)[:, 0]
        return filled
