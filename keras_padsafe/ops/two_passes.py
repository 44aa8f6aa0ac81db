"""A forward pass and its backward pass, each in a loop of its own.

What the first hands to the second has to have a shape that is known beforehand. On
JAX that is what products with weights gave, and the rest is made again from it. On
TensorFlow the forward pass is repeated.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.types import Tensor

Pass = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Any]
"""Takes floats, values and state. Returns an output and the new state."""


def ahead(
    f: Pass,
    floats: Sequence[Tensor],
    values: Sequence[Tensor],
    state: Sequence[Tensor],
) -> tuple[Tensor, Sequence[Tensor], list[Tensor], Any]:
    """Returns output, new state, what `back` needs, and how it puts that together."""
    if keras.backend.backend() != "jax":
        output, new = f(floats, values, state)
        return output, new, list(state), None
    import jax

    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    run = jax.checkpoint(lambda x, v: f(x, v, state), policy=policy)
    output, vjp, new = jax.vjp(run, floats, values, has_aux=True)
    leaves, tree = jax.tree.flatten(vjp)
    given = [*floats, *values]
    sources = [
        next((i for i, x in enumerate(given) if x is leaf), None) for leaf in leaves
    ]
    pairs = zip(leaves, sources, strict=True)
    kept = [leaf for leaf, source in pairs if source is None]
    return output, new, kept, (tree, sources)


def back(
    f: Pass,
    floats: Sequence[Tensor],
    values: Sequence[Tensor],
    kept: Sequence[Tensor],
    how: Any,
    gradient: Tensor,
) -> Any:
    """Returns the gradients of `floats` and of `values`."""
    if keras.backend.backend() == "jax":
        import jax

        tree, sources = how
        given, rest = [*floats, *values], iter(kept)
        leaves = [next(rest) if source is None else given[source] for source in sources]
        return jax.tree.unflatten(tree, leaves)(gradient)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch((floats, values))
        output, _ = f(floats, values, kept)
    zero = tf.UnconnectedGradients.ZERO
    moved = list(floats), list(values)
    found = tape.gradient(output, moved, gradient, unconnected_gradients=zero)
    return keras.tree.map_structure(ops.convert_to_tensor, found)


def outline(
    run: Callable[[], tuple[Any, Any, list[Tensor], Any]], state: Sequence[Tensor]
) -> tuple[Any, Any]:
    """Returns the shapes of what `run`, a call of `ahead`, keeps, and how."""
    if keras.backend.backend() != "jax":
        return state, None
    import jax

    found: list[Any] = []

    def traced() -> Any:
        _, _, kept, how = run()
        found.append(how)
        return kept

    return jax.eval_shape(traced), found[-1]


def with_gradient(
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

        def keeping(moved: Any, fixed: Any) -> Any:
            result, saved = forward(moved, fixed)
            return result, (moved, fixed, saved)

        def returning(kept: Any, gradients: Any) -> Any:
            return backward(*kept, gradients[0]), None

        run.defvjp(keeping, returning)
        return run(moved, fixed)
    import tensorflow as tf

    new: list[Any] = []

    @tf.custom_gradient
    def call(*flat: Tensor) -> Any:
        packed = keras.tree.pack_sequence_as(moved, flat)
        (output, state), saved = forward(packed, fixed)
        new.extend(state)

        def returning(gradient: Tensor) -> Any:
            return keras.tree.flatten(backward(packed, fixed, saved, gradient))

        return output, returning

    return call(*keras.tree.flatten(moved)), new
