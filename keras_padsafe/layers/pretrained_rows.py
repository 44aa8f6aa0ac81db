"""The rows that a table is made of when it does not start at random."""

from itertools import accumulate
from numbers import Integral
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.errors import PadsafeError


def is_count(new_rows: Any) -> bool:
    """Whether new rows are given as a number of them, and not themselves."""
    return isinstance(new_rows, Integral)


def as_matrix(rows: Any) -> np.ndarray:
    """Returns rows, a tensor of any backend or an array, as a matrix of floats."""
    matrix = np.asarray(ops.convert_to_numpy(rows) if ops.is_tensor(rows) else rows)
    if matrix.ndim != 2:
        raise PadsafeError(
            "A table has shape (rows, output_dim). "
            f"Received: an array of shape {matrix.shape}."
        )
    # Integers have no mean among themselves.
    return (
        matrix.astype(keras.config.floatx()) if matrix.dtype.kind in "biu" else matrix
    )


def added_rows(
    table: np.ndarray, pad_ids: tuple[int, ...], new_rows: Any, initializer: Any
) -> list[np.ndarray]:
    """Returns the rows to put after those of `table`, in pieces.

    Args:
        table: The rows there are.
        pad_ids: Ids whose rows take no part in the mean.
        new_rows: How many rows to add, or the rows.
        initializer: `"mean"`, or an initializer.
    """
    if not is_count(new_rows):
        return [as_matrix(new_rows)]
    if new_rows < 0:
        raise PadsafeError(
            f"`new_rows` must be 0 or more, or the rows. Received: {new_rows}."
        )
    if not new_rows:
        return []
    shape = (int(new_rows), table.shape[1])
    if initializer != "mean":
        made = keras.initializers.get(initializer)(shape, dtype=table.dtype.name)
        return [ops.convert_to_numpy(made)]
    real = ~np.isin(np.arange(len(table)), pad_ids)
    mean = table[real].astype("float64").sum(axis=0) / max(real.sum(), 1)
    return [np.broadcast_to(mean.astype(table.dtype), shape)]


def check_pad_rows(given: list[np.ndarray], pad_ids: tuple[int, ...]) -> None:
    """Refuses a pad id whose row, among those given, holds something."""
    starts = accumulate((len(part) for part in given), initial=0)
    rows = sum(len(part) for part in given)
    words = [
        pad
        for start, part in zip(starts, given, strict=False)
        for pad in pad_ids
        if 0 <= pad - start < len(part) and part[pad - start].any()
    ]
    if words:
        raise PadsafeError(
            f"`pad_id` {words} is the row of a word: its vector among the {rows} rows "
            f"given is not zero. Use {rows} to give padding a row of its own after the "
            "last, or -1, which needs none; or set the row to zero first if it belongs "
            "to padding."
        )
