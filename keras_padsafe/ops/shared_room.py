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
        self._shapes = [[tuple(x.shape) for x in kept] for kept in shapes]
        self._kinds = [_kind(kept) for kept in shapes]
        self._rooms: dict[Any, list[keras.KerasTensor]] = {}
        for kind, kept in zip(self._kinds, shapes, strict=True):
            self._rooms[kind] = [
                keras.KerasTensor(tuple(map(max, room.shape, x.shape)), _dtype(x))
                for room, x in zip(self._rooms.get(kind, kept), kept, strict=True)
            ]

    def empty(self, count: int) -> list[Tensor]:
        """Returns so many rooms, stacked."""
        return [
            ops.zeros((count, *room.shape), room.dtype)
            for rooms in self._rooms.values()
            for room in rooms
        ]

    def fill(self, branch: int, kept: Sequence[Tensor]) -> list[Tensor]:
        """Returns one room that holds what the branch keeps."""
        found = [tuple(x.shape) for x in kept]
        assert found == self._shapes[branch], (found, self._shapes[branch])
        filled = []
        for kind, rooms in self._rooms.items():
            if kind != self._kinds[branch]:
                filled += [ops.zeros(room.shape, room.dtype) for room in rooms]
                continue
            for x, room in zip(kept, rooms, strict=True):
                missing = [(0, m - n) for n, m in zip(x.shape, room.shape, strict=True)]
                filled.append(ops.pad(x, missing) if x.shape != room.shape else x)
        return filled

    def take(self, branch: int, room: Sequence[Tensor]) -> list[Tensor]:
        """Returns what the branch put in."""
        start = 0
        for kind, rooms in self._rooms.items():
            if kind == self._kinds[branch]:
                break
            start += len(rooms)
        return [
            x[tuple(slice(n) for n in shape)]
            for x, shape in zip(room[start:], self._shapes[branch], strict=False)
        ]


def _kind(kept: Sequence[Any]) -> tuple[Any, ...]:
    return tuple((len(x.shape), _dtype(x)) for x in kept)


def _dtype(x: Any) -> str:
    return keras.backend.standardize_dtype(x.dtype)
