"""Finds the rows of a table that were never trained, or that are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_padsafe.archive import StoredArray, decode, encode
from keras_padsafe.audit.stored.stored_values import row_blocks, row_digests
from keras_padsafe.surgery.finding.sites import ArraySite


@dataclass(frozen=True)
class RowGroup:
    """Rows that are equal: how many, and the first of them."""

    count: int
    rows: list[int]


def slots_of(path: str, slots: Sequence[ArraySite]) -> list[ArraySite]:
    """The slots of a table that only its gradients move; moving averages are none."""
    return [
        slot for slot in slots if slot.slot_of == path and isinstance(slot.fill, float)
    ]


def untrained_rows(
    size: int, slots: Sequence[ArraySite], arrays: Mapping[str, StoredArray]
) -> np.ndarray:
    """Marks the rows whose slots all hold what they started with.

    None is marked if there are no slots, or no row was trained: the optimizer has not
    run. Rows that have no slot are kept out of training, and not marked.
    """
    with_slot = np.ones(size, bool)
    trained = np.zeros(size, bool)
    for slot in slots:
        with_slot[list(slot.skips)] = False
        rows = np.flatnonzero(with_slot)
        start = decode(encode(np.array([slot.fill]), slot.dtype), slot.dtype)[0]
        for first, block in row_blocks(arrays[slot.path]):
            moved = decode(block, slot.dtype) != start
            moved = moved.reshape(len(block), -1).any(axis=1)
            trained[rows[first : first + len(block)]] |= moved
    if not trained.any():
        return np.zeros(size, bool)
    return with_slot & ~trained


def equal_rows(array: StoredArray, ignored: np.ndarray, shown: int) -> list[RowGroup]:
    """Groups of rows that are equal bit for bit, in the order of their first rows.

    Args:
        array: The table.
        ignored: Marks rows that are not compared.
        shown: How many rows of a group to name.

    Returns:
        The groups; none if all rows are one, as in a table that starts as zeros.
    """
    rows = np.flatnonzero(~ignored)
    digests = row_digests(array)[rows]
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: rows stay in order
    ordered = digests[order]
    same = (ordered[1:] == ordered[:-1]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.view(np.int8), [0]])))
    groups = [
        RowGroup(int(end - start + 1), rows[order[start : end + 1][:shown]].tolist())
        for start, end in edges.reshape(-1, 2)
        if end - start + 1 < len(rows)
    ]
    return sorted(groups, key=lambda group: group.rows[0])
