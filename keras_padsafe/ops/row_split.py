"""A table in two pieces: the rows that stay as they are, and those that train.

Optimizers move all of a variable or none of it: momentum, weight decay and
averages reach rows that no gradient reached. So what must not move is kept in a
variable of its own, and this says which row is where.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from keras import ops

from keras_padsafe.types import Tensor


@dataclass(frozen=True)
class RowSplit:
    """Which rows of a table are fixed: the first ones, and single rows after them.

    Args:
        rows: Number of rows of the table.
        first: How many rows are fixed at the start.
        others: Ids fixed besides; those outside the table do not matter.
    """

    rows: int
    first: int
    others: tuple[int, ...]

    @cached_property
    def later(self) -> tuple[int, ...]:
        """The fixed rows after the first ones, in order."""
        inside = {row for row in self.others if self.first <= row < self.rows}
        return tuple(sorted(inside))

    @cached_property
    def fixed(self) -> np.ndarray:
        """Ids of the fixed rows, in the order of their piece."""
        return np.array([*range(self.first), *self.later], "int32")

    @cached_property
    def moving(self) -> np.ndarray:
        """Ids of the rows that train, in the order of their piece."""
        return np.setdiff1d(np.arange(self.rows, dtype="int32"), self.fixed)

    def is_fixed(self, rows: Tensor) -> Tensor:
        """Marks the ids of fixed rows."""
        fixed = ops.less(rows, self.first)
        for row in self.later:
            fixed = ops.logical_or(fixed, ops.equal(rows, row))
        return fixed

    def take(self, fixed: Tensor, moving: Tensor, rows: Tensor) -> Tensor:
        """Reads rows of the table without putting it together."""
        passed = ops.zeros_like(
            rows
        )  # fixed rows that lie before, the first ones aside
        for row in self.later:
            passed = passed + ops.cast(ops.greater(rows, row), rows.dtype)
        is_fixed = self.is_fixed(rows)
        in_fixed = ops.where(ops.less(rows, self.first), rows, self.first + passed)
        in_moving = rows - self.first - passed
        zero = ops.zeros_like(rows)
        from_fixed = ops.take(fixed, ops.where(is_fixed, in_fixed, zero), axis=0)
        from_moving = ops.take(moving, ops.where(is_fixed, zero, in_moving), axis=0)
        return ops.where(ops.expand_dims(is_fixed, -1), from_fixed, from_moving)

    def join(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Puts the table together."""
        table = ops.concatenate([fixed, moving], axis=0)
        if not self.later:
            return table
        order = np.argsort(np.concatenate([self.fixed, self.moving]))
        return ops.take(table, order, axis=0)
