"""Puts the arrays of examples into rows of one length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.data.example import Example, Key
from keras_padsafe.errors import DataError

Row = Sequence[Example]


@dataclass(frozen=True)
class Fills:
    """What stands where nothing is.

    Attributes:
        pad_id: In inputs; one for all or one for each name.
        pad_label: In labels; one for all or one for each name.
    """

    pad_id: Any
    pad_label: Any

    def of(self, key: Key) -> Any:
        """The value for the arrays of `key`."""
        part, name = key
        value = {"x": self.pad_id, "y": self.pad_label, "sample_weight": 0}[part]
        if not isinstance(value, Mapping):
            return value
        if name not in value:
            raise DataError(
                f"{'pad_id' if part == 'x' else 'pad_label'}: expected an entry for "
                f"each name. Received: none for {name!r}."
            )
        return value[name]


def fill_rows(
    rows: Sequence[Row], count: int, length: int, max_items: int | None, fills: Fills
) -> dict[Key, np.ndarray]:
    """Lays the examples of each row end to end.

    Args:
        rows: Examples, at least one.
        count: How many rows to make; those that are left over hold nothing.
        length: How many steps a row has.
        max_items: How many examples a row may hold.
        fills: What stands where nothing is.

    Returns:
        Arrays `(count, length, ...)` of steps, and `(count, max_items, ...)` of
        what belongs to sequences.
    """
    first = rows[0][0]
    filled: dict[Key, np.ndarray] = {}
    for key in first.steps:
        arrays = [[example.steps[key] for example in row] for row in rows]
        start = _empty(key, arrays, (count, length), 1, fills)
        for out, row in zip(start, arrays, strict=False):
            joined = np.concatenate(row)
            out[: len(joined)] = joined
        filled[key] = start
    for key in first.whole:
        arrays = [[example.whole[key] for example in row] for row in rows]
        start = _empty(key, arrays, (count, max_items or 1), 0, fills)
        for out, row in zip(start, arrays, strict=False):
            out[: len(row)] = row
        filled[key] = start
    return filled


def _empty(
    key: Key,
    arrays: Sequence[Sequence[np.ndarray]],
    sizes: tuple[int, int],
    own_axes: int,
    fills: Fills,
) -> np.ndarray:
    flat = [array for row in arrays for array in row]
    shapes = {array.shape[own_axes:] for array in flat}
    if len(shapes) > 1:
        raise DataError(
            f"{key[0]}: expected arrays of one shape for every "
            f"{'step' if own_axes else 'sequence'}. Received: {sorted(shapes)[:4]}."
        )
    dtype = np.result_type(*{array.dtype for array in flat})
    return np.full((*sizes, *shapes.pop()), fills.of(key), dtype)


def segments_and_positions(
    rows: Sequence[Row], count: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the segments of each row from 1, and the steps of each from 0."""
    segments = np.zeros((count, length), "int32")
    positions = np.zeros((count, length), "int32")
    for out, at, row in zip(segments, positions, rows, strict=False):
        lengths = [example.length for example in row]
        end = sum(lengths)
        out[:end] = np.repeat(np.arange(1, len(row) + 1), lengths)
        at[:end] = np.concatenate([np.arange(n) for n in lengths])
    return segments, positions
