"""Some entries of an array along one axis, in bounded memory."""

from collections.abc import Iterator

import numpy as np

from keras_padsafe.archive import StoredArray
from keras_padsafe.surgery.planning.quantise import unpacked

_BLOCK_BYTES = 1 << 22


def entries_of(
    array: StoredArray,
    axis: int,
    ids: np.ndarray,
    most: int,
    packed: int | None = None,
) -> Iterator[np.ndarray]:
    """Some entries along an axis, at most so many of the first axis at a time.

    Of two ids that share a byte, `packed` is the number of all.
    """
    for start in range(0, len(ids) if axis == 0 else array.shape[0], most):
        if axis == 0:
            part = ids[start : start + most]
            runs = np.split(part, np.flatnonzero(np.diff(part) != 1) + 1)
            found = [array.read(int(run[0]), int(run[-1]) + 1) for run in runs]
            yield np.concatenate(found)
            continue
        values = array.read(start, min(start + most, array.shape[0]))
        if packed is not None:
            values = unpacked(values, axis, packed)
        yield np.take(values, ids, axis=axis)


def rows_at_once(array: StoredArray) -> int:
    row = array.nbytes // max(array.shape[0], 1)
    return max(1, _BLOCK_BYTES // max(row, 1))
