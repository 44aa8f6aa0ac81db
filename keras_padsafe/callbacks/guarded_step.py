"""A training step that changes nothing if what it makes is not finite.

It answers, beside its logs, with one flag for the loss and one for each watched
variable, in the order of the `TrainingState`: True where the value is finite.
"""

from collections.abc import Callable
from typing import Any

from keras_padsafe.callbacks.training_state import TrainingState
from keras_padsafe.errors import GuardError

Step = Callable[..., Any]

FLAGS = "keras_padsafe_finite"
"""The key of the flags in the logs of a guarded step."""


def guarded_jax_step(step: Step, state: TrainingState) -> Step:
    """Guards `train_step(state, data) -> (logs, state)`; runs inside `jax.jit`."""
    import jax
    import jax.numpy as jnp

    def finite(x: Any) -> Any:
        return jnp.all(jnp.isfinite(x))

    def guarded(before: Any, data: Any) -> Any:
        logs, after = step(before, data)
        new, structure = jax.tree.flatten(after)
        watched = [x for x, watch in zip(new, state.watched, strict=True) if watch]
        flags = jnp.stack([finite(logs.get("loss", 0.0)), *map(finite, watched)])
        kept = jnp.all(flags)
        old = jax.tree.leaves(before)
        chosen = [
            jnp.where(kept, x, y.astype(x.dtype)) for x, y in zip(new, old, strict=True)
        ]
        return {**logs, FLAGS: flags}, jax.tree.unflatten(structure, chosen)

    return guarded


def guarded_tensorflow_step(step: Step, state: TrainingState, model: Any) -> Step:
    """Guards `train_step(data) -> logs`; runs inside `tf.function`, or eagerly."""
    import tensorflow as tf

    def finite(x: Any) -> Any:
        return tf.reduce_all(tf.math.is_finite(x))

    def guarded(data: Any) -> Any:
        # A read: whatever is written afterwards, these keep their values.
        before = [tf.identity(variable.value) for variable in state.variables]
        with state.noting_new_variables(lambda v: before.append(tf.identity(v.value))):
            logs = step(data)
        state.add_late_metrics(model)
        if state.new_weights(model):
            raise GuardError(
                "the first training step created new weights, so NonFiniteGuard "
                "cannot restore them. Expected: a model that is built. Call the "
                "model on one batch before `fit`."
            )
        pairs = zip(state.variables, state.watched, strict=True)
        flags = [finite(variable.value) for variable, watched in pairs if watched]
        flags = tf.stack([finite(tf.convert_to_tensor(logs.get("loss", 0.0))), *flags])

        def restore() -> None:
            # Late metrics come last; this step has not read what they began with.
            for variable, value in zip(state.variables, before, strict=False):
                variable.assign(value)

        tf.cond(tf.reduce_all(flags), lambda: None, restore)
        return {**logs, FLAGS: flags}

    return guarded


def guarded_torch_function(function: Step, state: TrainingState, model: Any) -> Step:
    """Guards `train_function(data) -> logs`, compiled or not, from outside."""
    import torch

    # What PyTorch modules inside the model hold is no variable of Keras.
    buffers = list(model.buffers())

    def finite(tensors: list[Any]) -> Any:
        # One pass over each tensor, in which NaN is never lost. A stack of several
        # dtypes takes the widest.
        empty = torch.zeros(2, device=tensors[-1].device)
        ends = [torch.aminmax(x) if x.numel() else empty for x in tensors]
        ends = torch.stack([end.to(empty.device) for pair in ends for end in pair])
        return torch.isfinite(ends).reshape(-1, 2).all(1)

    def guarded(data: Any) -> Any:
        before = [variable.value.detach().clone() for variable in state.variables]
        buffers_before = [buffer.clone() for buffer in buffers]
        restore_random_state = _torch_random_state()
        with state.noting_new_variables(
            lambda v: before.append(v.value.detach().clone())
        ):
            logs = function(data)
        with torch.no_grad():
            values = [variable.value.detach() for variable in state.variables]
            pairs = zip(values, state.watched, strict=True)
            loss = torch.as_tensor(logs.get("loss", 0.0))
            flags = finite([loss, *(value for value, watched in pairs if watched)])
            if not flags.all():
                old = before + buffers_before
                for value, kept in zip(values + buffers, old, strict=True):
                    value.copy_(kept)
                restore_random_state()
        return {**logs, FLAGS: flags}

    return guarded


def _torch_random_state() -> Callable[[], None]:
    """Puts back what layers draw from that are not given a seed, as it is now."""
    import torch

    state = torch.get_rng_state()
    on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def restore() -> None:
        torch.set_rng_state(state)
        if on_devices:
            torch.cuda.set_rng_state_all(on_devices)

    return restore
