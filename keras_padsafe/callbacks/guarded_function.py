"""A training function that changes nothing if what it makes is not finite.

Beside its logs a guarded step answers with one flag for the loss and one for each
watched variable, in the order of the `TrainingState`: True where the value is finite.
"""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_padsafe.errors import GuardError

if TYPE_CHECKING:
    from keras_padsafe.callbacks.guarded_training import GuardedTraining

Step = Callable[..., Any]

FLAGS = "keras_padsafe_finite"
"""The key of the flags in the logs of a guarded step."""


def guarded_function(training: "GuardedTraining", model: Any) -> Step:
    """Guards the training function of a model, as the running backend calls it."""
    return _FUNCTIONS[keras.backend.backend()](training, model)


def _jax(training: "GuardedTraining", model: Any) -> Step:
    """Guards `train_step(state, data) -> (logs, state)`, inside `jax.jit`."""
    import jax
    import jax.numpy as jnp

    step, state = model.train_step, training.state

    def finite(x: Any) -> Any:
        return jnp.all(jnp.isfinite(x))

    def guarded(before: Any, data: Any) -> Any:
        logs, after = step(before, data)
        new, structure = jax.tree.flatten(after)
        watched = [logs.get("loss", 0.0), *state.watched_of(new)]
        flags = jnp.stack([*map(finite, watched)])
        kept, pairs = jnp.all(flags), zip(new, jax.tree.leaves(before), strict=True)
        chosen = [jnp.where(kept, x, y.astype(x.dtype)) for x, y in pairs]
        return {**logs, FLAGS: flags}, jax.tree.unflatten(structure, chosen)

    model.train_step = guarded
    model.make_train_function(force=True)
    function = model.train_function

    def train_function(state: Any, iterator: Any) -> Any:
        data = next(iterator)
        logs, state = training.run(function, state, iter((data,)))
        return training.sift(logs, data), state

    return train_function


def _tensorflow(training: "GuardedTraining", model: Any) -> Step:
    """Guards `train_step(data) -> logs`, inside `tf.function` or eagerly."""
    import tensorflow as tf

    step, state = model.train_step, training.state

    def finite(x: Any) -> Any:
        return tf.reduce_all(tf.math.is_finite(x))

    def guarded(data: Any) -> Any:
        # A read: whatever is written afterwards, these keep their values.
        with state.copied(tf.identity) as before:
            logs = step(data)
        state.add_late_metrics(model)
        if state.new_weights(model):
            raise GuardError(
                "the first training step created new weights, so NonFiniteGuard "
                "cannot restore them. Expected: a model that is built. Call the "
                "model on one batch before `fit`."
            )
        watched = [variable.value for variable in state.watched_of(state.variables)]
        loss = tf.convert_to_tensor(logs.get("loss", 0.0))
        flags = tf.stack([*map(finite, [loss, *watched])])

        def restore() -> None:
            # Late metrics come last; this step has not read what they began with.
            for variable, value in zip(state.variables, before, strict=False):
                variable.assign(value)

        tf.cond(tf.reduce_all(flags), lambda: None, restore)
        return {**logs, FLAGS: flags}

    # A part that a data set does not have arrives as an empty `Optional`.
    def known(part: Any) -> Any:
        return None if isinstance(part, tf.experimental.Optional) else part

    model.train_step = guarded
    function: Any = None

    def train_function(iterator: Any) -> Any:
        nonlocal function
        data = next(iterator)
        if function is None:
            _build(model, data)
            state.add_weights(model)
            training.run(type(model).make_train_function, model, True)
            function, model.train_function = model.train_function, train_function
        logs = training.run(function, iter((data,)))
        logs = training.sift(logs, keras.tree.map_structure(known, data))
        if state.late_metrics:
            if training.bad is not None:
                for metric in state.late_metrics:
                    metric.reset_state()
            state.late_metrics.clear()
            function = None  # The next graph reads them too.
        return logs

    return train_function


def _build(model: Any, data: Any) -> None:
    """Makes the weights that `fit` would make in the first step of TensorFlow."""
    if model.built:
        return

    def symbolic(tensor: Any) -> Any:
        return keras.KerasTensor(tensor.shape, tensor.dtype.name)

    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    # A model with a training step of its own need not be one that can be called.
    with contextlib.suppress(Exception):
        model(keras.tree.map_structure(symbolic, x), training=False)


def _torch(training: "GuardedTraining", model: Any) -> Step:
    """Guards `train_function(data) -> logs`, compiled or not, from outside."""
    import torch

    function, state = model.train_function, training.state
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
        buffers_before = [buffer.clone() for buffer in buffers]
        # What layers draw from that are not given a seed.
        random, cuda = torch.get_rng_state(), torch.cuda
        on_devices = cuda.get_rng_state_all() if cuda.is_initialized() else []
        with state.copied(lambda value: value.detach().clone()) as before:
            logs = function(data)
        with torch.no_grad():
            values = [variable.value.detach() for variable in state.variables]
            loss = torch.as_tensor(logs.get("loss", 0.0))
            flags = finite([loss, *state.watched_of(values)])
            if not flags.all():
                old = before + buffers_before
                for value, kept in zip(values + buffers, old, strict=True):
                    value.copy_(kept)
                torch.set_rng_state(random)
                if on_devices:
                    cuda.set_rng_state_all(on_devices)
        return {**logs, FLAGS: flags}

    return lambda data: training.sift(training.run(guarded, data), data[0])


_FUNCTIONS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
