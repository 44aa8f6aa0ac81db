"""Keras variables that have a shape and no value."""

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np

from keras_padsafe.compat import own_global_state

_LOCK = threading.RLock()


class ShapeOnly(np.ndarray):
    """An array of zeros that takes no memory and knows the variable it stands for."""

    variable: Any = None


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Inside, new variables get no value and what is assigned to them is forgotten.

    Keras itself can hold a value back: in a `StatelessScope` that does not initialise.
    What it cannot hold back is replaced for the time: values given outright, values
    assigned, and values asked for when a model or optimizer is saved. On TensorFlow the
    optimizers know a variable by its `tf.Variable`, which a variable without a value
    lacks; there the methods of the other backends stand in.

    One thread at a time, and no other notices. Counters of names and the chance of
    Python and NumPy are as before.
    """
    variable, optimizer = keras.Variable, keras.optimizers.Optimizer
    base = next(c for c in optimizer.__mro__ if c.__name__ == "BaseOptimizer")
    chance, numpy_chance = random.getstate(), np.random.get_state()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_LOCK)
        stack.callback(random.setstate, chance)
        stack.callback(np.random.set_state, numpy_chance)
        stack.enter_context(own_global_state())
        for name, stand_in in (
            ("__init__", _shaped_init(variable.__init__)),
            ("assign", lambda self, value: value),
            ("numpy", _shape_only),
            ("__array__", lambda self, dtype=None, copy=None: _shape_only(self)),
        ):
            stack.enter_context(_here(variable, name, stand_in))
        for name in ("_var_key", "add_variable_from_reference", "assign"):
            own = getattr(base, name)
            stack.enter_context(_here(optimizer, name, own))
        stack.enter_context(keras.StatelessScope(initialize_variables=False))
        yield


def _here(owner: type, name: str, stand_in: Any) -> Any:
    """Replaces a method, for calls of this thread alone."""
    real, thread = getattr(owner, name), threading.get_ident()

    def method(*args: Any, **kwargs: Any) -> Any:
        chosen = stand_in if threading.get_ident() == thread else real
        return chosen(*args, **kwargs)

    return mock.patch.object(owner, name, method, create=True)


def _shaped_init(real: Any) -> Any:
    """`Variable.__init__`, which takes of a value given outright only the shape."""

    def init(
        self: Any,
        initializer: Any = None,
        shape: Any = None,
        dtype: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if isinstance(initializer, str) or callable(initializer):
            real(self, initializer, shape, dtype, *args, **kwargs)
            return
        given = (
            initializer if hasattr(initializer, "shape") else np.asarray(initializer)
        )
        shape = tuple(given.shape)
        dtype = dtype or keras.backend.standardize_dtype(given.dtype)
        real(self, _Given(given), shape, dtype, *args, **kwargs)

    return init


class _Given:
    """An initializer that gives a value given outright."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.convert_to_tensor(self._value, dtype)


def _shape_only(variable: Any) -> ShapeOnly:
    zeros = np.broadcast_to(np.float32(0), tuple(variable.shape)).view(ShapeOnly)
    zeros.variable = variable
    return zeros
