"""Statistics of an array over one axis, in float64 and in bounded memory."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from keras_padsafe.archive import decode
from keras_padsafe.archive.dtypes import storage_dtype

BLOCK_VALUES = 1 << 17


class Weight(Protocol):
    """What is read of an array: a stored one, or the numbers that it stands for."""

    @property
    def path(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray: ...


class ColumnStatistics:
    """Mean and standard deviation over a stretch of one axis, in float64.

    Values that are NaN or infinite are left out, so that one bad row does not spread;
    where no value is left the mean is 0. What is not seen while it is copied is read
    when it is asked for, and gives the same numbers. Without `deviation`, zeros are
    returned for it. Entries of the stretch, from its start on, may be `left_out`.
    """

    def __init__(
        self,
        array: Weight,
        axis: int,
        start: int,
        stop: int,
        *,
        deviation: bool,
        left_out: Sequence[int] | np.ndarray = (),
    ) -> None:
        self._array, self._axis, self._deviation = array, axis, deviation
        self._ids = slice(start, stop)
        self._left_out = np.asarray(left_out, np.int64) + start
        # What comes next on the first axis, and where that ends.
        self._next, self._end = (0, array.shape[0]) if axis else (start, stop)
        width = math.prod(array.shape[1:])
        self._step = max(1, BLOCK_VALUES // max(1, width))
        self._dtype = storage_dtype(array.dtype)
        self._width = width * self._dtype.itemsize
        self._held = bytearray()  # what was seen of a block that is not whole yet
        shape = (math.prod(array.shape[:axis]), math.prod(array.shape[axis + 1 :]))
        self._count, self._total, self._spread = (np.zeros(shape) for _ in range(3))

    @property
    def span(self) -> tuple[int, int]:
        """Where the stored bytes that it is about begin and end."""
        return self._next * self._width, self._end * self._width

    def see(self, offset: int, data: memoryview) -> None:
        """Takes in stored bytes of the array, if they go on where the last ended."""
        known = self._next * self._width + len(self._held) - offset
        data = data[known:] if known >= 0 else data[:0]
        while data and self._next < self._end:
            # Each place on an axis before that of ids is wanted at once.
            count = 1 if self._axis else min(self._step, self._end - self._next)
            size = count * self._width
            block: memoryview | bytearray = data[: size - len(self._held)]
            data = data[len(block) :]
            if len(block) < size:
                self._held += block
                block = self._held
            if len(block) == size:
                values = np.frombuffer(block, self._dtype)
                self._add(values.reshape(-1, *self._array.shape[1:]))

    def of(self, lead: int) -> tuple[np.ndarray, np.ndarray]:
        """Both at one place along the axes before that of ids, all after flattened."""
        end = self._end
        if self._axis:
            end = lead // (len(self._total) // self._array.shape[0]) + 1
        while self._next < end:
            stop = min(self._next + self._step, self._end)
            self._add(self._array.read(self._next, stop))
        known = np.maximum(self._count[lead], 1)
        return self._total[lead] / known, np.sqrt(self._spread[lead] / known)

    def _add(self, values: np.ndarray) -> None:
        """Adds what comes next (Chan, Golub and LeVeque, 1983)."""
        if values.dtype.kind != "f":  # Floats are added up as they are stored.
            values = decode(values, self._array.dtype)
        start, stop, trail = self._next, self._next + len(values), self._total.shape[1]
        self._next, self._held = stop, bytearray()
        if self._axis == 0:
            where, part = slice(None), values.reshape(1, len(values), trail)
            low, high = np.searchsorted(self._left_out, [start, stop])
            out = self._left_out[low:high] - start
        else:
            each = len(self._total) // self._array.shape[0]
            where = slice(start * each, stop * each)
            shape = (len(values) * each, self._array.shape[self._axis], trail)
            part = values.reshape(shape)[:, self._ids]
            out = self._left_out - self._ids.start
        if out.size:  # Sums depend on the layout, which `delete` does not keep.
            part = np.ascontiguousarray(np.delete(part, out, axis=1))
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            total = part.sum(axis=1, dtype=np.float64)
        here = np.full(total.shape, float(part.shape[1]))
        if not np.isfinite(total).all():
            finite = np.isfinite(part)
            here = finite.sum(axis=1).astype(np.float64)
            part = np.where(finite, part, np.nan)
            total = np.nansum(part, axis=1, dtype=np.float64)
        if self._deviation:
            mean = total / np.maximum(here, 1)
            before = self._count[where]
            gap = mean - self._total[where] / np.maximum(before, 1)
            weight = before * here / np.maximum(before + here, 1)
            squares = np.nansum((part - mean[:, None]) ** 2, axis=1)
            self._spread[where] += squares + gap**2 * weight
        self._count[where] += here
        self._total[where] += total


def entries_of(array: Weight, axis: int, lead: int, ids: np.ndarray) -> np.ndarray:
    """Some entries of an array along one axis, `(ids, trail)`, in float64.

    `lead` is the place along all axes before that one, flattened.
    """
    shape = (len(ids), math.prod(array.shape[axis + 1 :]))
    if axis == 0:
        rows = [decode(array.read(id_, id_ + 1), array.dtype) for id_ in ids.tolist()]
        return np.concatenate(rows).reshape(shape).astype(np.float64)
    first, inner = divmod(lead, math.prod(array.shape[1:axis]))
    values = decode(array.read(first, first + 1), array.dtype)
    values = values.reshape(-1, array.shape[axis], shape[1])
    return values[inner, ids].astype(np.float64)
