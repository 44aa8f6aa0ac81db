"""Room for what any one of several branches keeps, where each returns the same."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.types import Tensor


class SharedRoom:
    """Tensors that hold the lists of each branch, one at a time.

    Branches that keep as many tensors, of the same ranks and dtypes, share them.

    Args:
        shapes: For each branch, what it keeps: anything with a shape and a dtype.
    """

    def __init__(self, shapes: Sequence[Sequence[Any]]) -> None:
        self._kinds: dict[Any, list[keras.KerasTensor]] = {}
        for kept in shapes:
            before = self._kinds.get(_kind(kept), kept)
            self._kinds[_kind(kept)] = [
                keras.KerasTensor(tuple(map(max, b.shape, k.shape)), _dtype(k))
                for b, k in zip(before, kept, strict=True)
            ]

    def empty(self, count: int) -> list[Tensor]:
        """Returns so many rooms, stacked."""
        return [
            ops.zeros((count, *room.shape), room.dtype)
            for rooms in self._kinds.values()
            for room in rooms
        ]

    def fill(self, kept: Sequence[Tensor]) -> list[Tensor]:
        """Returns one room that holds what a branch keeps."""
        filled = []
        for kind, rooms in self._kinds.items():
            if kind != _kind(kept):
                filled += [ops.zeros(room.shape, room.dtype) for room in rooms]
                continue
            for x, room in zip(kept, rooms, strict=True):
                missing = [(0, m - n) for n, m in zip(x.shape, room.shape, strict=True)]
                filled.append(ops.pad(x, missing) if x.shape != room.shape else x)
        return filled

    def take(self, room: Sequence[Tensor], shapes: Sequence[Any]) -> list[Tensor]:
        """Returns what the branch that keeps tensors of these shapes put in."""
        start = 0
        for kind, rooms in self._kinds.items():
            if kind == _kind(shapes):
                break
            start += len(rooms)
        return [
            x[tuple(slice(n) for n in shape.shape)]
            for x, shape in zip(room[start : start + len(shapes)], shapes, strict=True)
        ]


def _kind(kept: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((len(x.shape), _dtype(x)) for x in kept)


def _dtype(x: Any) -> str:
    return keras.backend.standardize_dtype(x.dtype)
