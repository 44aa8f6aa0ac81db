"""Rows that hold several sequences each."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keras_padsafe.arguments import read_count
from keras_padsafe.data.batching import Batching, Item, Row
from keras_padsafe.data.best_fit import best_fit
from keras_padsafe.data.example import Example
from keras_padsafe.data.forms import Key
from keras_padsafe.errors import DataError


@dataclass(frozen=True)
class Packing(Batching):
    """Lays several sequences into each row, so that hardly any padding is left.

    The inputs of a batch are all `(batch_size, length)`:

    - `"tokens"`, or the names that the inputs have: the sequences, end to end.
    - `"segments"`: 1 for the steps of a row's first sequence, 2 for those of its
      second, and so on; 0 where nothing is.
    - `"positions"`: where each step stands in its own sequence, from 0.

    A functional model whose inputs are a list takes of these what it has a name for.
    A model that keeps segments apart answers as it would for each sequence alone:
    give attention `attention_mask=keras_padsafe.ops.segment_mask(segments, segments)`,
    look positions up by `positions`, and pool by
    `keras_padsafe.layers.MaskedSegmentPooling1D`. Layers that run along time, such as
    `LSTM` and `Conv1D`, know of no segments: use `Buckets` for these.

    Args:
        length: How many steps a row has.
        batch_size: How many rows a batch has.
        max_segments: How many sequences a row may hold. Defaults to any number.
        open_rows: Of a stream, how many rows wait for more sequences. More are
            fuller, and mix sequences that lay further apart.
        y_per: Whether labels belong to steps or to sequences, `"step"` or
            `"sequence"`; a dict by the names of `y` for several. Labels of sequences
            are `(batch_size, max_segments)`.
        too_long: What to do with a sequence that does not fit: `"raise"`,
            `"truncate"` or, where all labels belong to steps, `"split"`.
        pad_id: What inputs hold where nothing is; a dict by name for several. An
            embedding that masks this id masks segment 0, if no sequence has the id.
        pad_label: What labels hold where nothing is, for
            `keras_padsafe.losses.MaskedLoss(..., pad_label=-1)`; a dict for several.
        drop_remainder: Whether rows that make no whole batch are dropped. By default
            empty rows fill the last batch up, so that all have one shape.

    Example:
    >>> packing = keras_padsafe.data.Packing(length=4, batch_size=2)
    >>> data = keras_padsafe.data.SequenceDataset(packing, [[7, 8, 9], [5], [4, 6]])
    >>> (x,) = data[0]
    >>> x["tokens"].tolist()
    [[7, 8, 9, 5], [4, 6, 0, 0]]
    >>> x["segments"].tolist()
    [[1, 1, 1, 2], [1, 1, 0, 0]]
    >>> x["positions"].tolist()
    [[0, 1, 2, 0], [0, 1, 0, 0]]
    """

    length: int
    batch_size: int = 32
    max_segments: int | None = None
    open_rows: int = 256

    one_shape = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("length", "open_rows", "batch_size"):
            read_count(getattr(self, name), name, DataError, least=1)
        if self.max_segments is not None:
            read_count(self.max_segments, "max_segments", DataError, least=1)

    @property
    def longest(self) -> int:
        return self.length

    def rows(
        self, items: Iterable[Item], size_of: Callable[[Item], int], in_order: bool
    ) -> Iterator[Row[Item]]:
        limit = self.open_rows if in_order else None
        return best_fit(items, size_of, self.length, self.max_segments, limit)

    def batches(
        self, rows: Iterable[Row[Item]], size_of: Callable[[Item], int]
    ) -> Iterator[list[Row[Item]]]:
        rest = iter(rows)
        while batch := list(itertools.islice(rest, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_remainder:
                yield batch

    def sizes(self, rows: Sequence[Row[Example]]) -> tuple[int, int]:
        return self.batch_size, self.length

    def fill(self, rows: Sequence[Row[Example]]) -> dict[Key, np.ndarray]:
        first = rows[0][0]
        sizes = self.sizes(rows)
        filled = {key: self.lay(rows, key, *sizes) for key in first.steps}
        if ("x", None) in filled:
            filled["x", "tokens"] = filled.pop(("x", None))
        for name, array in zip(
            ("segments", "positions"), _segments_and_positions(rows, sizes), strict=True
        ):
            if ("x", name) in filled:
                raise DataError(
                    f"x: packing adds an input {name!r}. Expected: other names. "
                    "Received: that name. Rename your input."
                )
            filled["x", name] = array
        for key in first.whole:
            if self.max_segments is None:
                raise DataError(
                    "max_segments: labels of sequences are (batch_size, max_segments). "
                    "Expected: how many sequences a row may hold. Received: None."
                )
            filled[key] = self.lay(rows, key, self.batch_size, self.max_segments)
        return filled


def _segments_and_positions(
    rows: Sequence[Row[Example]], sizes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    segments, positions = np.zeros(sizes, "int32"), np.zeros(sizes, "int32")
    for segment, position, row in zip(segments, positions, rows, strict=False):
        lengths = [example.length for example in row]
        end = sum(lengths)
        segment[:end] = np.repeat(np.arange(1, len(row) + 1), lengths)
        position[:end] = np.concatenate([np.arange(n) for n in lengths])
    return segments, positions
