"""Which axes of a tensor are time, and which of its positions are real."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_padsafe.audit.run.record_calls import Record, Value
from keras_padsafe.audit.run.timeline import Timeline


@dataclass(frozen=True, eq=False)
class Axes:
    """How the axes of a tensor are read.

    Attributes:
        batch: Whether the first axis is that of the batch.
        time: The axes that are time, and of which timeline.
        flat: Whether the first axis is batch and time in one.
        sure: Whether time was seen to grow; if not, it is only as long as a sequence.
        real: Bools that broadcast to the tensor, True where it is real; with batch and
            time apart if `flat`.
    """

    batch: bool
    time: tuple[tuple[int, int], ...]
    flat: bool
    sure: bool
    real: np.ndarray


class ReadAxes:
    """Reads the axes of the tensors of a run.

    An axis is time if it grows as much as the padding does; where no run with more
    padding is known, if it is as long as the sequence.

    Args:
        timelines: The sequences of the batch.
        filled: The rows that hold something.
        added: How much longer each timeline was in the longer run.
        longer: The calls of that run; empty if the model takes one length only.
    """

    def __init__(
        self,
        timelines: Sequence[Timeline],
        filled: np.ndarray,
        added: Sequence[int],
        longer: Record,
    ) -> None:
        self._timelines = timelines
        self._filled = filled
        self._added = added
        self._longer = longer
        self.of: dict[Value, Axes] = {}

    def read(self, record: Record) -> None:
        """Reads the axes of every tensor of a run."""
        # In the order in which calls end, what made an input is read before it.
        for call in record.values():
            grown = self._longer.get(call.key)
            for n, value in enumerate(call.inputs):
                self._read(value, _shape(grown.inputs if grown else [], n), True)
            timed = not call.inputs or any(
                self.of[value].time or self.of[value].flat or not self.of[value].batch
                for value in call.inputs
            )
            for n, value in enumerate(call.outputs):
                self._read(value, _shape(grown.outputs if grown else [], n), timed)

    def _read(
        self, value: Value, grown: tuple[int, ...] | None, may_have_time: bool
    ) -> None:
        if value not in self.of or grown is not None:
            self.of[value] = self._axes(value, grown, may_have_time)

    def _axes(
        self, value: Value, grown: tuple[int, ...] | None, may_have_time: bool
    ) -> Axes:
        shape, rows = value.array.shape, len(self._filled)
        flat = None
        if grown is not None and len(grown) == len(shape):
            time = self._grown(shape, grown)
            flat = self._flat(shape, grown)
        else:
            time = self._as_long(shape) if may_have_time else []
        first_is_time = bool(time) and time[0][0] == 0
        batch = bool(shape) and shape[0] == rows and not first_is_time
        if flat is not None:
            whole = (rows, self._timelines[flat].length, *shape[1:])
            time = [(1, flat)]
            real = self._real(whole, True, time, None)
            return Axes(True, tuple(time), True, True, real)
        real = self._real(shape, batch, time, value)
        return Axes(batch, tuple(time), False, grown is not None, real)

    def _grown(
        self, shape: tuple[int, ...], grown: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        found = []
        for axis, (before, after) in enumerate(zip(shape, grown, strict=True)):
            for n, line in enumerate(self._timelines):
                longer = line.length + self._added[n]
                if (before, after) == (line.length, longer) and before != after:
                    found.append((axis, n))
        return found

    def _flat(self, shape: tuple[int, ...], grown: tuple[int, ...]) -> int | None:
        rows = len(self._filled)
        for n, line in enumerate(self._timelines):
            before, after = rows * line.length, rows * (line.length + self._added[n])
            if shape and (shape[0], grown[0]) == (before, after) and before != after:
                return n
        return None

    def _as_long(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        found = [
            (axis, n)
            for axis in range(1, len(shape))
            for n, line in enumerate(self._timelines)
            if shape[axis] == line.length
        ]
        if not shape or shape[0] != len(self._filled):
            return []
        if not found or (len(shape) > 3 and found[0][0] > 1):
            return found
        chosen = 1 if found[0][0] == 1 else found[-1][0]
        return [(axis, n) for axis, n in found if axis == chosen]

    def _real(
        self,
        shape: tuple[int, ...],
        batch: bool,
        time: Sequence[tuple[int, int]],
        value: Value | None,
    ) -> np.ndarray:
        real = np.ones((1,) * len(shape), bool)
        if batch:
            real = real & _placed(self._filled, shape, (0,))
        for axis, n in time:
            mask = self._timelines[n].real
            if batch:
                real = real & _placed(mask, shape, (0, axis))
            else:
                held = np.asarray(mask[self._filled].any(0))
                real = real & _placed(held, shape, (axis,))
        carried = value.mask if value is not None else None
        if carried is not None and batch and carried.shape == shape[: carried.ndim]:
            real = real & _placed(carried, shape, tuple(range(carried.ndim)))
        return real


def _placed(
    mask: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]
) -> np.ndarray:
    sizes = [1] * len(shape)
    for axis, size in zip(axes, mask.shape, strict=True):
        sizes[axis] = size
    return mask.reshape(sizes)


def _shape(values: Sequence[Value], n: int) -> tuple[int, ...] | None:
    return values[n].array.shape if n < len(values) else None
