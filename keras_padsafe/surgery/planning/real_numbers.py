"""The real numbers that a quantised array stands for, read like an array."""

import math
from functools import cached_property

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode
from keras_padsafe.surgery.finding.sites import Quantised
from keras_padsafe.surgery.planning.quantise import real_numbers, unpacked
from keras_padsafe.surgery.planning.unfit import unfit

_EXPECTED = "the scales that it names"


class RealNumbers:
    """The real numbers of an array of whole ones, in float64."""

    dtype = "float64"

    def __init__(self, source: Archive, path: str, axis: int, how: Quantised) -> None:
        self.path, self._axis, self._how = path, axis, how
        names = [path, how.scale, *([how.zero] if how.zero else [])]
        missing = next((name for name in names if name not in source.arrays), None)
        if missing is not None:
            raise unfit(source, f"Array {missing}", _EXPECTED, "no such array")
        self._stored, self._scale, *zeros = (source.arrays[name] for name in names)
        self._zero = zeros[0] if zeros else None
        self.shape = how.shape(self._stored.shape)
        groups = len(np.unique(self.groups))
        count = self.depth if how.shared else self.shape[axis] * groups
        for array in (self._scale, *zeros):
            if math.prod(array.shape) != count:
                received = f"shape {array.shape}"
                raise unfit(source, f"Array {array.path}", _EXPECTED, received)

    @property
    def depth(self) -> int:
        """How many numbers belong to one id."""
        return math.prod(self.shape) // max(self.shape[self._axis], 1)

    @property
    def groups(self) -> np.ndarray:
        """The group in which each number of an id shares a scale."""
        return np.arange(self.depth) // (self._how.block or max(self.depth, 1))

    def whole(self, start: int, stop: int) -> np.ndarray:
        """Whole numbers, one for one, at `start` to `stop` of the first axis."""
        how = self._how
        if how.packed is None:
            return self._stored.read(start, stop)
        if how.packed == 0:
            first = start // 2
            read = self._stored.read(first, (stop + 1) // 2)
            return unpacked(read, 0, 2 * len(read))[start - 2 * first :][: stop - start]
        return unpacked(self._stored.read(start, stop), how.packed, how.length)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Real numbers at `start` to `stop` of the first axis."""
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        whole = self.whole(start, stop).astype(np.float64)
        flat = whole.reshape(stop - start, -1)
        if self._how.shared:
            return real_numbers(flat, self.shared_scale, None).reshape(whole.shape)
        if self._axis == 0:
            groups, zero = self.groups, self._zero
            scale = _of_ids(self._scale, start, stop)[:, groups]
            zeros = None if zero is None else _of_ids(zero, start, stop)[:, groups]
            return real_numbers(flat, scale, zeros).reshape(whole.shape)
        size = self.shape[self._axis]
        each = self.depth // max(self.shape[0], 1)
        group = self.groups[start * each : stop * each]
        scale, zero = self._by_group
        flat = flat.reshape(-1, size)
        made = real_numbers(flat, scale[group], None if zero is None else zero[group])
        return made.reshape(whole.shape)

    @cached_property
    def shared_scale(self) -> np.ndarray:
        """The scale of each number of any id."""
        return decode(self._scale.read(), self._scale.dtype).reshape(-1)

    @cached_property
    def _by_group(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Scales and zeros, `(groups, ids)`."""
        size = self.shape[self._axis]
        scale, zero = (
            None
            if array is None
            else decode(array.read(), array.dtype).reshape(-1, size).astype(np.float64)
            for array in (self._scale, self._zero)
        )
        assert scale is not None
        return scale, zero


def _of_ids(array: StoredArray, start: int, stop: int) -> np.ndarray:
    """Scales of some ids, `(ids, groups)`, of an array with ids first or alone."""
    if len(array.shape) > 2:
        values = decode(array.read(), array.dtype).reshape(-1)[start:stop]
    else:
        values = decode(array.read(start, stop), array.dtype)
    return values.reshape(stop - start, -1).astype(np.float64)
