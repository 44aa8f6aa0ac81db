"""Compares the new entries of a file with those that its plan makes."""

from collections.abc import Iterator

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.errors import ArchiveError, SurgeryError
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.transfer.entries_of import entries_of, rows_at_once
from keras_padsafe.surgery.transfer.pieces import pieces

# Sums of another machine may differ in their last bits.
_CLOSE = {"bfloat16": 1e-2, "float16": 2e-3}


def differing_new(plan: Plan, source: Archive, target: Archive) -> Iterator[str | None]:
    """For each array with new entries what is wrong with them, or `None`."""
    for change in plan.arrays:
        for file, shape in ((source, change.shape), (target, change.new_shape)):
            array = file.arrays.get(change.path)
            if array is None or (array.shape, array.dtype) != (shape, change.dtype):
                yield f"{change.path}: expected {change.dtype} {shape} in {file.path}"
                return
    for change in plan.arrays if plan.row_map.new_count else ():
        if change.takes_rows and not plan.spells_rows:
            continue
        array = target.arrays[change.path]
        try:
            count = _differing(change, plan, source, array)
        except (ArchiveError, SurgeryError) as error:
            yield f"{change.path}: {error}"
        else:
            yield f"{change.path}: {count} new numbers differ" if count else None


def _differing(
    change: ArrayChange, plan: Plan, source: Archive, array: StoredArray
) -> int:
    own, dtype, count = change.own(plan.row_map), storage_dtype(array.dtype), 0
    axis, ids = change.axis, own.new_ids
    if change.is_packed:  # Each row is made anew, old ids too.
        axis, ids = 0, np.arange(array.shape[0])
    made = (piece for piece in pieces(change, plan, source) if isinstance(piece, bytes))
    found = (
        part.tobytes() for part in entries_of(array, axis, ids, rows_at_once(array))
    )
    for due, given in _side_by_side(made, found):
        if due != given:
            numbers = np.frombuffer(due, dtype), np.frombuffer(given, dtype)
            count += _unlike(*numbers, array.dtype)
    return count


def _unlike(due: np.ndarray, given: np.ndarray, dtype: str) -> int:
    if due.dtype.kind != "f" and not dtype.startswith("bfloat"):
        return int((due != given).sum())
    due, given = decode(due, dtype), decode(given, dtype)
    close = _CLOSE.get(dtype, 1e-4)
    least = 1e-6 * float(np.abs(due).max(initial=0))
    return int((~np.isclose(given, due, close, least)).sum())


def _side_by_side(
    one: Iterator[bytes], other: Iterator[bytes]
) -> Iterator[tuple[memoryview, memoryview]]:
    """Equally long stretches of two streams of bytes."""
    left = right = memoryview(b"")
    while True:
        left, right = (
            left or memoryview(next(one, b"")),
            right or memoryview(next(other, b"")),
        )
        size = min(len(left), len(right))
        if not size:
            return
        yield left[:size], right[:size]
        left, right = left[size:], right[size:]
