"""Runs a function on cuts of a few sizes that are known before the batch is.

A compiled program needs its shapes beforehand. So each size has a branch of its own,
a loop runs over groups of rows, and a switch in it takes the smallest branch that
holds the group. The backward pass is a second such loop. Left to the backend, the
gradient of a switch would carry what each branch keeps; here all share one room.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from keras import ops

from keras_padsafe.ops.row_cuts import Axes, fill_up
from keras_padsafe.ops.shared_room import SharedRoom
from keras_padsafe.ops.strips import Strips
from keras_padsafe.ops.two_passes import ahead, back, outline, with_gradient
from keras_padsafe.types import Tensor


@dataclasses.dataclass(frozen=True)
class StaticCuts:
    """A function to be run on cuts of its inputs.

    Args:
        f: Takes the cut inputs, then values and then state, as three lists. Returns
            its output, `(rows, ...)`, and the new state.
        axes: For each input, its axes that run along a sequence.
        is_float: For each input, whether it has a gradient.
        output: Shape and dtype of the whole output.
        output_axes: The axes of the output that run along a sequence.
        times: The whole length of each sequence.
        rows: How many strips make a group.
        parts: To what share of a sequence, one in `parts`, cuts are rounded.
    """

    f: Callable[[list[Tensor], Sequence[Tensor], Sequence[Tensor]], Any]
    axes: Sequence[Axes]
    is_float: Sequence[bool]
    output: Any
    output_axes: Axes
    times: tuple[int, ...]
    rows: int
    parts: int

    def run(
        self,
        inputs: Sequence[Tensor],
        values: Sequence[Tensor],
        state: Sequence[Tensor],
        strips: Strips,
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Runs `f` on each group and puts the results where the rows came from.

        Args:
            inputs: Tensors `(batch, ...)`.
            values: Tensors of floats that `f` has a gradient for.
            state: Tensors without one that each group hands to the next.
            strips: Where the real tokens lie in strips.
        """
        share = ops.max(ops.reshape(strips.shares, (-1, self.rows)), axis=1)
        parts = ops.cast(ops.ceil(share * self.parts - 1e-3), "int32") - 1
        fixed = {
            "inputs": [
                x for x, moves in zip(inputs, self.is_float, strict=True) if not moves
            ],
            "strips": strips,
            "parts": ops.clip(parts, 0, self.parts - 1),
            "state": list(state),
        }
        floats = [x for x, moves in zip(inputs, self.is_float, strict=True) if moves]
        moved = floats, list(values)
        outlines = self._outlines(moved, fixed)
        shared = SharedRoom([kept for kept, _ in outlines])
        how = [how for _, how in outlines]
        return with_gradient(
            partial(self._forward, shared),
            partial(self._backward, shared, how),
            moved,
            fixed,
        )

    def _forward(self, shared: SharedRoom, moved: Any, fixed: Any) -> Any:
        """Returns the output, the state after it, and what the backward pass needs."""

        def group(number: Tensor, carry: Any) -> Any:
            whole, state, room = carry

            def branch(part: int) -> Any:
                y, new, kept, _ = self._ahead(moved, state, fixed, number, part)
                filled = fill_up(y, self.output_axes, self.times)
                return filled, list(new), shared.fill(part, kept)

            y, new, kept = self._switch(branch, fixed["parts"][number])
            room = [_write(r, number, k) for r, k in zip(room, kept, strict=True)]
            return _write(whole, number, y), new, room

        count = ops.shape(fixed["parts"])[0]
        whole = self._grouped(self.output, count)
        start = whole, fixed["state"], shared.empty(count)
        whole, new, room = ops.fori_loop(0, self._used(fixed), group, start)
        return (self._put_back(whole, self.output_axes, fixed), new), room

    def _backward(
        self,
        shared: SharedRoom,
        how: Sequence[Any],
        moved: Any,
        fixed: Any,
        room: Any,
        gradient: Tensor,
    ) -> Any:
        floats, values = moved
        axes = self._float_axes()

        def group(number: Tensor, carry: Any) -> Any:
            wholes, sums = carry

            def branch(part: int) -> Any:
                sizes = self._sizes(part)
                of_floats, of_values = back(
                    self._on_cuts(fixed, number, part),
                    self._cut_floats(floats, fixed, number, sizes),
                    values,
                    shared.take(part, [r[number] for r in room]),
                    how[part],
                    self._cut(gradient, self.output_axes, fixed, number, sizes),
                )
                filled = [
                    fill_up(x, axis, self.times)
                    for x, axis in zip(of_floats, axes, strict=True)
                ]
                return filled, of_values

            of_floats, of_values = self._switch(branch, fixed["parts"][number])
            return (
                [_write(w, number, x) for w, x in zip(wholes, of_floats, strict=True)],
                [s + v for s, v in zip(sums, of_values, strict=True)],
            )

        count = ops.shape(fixed["parts"])[0]
        wholes = [self._grouped(x, count) for x in floats]
        sums = [ops.zeros_like(v) for v in values]
        wholes, sums = ops.fori_loop(0, self._used(fixed), group, (wholes, sums))
        put = [
            self._put_back(x, axis, fixed) for x, axis in zip(wholes, axes, strict=True)
        ]
        return put, sums

    def _ahead(
        self, moved: Any, state: Any, fixed: Any, number: Any, part: int
    ) -> tuple[Any, Any, list[Tensor], Any]:
        floats, values = moved
        cuts = self._cut_floats(floats, fixed, number, self._sizes(part))
        return ahead(self._on_cuts(fixed, number, part), cuts, values, state)

    def _outlines(self, moved: Any, fixed: Any) -> list[tuple[Any, Any]]:
        """For each part, the shapes of what its forward pass keeps, and how."""

        def first(part: int) -> Any:
            number = ops.argmin(fixed["parts"]) * 0  # As unknown as that of a loop.
            return self._ahead(moved, fixed["state"], fixed, number, part)

        state = fixed["state"]
        return [outline(lambda n=n: first(n), state) for n in range(self.parts)]

    def _on_cuts(self, fixed: Any, number: Any, part: int) -> Any:
        """Returns `f` for one group, of floats that are cut already."""
        others = [a for a, m in zip(self.axes, self.is_float, strict=True) if not m]
        whole = [
            self._cut(x, axis, fixed, number, self._sizes(part))
            for x, axis in zip(fixed["inputs"], others, strict=True)
        ]

        def on_cuts(floats: Any, values: Any, state: Any) -> Any:
            cuts, rest = iter(floats), iter(whole)
            every = [next(cuts if moves else rest) for moves in self.is_float]
            return self.f(every, values, state)

        return on_cuts

    def _sizes(self, part: int) -> tuple[int, ...]:
        return tuple(-(-time * (part + 1) // self.parts) for time in self.times)

    def _switch(self, branch: Callable[[int], Any], part: Tensor) -> Any:
        branches = [lambda n=n: branch(n) for n in range(self.parts)]
        return ops.switch(part, branches)

    def _float_axes(self) -> list[Axes]:
        return [a for a, moves in zip(self.axes, self.is_float, strict=True) if moves]

    def _cut_floats(
        self, floats: Any, fixed: Any, number: Tensor, sizes: Sequence[int]
    ) -> list[Tensor]:
        return [
            self._cut(x, axis, fixed, number, sizes)
            for x, axis in zip(floats, self._float_axes(), strict=True)
        ]

    def _cut(
        self, x: Tensor, axes: Axes, fixed: Any, number: Tensor, sizes: Sequence[int]
    ) -> Tensor:
        return fixed["strips"].cut(x, axes, number * self.rows, self.rows, sizes)

    def _used(self, fixed: Any) -> Tensor:
        """How many groups of strips hold anything."""
        return (fixed["strips"].used + self.rows - 1) // self.rows

    def _grouped(self, whole: Any, count: Any) -> Tensor:
        return ops.zeros((count, self.rows, *whole.shape[1:]), whole.dtype)

    def _put_back(self, grouped: Tensor, axes: Axes, fixed: Any) -> Tensor:
        strips = ops.reshape(grouped, (-1, *grouped.shape[2:]))
        return fixed["strips"].put_back(strips, axes)


def _write(whole: Tensor, number: Tensor, part: Tensor) -> Tensor:
    start = (number, *(ops.zeros((), "int32") for _ in part.shape))
    return ops.slice_update(whole, start, part[None])
