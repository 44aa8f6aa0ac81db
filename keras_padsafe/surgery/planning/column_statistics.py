"""Statistics of an array over one axis, in float64 and in bounded memory."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from keras_padsafe.archive import decode

BLOCK_VALUES = 1 << 17
Block = tuple[np.ndarray, slice]


class Weight(Protocol):
    """What is read of an array: a stored one, or the numbers that it stands for."""

    @property
    def path(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray: ...


def column_statistics(
    array: Weight,
    axis: int,
    start: int,
    stop: int,
    *,
    deviation: bool,
    left_out: Sequence[int] | np.ndarray = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over a stretch of one axis, in float64.

    Values that are NaN or infinite are left out, so that one bad row does not spread;
    where no value is left the mean is 0.

    Args:
        array: The array.
        axis: Its axis over the ids.
        start: Where on it they begin.
        stop: Where they end.
        deviation: Whether the standard deviation is wanted; zeros are returned if not.
        left_out: Entries of the stretch, from its start on, that take no part.

    Returns:
        Two arrays of shape `(lead, trail)`: all axes before and after, flattened.
    """
    lead = math.prod(array.shape[:axis])
    trail = math.prod(array.shape[axis + 1 :])
    running = _Running(*(np.zeros((lead, trail)) for _ in range(3)))
    out = np.asarray(left_out, np.int64) + start
    for part, where in _read_ahead(_blocks(array, axis, start, stop, out)):
        running.add(part, where, deviation)
    known = np.maximum(running.count, 1)
    return running.total / known, np.sqrt(running.spread / known)


def entries_of(array: Weight, axis: int, lead: int, ids: np.ndarray) -> np.ndarray:
    """Some entries of an array along one axis, `(ids, trail)`, in float64.

    Args:
        array: The array.
        axis: Its axis over the ids.
        lead: The place along all axes before that one, flattened.
        ids: Which.
    """
    shape = (len(ids), math.prod(array.shape[axis + 1 :]))
    if axis == 0:
        rows = [decode(array.read(id_, id_ + 1), array.dtype) for id_ in ids.tolist()]
        return np.concatenate(rows).reshape(shape).astype(np.float64)
    first, inner = divmod(lead, math.prod(array.shape[1:axis]))
    values = decode(array.read(first, first + 1), array.dtype)
    values = values.reshape(-1, array.shape[axis], shape[1])
    return values[inner, ids].astype(np.float64)


def _blocks(
    array: Weight, axis: int, first: int, last: int, left_out: np.ndarray
) -> Iterator[Block]:
    """A stretch as blocks `(lead, ids, trail)`, and which of lead they are."""
    lead = math.prod(array.shape[:axis])
    trail = math.prod(array.shape[axis + 1 :])
    width = max(1, math.prod(array.shape[1:]))
    step = max(1, BLOCK_VALUES // width)
    begin, end = (0, array.shape[0]) if axis else (first, last)
    for start in range(begin, end, step):
        stop = min(start + step, end)
        values = array.read(start, stop)
        if values.dtype.kind != "f":  # Floats are added up as they are stored.
            values = decode(values, array.dtype)
        if axis == 0:
            low, high = np.searchsorted(left_out, [start, stop])
            block = values.reshape(1, stop - start, trail)
            yield _without(block, left_out[low:high] - start), slice(None)
        else:
            each = lead // array.shape[0]
            where = slice(start * each, stop * each)
            block = values.reshape(-1, array.shape[axis], trail)[:, first:last]
            yield _without(block, left_out - first), where


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same blocks; each is read while the last is added up."""
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = ahead.submit(next, blocks, None)
            yield block


def _without(block: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.delete(block, ids, axis=1) if ids.size else block


@dataclass
class _Running:
    """Counts, sums and squared deviations so far, each `(lead, trail)`."""

    count: np.ndarray
    total: np.ndarray
    spread: np.ndarray

    def add(self, part: np.ndarray, where: slice, deviation: bool) -> None:
        """Adds a block `(lead, ids, trail)` (Chan, Golub and LeVeque, 1983)."""
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            total = part.sum(axis=1, dtype=np.float64)
        here = np.full(total.shape, float(part.shape[1]))
        if not np.isfinite(total).all():
            finite = np.isfinite(part)
            here = finite.sum(axis=1).astype(np.float64)
            part = np.where(finite, part, np.nan)
            total = np.nansum(part, axis=1, dtype=np.float64)
        if deviation:
            mean = total / np.maximum(here, 1)
            before = self.count[where]
            gap = mean - self.total[where] / np.maximum(before, 1)
            weight = before * here / np.maximum(before + here, 1)
            squares = np.nansum((part - mean[:, None]) ** 2, axis=1)
            self.spread[where] += squares + gap**2 * weight
        self.count[where] += here
        self.total[where] += total
