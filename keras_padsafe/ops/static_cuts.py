"""Runs a function on cuts of a few sizes that are known before the batch is.

A compiled program needs its shapes beforehand. So each size has a branch of its own,
a loop runs over groups of rows, and a switch in it takes the smallest branch that
holds the group. The backward pass is a second such loop, whose branches repeat their
forward pass: left to the backend, the gradient of a switch would carry what every
branch keeps.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.ops.row_cuts import Axes, Spans, cut, fill_up, put_back
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
        rows: How many rows make a group.
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
        spans: Spans,
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Runs `f` on each group and puts the results where the rows came from.

        Args:
            inputs: Tensors `(batch, ...)`.
            values: Tensors of floats that `f` has a gradient for.
            state: Tensors without one that each group hands to the next.
            spans: Where the real tokens are.
        """
        order = spans.order()
        rows = ops.reshape(order, (-1, self.rows))
        share = ops.max(ops.take(spans.shares(), rows), axis=1)
        parts = ops.cast(ops.ceil(share * self.parts - 1e-3), "int32") - 1
        fixed = {
            "inputs": [
                x for x, moves in zip(inputs, self.is_float, strict=True) if not moves
            ],
            "starts": spans.starts,
            "rows": rows,
            "ranks": ops.cast(ops.argsort(order), "int32"),
            "parts": ops.clip(parts, 0, self.parts - 1),
            "state": list(state),
        }
        floats = [x for x, moves in zip(inputs, self.is_float, strict=True) if moves]
        return _with_gradient(
            self._forward, self._backward, (floats, list(values)), fixed
        )

    def _forward(self, moved: Any, fixed: Any) -> Any:
        """Returns the output, the state after it, and the state before each group."""
        floats, values = moved

        def group(number: Tensor, carry: Any) -> Any:
            whole, state, before = carry

            def branch(sizes: Sequence[int]) -> Any:
                cuts = self._cut_floats(floats, fixed, number, sizes)
                y, new = self._on_cuts(cuts, values, state, fixed, number, sizes)
                return fill_up(y, self.output_axes, self.times), list(new)

            y, new = self._switch(branch, fixed["parts"][number])
            before = [_write(b, number, s) for b, s in zip(before, state, strict=True)]
            return _write(whole, number, y), new, before

        state = fixed["state"]
        count = ops.shape(fixed["rows"])[0]
        before = [ops.zeros((count, *s.shape), s.dtype) for s in state]
        start = (self._grouped(self.output, count), state, before)
        whole, new, before = ops.fori_loop(0, count, group, start)
        return (self._put_back(whole, self.output_axes, fixed), new), before

    def _backward(self, moved: Any, fixed: Any, before: Any, gradient: Tensor) -> Any:
        floats, values = moved
        axes = self._float_axes()

        def group(number: Tensor, carry: Any) -> Any:
            wholes, sums = carry
            state = [b[number] for b in before]

            def branch(sizes: Sequence[int]) -> Any:
                of_floats, of_values = _vjp(
                    lambda x, v: self._on_cuts(x, v, state, fixed, number, sizes)[0],
                    (self._cut_floats(floats, fixed, number, sizes), values),
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

        count = ops.shape(fixed["rows"])[0]
        wholes = [self._grouped(x, count) for x in floats]
        sums = [ops.zeros_like(v) for v in values]
        wholes, sums = ops.fori_loop(0, count, group, (wholes, sums))
        put = [
            self._put_back(x, axis, fixed) for x, axis in zip(wholes, axes, strict=True)
        ]
        return put, sums

    def _on_cuts(
        self,
        floats: Sequence[Tensor],
        values: Sequence[Tensor],
        state: Sequence[Tensor],
        fixed: Any,
        number: Tensor,
        sizes: Sequence[int],
    ) -> Any:
        """Runs `f` on one group, whose floats are cut already."""
        cuts, whole = iter(floats), iter(fixed["inputs"])
        every = [
            next(cuts) if moves else self._cut(next(whole), axis, fixed, number, sizes)
            for axis, moves in zip(self.axes, self.is_float, strict=True)
        ]
        return self.f(every, values, state)

    def _switch(self, branch: Callable[..., Any], part: Tensor) -> Any:
        choices = [
            tuple(-(-time * (n + 1) // self.parts) for time in self.times)
            for n in range(self.parts)
        ]
        return ops.switch(
            part, [lambda sizes=sizes: branch(sizes) for sizes in choices]
        )

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
        spans = Spans(self.times, fixed["starts"], ())
        return cut(x, axes, spans, fixed["rows"][number], sizes)

    def _grouped(self, whole: Any, count: Any) -> Tensor:
        return ops.zeros((count, self.rows, *whole.shape[1:]), whole.dtype)

    def _put_back(self, grouped: Tensor, axes: Axes, fixed: Any) -> Tensor:
        spans = Spans(self.times, fixed["starts"], ())
        cuts = ops.reshape(grouped, (-1, *grouped.shape[2:]))
        return put_back(cuts, axes, spans, fixed["ranks"])


def _write(whole: Tensor, number: Tensor, part: Tensor) -> Tensor:
    start = (number, *(ops.zeros((), "int32") for _ in part.shape))
    return ops.slice_update(whole, start, part[None])


def _vjp(f: Callable[..., Tensor], arguments: Any, gradient: Tensor) -> Any:
    if keras.backend.backend() == "jax":
        import jax

        return jax.vjp(f, *arguments)[1](gradient)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        output = f(*arguments)
    zero = tf.UnconnectedGradients.ZERO
    found = tape.gradient(output, arguments, gradient, unconnected_gradients=zero)
    return keras.tree.map_structure(ops.convert_to_tensor, found)


def _with_gradient(
    forward: Callable[..., Any], backward: Callable[..., Any], moved: Any, fixed: Any
) -> Any:
    """Calls `forward`, and gives the backend `backward` for its gradient.

    Args:
        forward: Takes `moved` and `fixed`. Returns the output with a list of tensors
            that have no gradient, and what the backward pass needs.
        backward: Takes `moved`, `fixed`, that, and the gradient of the output.
            Returns the gradient of `moved`.
        moved: Lists of tensors of floats.
        fixed: Tensors that have no gradient.
    """
    if keras.backend.backend() == "jax":
        import jax

        run = jax.custom_vjp(lambda moved, fixed: forward(moved, fixed)[0])

        def ahead(moved: Any, fixed: Any) -> Any:
            result, saved = forward(moved, fixed)
            return result, (moved, fixed, saved)

        def back(kept: Any, gradients: Any) -> Any:
            return backward(*kept, gradients[0]), None

        run.defvjp(ahead, back)
        return run(moved, fixed)
    import tensorflow as tf

    new: list[Any] = []

    @tf.custom_gradient
    def call(*flat: Tensor) -> Any:
        packed = keras.tree.pack_sequence_as(moved, flat)
        (output, state), saved = forward(packed, fixed)
        new.extend(state)

        def back(gradient: Tensor) -> Any:
            return keras.tree.flatten(backward(packed, fixed, saved, gradient))

        return output, back

    return call(*keras.tree.flatten(moved)), new
