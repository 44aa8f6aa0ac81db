"""What has to come from inside Keras, in one place.

Checked on Keras 3.15.1. Keras offers no public way to do any of this:

- read or set the mask that a tensor carries; every layer of its own uses these two;
- read a variable as it is stored, whatever dtype the layer that asks computes in;
- say whether TensorFlow traces a graph for XLA, which wants to know all shapes;
- say what a function makes of tensors that have a shape and no value;
- say under which path of the weights file a layer's variables are saved;
- list every layer inside a model, those of layers too;
- read and write a configuration so that a layer described twice is one layer, and
  whoever calls, no code of it is run;
- put the process-wide state of Keras, as its counters of names, back;
- build a model whose weights are read next without compiling what draws them first;
- give a lookup layer other words so that compiled functions see them;
- take the steps of a recurrent layer in another way;
- see the labels that a loss takes for numbers of classes, whoever calls it.
"""

import contextlib
import copy
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras.src.backend import compute_output_spec as compute_output_spec
from keras.src.backend import get_keras_mask as get_keras_mask
from keras.src.backend import nn as backend_nn
from keras.src.backend import random as backend_random
from keras.src.backend import set_keras_mask as set_keras_mask
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import AutocastScope
from keras.src.initializers import random_initializers
from keras.src.saving import saving_lib
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.saving.serialization_lib import ObjectSharingScope as ObjectSharingScope
from keras.src.saving.serialization_lib import SafeModeScope as SafeModeScope
from keras.src.utils.naming import to_snake_case


def walk_saved(model: Any) -> Iterator[tuple[str, Any]]:
    """Every object that `model.save` writes, with its group of the weights file.

    The walk of Keras's own `saving_lib._save_state`, which gives away no objects.
    """
    yield from _walk(model, "", set())


def settle_policy(layer: Any) -> None:
    """Gives a quantised layer the policy that a map has for it as its own.

    Keras 3.15 saves a layer whose policy stands in a map as if it were not quantised.
    """
    policies: Any = getattr(layer, "_dtype_policy", None)
    maps: Any = keras.dtype_policies.DTypePolicyMap
    if isinstance(policies, maps) and layer.path:
        own: Any = policies[layer.path]
        if own.quantization_mode is not None:
            layer._dtype_policy = own


def saved_arrays(
    objects: Iterable[tuple[str, Any]],
) -> Iterator[tuple[str, Any]]:
    """What these objects save: path in the weights file and value.

    A value is a `keras.Variable` where the object saves one as it is.
    """
    for group, saved in objects:
        store: dict[str, Any] = {}
        if hasattr(saved, "save_own_variables"):
            saved.save_own_variables(store)
        for key, value in store.items():
            yield (f"{group}/vars/{key}" if group else f"vars/{key}"), value


def _walk(saved: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(saved) in seen:
        return
    seen.add(id(saved))
    yield path, saved
    for attribute, child in saving_lib._walk_saveable(saved):
        inner = f"{path}/{attribute}" if path else attribute
        if isinstance(child, KerasSaveable):
            yield from _walk(child, inner, seen)
        elif isinstance(child, list | dict | tuple):
            yield from _walk_container(child, inner, seen, set())


def _walk_container(
    container: Any, path: str, seen: set[int], containers: set[int]
) -> Iterator[tuple[str, Any]]:
    if id(container) in containers:
        return
    containers.add(id(container))
    used: dict[str, int] = {}
    for child in container.values() if isinstance(container, dict) else container:
        if isinstance(child, KerasSaveable):
            name = _numbered(to_snake_case(type(child).__name__), used)
            yield from _walk(child, f"{path}/{name}", seen)
        elif isinstance(child, list | dict | tuple):
            name = _numbered("container", used)
            yield from _walk_container(child, f"{path}/{name}", seen, containers)


def _numbered(name: str, used: dict[str, int]) -> str:
    number = used.get(name, 0)
    used[name] = number + 1
    return f"{name}_{number}" if number else name


def compiles_for_xla() -> bool:
    """Whether TensorFlow traces a function for XLA now."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    if tf.executing_eagerly():
        return False
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def raw_value(variable: keras.Variable) -> Any:
    """The value of a variable in the dtype in which it is stored."""
    with AutocastScope(None):
        return variable.value


@contextlib.contextmanager
def own_global_state() -> Iterator[None]:
    """Gives Keras fresh counters of names, and puts all of its state back after."""
    state = vars(global_state.GLOBAL_STATE_TRACKER)
    before = {name: copy.copy(value) for name, value in state.items()}
    for name in ("object_name_uids", "uninitialized_variables"):
        state.pop(name, None)
    try:
        yield
    finally:
        state.clear()
        state.update(before)


def random_states(layer: keras.layers.Layer) -> list[keras.Variable]:
    """What says which random numbers a layer, and those in it, draw next."""
    return [v for v in layer.variables if "seed_generator_state" in v.path]


def inner_layers(model: Any) -> list[Any]:
    """A model and every layer in it, at any depth, in Keras's order."""
    return model._flatten_layers()


_loops: Counter[int] = Counter()
_loops_lock = threading.Lock()


@contextlib.contextmanager
def other_loop(layer: Any, loop: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, a recurrent layer takes its steps by `loop`.

    `RNN.inner_loop(sequences, initial_state, mask, training)` is the method by which
    LSTM and GRU put kernels of a backend in the place of the steps. The last of those
    who ask at a time takes it away: calls may be nested, and run in threads. One that
    the user set stays.
    """
    key = id(layer)
    with _loops_lock:
        is_ours = key in _loops or "inner_loop" not in vars(layer)
        if is_ours:
            object.__setattr__(layer, "inner_loop", loop)  # Keras tracks attributes.
            _loops[key] += 1
    try:
        yield
    finally:
        with _loops_lock:
            _loops[key] -= is_ours
            if is_ours and not _loops[key]:
                object.__delattr__(layer, "inner_loop")
                del _loops[key]


@contextlib.contextmanager
def labels_pass(look: Callable[[Any, int], Any]) -> Iterator[None]:
    """While it lasts, losses get their labels of classes through `look`.

    Args:
        look: Takes labels and the number of classes; returns labels.
    """
    name = "sparse_categorical_crossentropy"
    loss = getattr(backend_nn, name)

    def of_labels(
        target: Any, output: Any, from_logits: bool = False, axis: int = -1
    ) -> Any:
        target = look(target, output.shape[axis])
        return loss(target, output, from_logits=from_logits, axis=axis)

    with mock.patch.object(backend_nn, name, of_labels):
        yield


@contextlib.contextmanager
def softmaxes_get(scores: Callable[[Any, int], Any]) -> Iterator[None]:
    """While it lasts, softmaxes get their inputs through `scores`.

    Args:
        scores: Takes scores and the axis that they are compared along; returns scores.
    """
    with contextlib.ExitStack() as stack:
        for name in ("softmax", "log_softmax"):
            real = getattr(backend_nn, name)

            def softmax(x: Any, axis: int = -1, real: Any = real) -> Any:
                return real(scores(x, axis), axis=axis)

            stack.enter_context(mock.patch.object(backend_nn, name, softmax))
        yield


class _NumPyDraws:
    """What initializers draw from, by NumPy."""

    def uniform(
        self, shape: Any, minval: float = 0.0, maxval: float = 1.0, **kw: Any
    ) -> Any:
        return _tensor(np.random.default_rng().uniform(minval, maxval, shape), **kw)

    def normal(
        self, shape: Any, mean: float = 0.0, stddev: float = 1.0, **kw: Any
    ) -> Any:
        return _tensor(np.random.default_rng().normal(mean, stddev, shape), **kw)

    truncated_normal = normal

    def __getattr__(self, name: str) -> Any:
        return getattr(backend_random, name)


def _tensor(values: Any, dtype: Any = None, seed: Any = None) -> Any:
    return keras.ops.convert_to_tensor(values, dtype or keras.config.floatx())


@contextlib.contextmanager
def weights_follow() -> Iterator[None]:
    """Initial values are drawn by NumPy: the weights of the file replace them.

    JAX compiles a draw for each shape, which takes most of the time that loading a
    small model takes.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    with mock.patch.object(random_initializers, "random", _NumPyDraws()):
        yield


def set_words(layer: Any, words: list[Any], listed: list[Any] | None) -> None:
    """Gives a lookup layer other words, also where it was traced or saved before.

    `set_vocabulary` alone makes a new table, which nothing that was traced looks at,
    and leaves the words that the layer was made with to be saved.

    Args:
        layer: A StringLookup, IntegerLookup or TextVectorization.
        words: A word for each id.
        listed: The words as its configuration lists them, if it does.
    """
    import tensorflow as tf

    lookup = getattr(layer, "_lookup_layer", layer)
    table = lookup.lookup_table
    lookup.set_vocabulary(words)
    keys, values = lookup.lookup_table.export()
    handle = table.resource_handle
    with tf.device(handle.device):
        # The same table, which goes by its name, filled anew.
        tf.raw_ops.DestroyResourceOp(resource=handle)
        tf.raw_ops.HashTableV2(
            shared_name=table._shared_name,
            key_dtype=table.key_dtype,
            value_dtype=table.value_dtype,
        )
        tf.raw_ops.InitializeTableV2(table_handle=handle, keys=keys, values=values)
    lookup.lookup_table = table
    if listed is not None:
        lookup.input_vocabulary = listed
