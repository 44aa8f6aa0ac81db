"""Goes through stored arrays piece by piece, in memory that they do not decide."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np

from keras_padsafe.archive import StoredArray
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.archive.refusal import refusing

_PIECE_BYTES = 1 << 22
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Bits of a float's fraction: how many values chance has to choose from, at the least.
_FRACTION_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}


def pieces(array: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    """The stored values in order, flat, each piece with the number of its first.

    Unlike `StoredArray.read` it cuts within a row, however long one is.
    """
    dtype = storage_dtype(array.dtype)
    for start in range(0, array.nbytes, _PIECE_BYTES):
        count = min(_PIECE_BYTES, array.nbytes - start)
        with refusing(array.data.name):
            values = np.frombuffer(array.data.read(start, count), dtype)
        yield start // dtype.itemsize, values


def row_blocks(array: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    """Whole rows as stored, a block at a time, each with the number of its first."""
    row = max(array.nbytes // max(array.shape[0], 1), 1)
    step = max(1, _PIECE_BYTES // row)
    for start in range(0, array.shape[0], step):
        yield start, array.read(start, start + step)


def not_finite(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Marks NaN and infinity among stored floats."""
    if dtype == "bfloat16":
        return (stored & 0x7F80) == 0x7F80
    return ~np.isfinite(stored)


def is_nan(stored: np.ndarray, dtype: str) -> np.ndarray:
    """Marks NaN among stored floats."""
    if dtype == "bfloat16":
        return (stored & 0x7FFF) > 0x7F80
    return np.isnan(stored)


def row_digests(array: StoredArray) -> np.ndarray:
    """Sixteen bytes for each row as `(rows, 2)`; equal for rows of equal bits only."""
    digests = np.empty((array.shape[0], 2), "<u8")
    for start, block in row_blocks(array):
        flat = np.ascontiguousarray(block).reshape(len(block), -1)
        for number, row in enumerate(flat):
            digest = hashlib.blake2b(row.data, digest_size=16).digest()
            digests[start + number] = np.frombuffer(digest, "<u8")
    return digests


def chance_makes_equal_rows(array: StoredArray) -> bool:
    """Whether rows may well be equal by chance: many of them, narrow and coarse."""
    pairs = array.shape[0] ** 2 / 2
    bits = _FRACTION_BITS[array.dtype] * math.prod(array.shape[1:])
    return pairs > 1e-6 * 2.0 ** min(bits, 1000)
