"""What goes into and comes out of every call of a run, as arrays."""

import inspect
import itertools
import math
import weakref
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import floats_in, like, to_numpy
from keras_padsafe.audit.run.watch import (
    Key,
    LayerCall,
    Moment,
    Observer,
    map_tensors,
    tensors_in,
)
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor


@dataclass(eq=False)
class Value:
    """A tensor of a run, as it was at one moment.

    Attributes:
        array: What it holds; steps of a `TimeDistributed` that are rows of it are an
            axis here.
        dtype: Its dtype in the model, as Keras names it.
        mask: The mask, of its first axes, that it carries then.
        tensor: The number of the tensor in the run: its mask may come and go.
    """

    array: np.ndarray
    dtype: str
    mask: np.ndarray | None
    tensor: int = 0

    @property
    def is_float(self) -> bool:
        """Whether it holds floats of any precision."""
        return "float" in self.dtype


@dataclass(eq=False)
class CallRecord:
    """One call of a run.

    Attributes:
        key: Its path, and which call of it.
        index: Its number, in the order in which calls begin.
        parent: The call that it happened in.
        inputs_after: The inputs when it had ended: a layer may take a mask away.
        given: The masks that it was given by name, and not by Keras.
        used: The names of the mask arguments that reached `call()`.
        has_children: Whether other calls happened in it.
    """

    key: Key
    index: int
    layer: keras.Operation
    parent: Key | None
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    inputs_after: list[Value] = field(default_factory=list)
    given: dict[str, list[Value]] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    has_children: bool = False

    @property
    def class_name(self) -> str:
        """The class of what was called."""
        return type(self.layer).__name__

    @property
    def path(self) -> str:
        """The names of the layers that it was called in, and its own."""
        return self.key[0]

    @property
    def makes_mask(self) -> bool:
        """Whether a mask comes out and none went in."""
        return any(value.mask is not None for value in self.outputs) and all(
            value.mask is None for value in self.inputs
        )


Record = dict[Key, CallRecord]
"""The calls of a run, in the order in which they end."""


class RecordCalls:
    """Writes down each call; `keep` makes of it what is kept, by default all.

    After an error, the last of the calls that are unfinished raised it.
    """

    def __init__(self, keep: Callable[[CallRecord], Any] = lambda call: call) -> None:
        self.kept: dict[Key, Any] = {}
        self._keep = keep
        self.unfinished: dict[int, CallRecord] = {}
        self._tensors: dict[int, tuple[Any, int, Callable[[], Value | None]]] = {}
        self._numbers = itertools.count()

    def __call__(self, call: LayerCall, moment: Moment, structure: Any) -> None:
        """Writes down what a call is given, or what it gives."""
        if moment == "enter":
            self._enter(call)
        elif call.index in self.unfinished:
            self._leave(call, self.unfinished.pop(call.index))

    def _enter(self, call: LayerCall) -> None:
        parent = call.parent
        if parent is not None:
            # In a loop there is no time axis.
            if parent.index not in self.unfinished or parent.loops:
                return
            self.unfinished[parent.index].has_children = True
        self.unfinished[call.index] = CallRecord(
            call.key,
            call.index,
            call.layer,
            parent.key if parent else None,
            self._read(call.inputs, call),
            given={
                name: self._read(tensors, call)
                for name, value in named_arguments(call).items()
                if "mask" in name and (tensors := tensors_in(value))
            },
        )

    def _leave(self, call: LayerCall, record: CallRecord) -> None:
        record.outputs = self._read(call.shown("leave"), call)
        record.inputs_after = self._read(call.inputs, call)
        named = {**call.passed, **record.given}
        masks = {name: value for name, value in named.items() if "mask" in name}
        used = (n for n, v in masks.items() if n in record.given or tensors_in(v))
        record.used = tuple(used)
        self.kept[record.key] = self._keep(record)

    def _read(self, tensors: list[Tensor], call: LayerCall) -> list[Value]:
        values = [self._value(tensor, call) for tensor in tensors]
        return [value for value in values if value is not None]

    def _value(self, tensor: Tensor, call: LayerCall) -> Value | None:
        identity, met = id(tensor), self._tensors
        _, number, latest = met.get(identity, (None, next(self._numbers), None))
        value = latest() if latest else None
        masked = get_keras_mask(tensor) is not None
        if value is not None and (value.mask is not None) == masked:
            return value
        value = read_tensor(tensor, call.steps)
        if value is not None:
            value.tensor = number
            # When it is gone, another tensor may get its identity.
            gone = weakref.ref(tensor, lambda _: met.pop(identity, None))
            met[identity] = gone, number, weakref.ref(value)
        return value


def named_arguments(call: LayerCall) -> dict[str, Any]:
    """The arguments of a call under the names of `call()`."""
    try:
        signature = inspect.signature(call.layer.call)
        bound = signature.bind_partial(*call.args, **call.kwargs).arguments
    except (TypeError, ValueError):  # Not ours to judge: the call itself will say.
        return {str(i): value for i, value in enumerate(call.args)} | call.kwargs
    named: dict[str, Any] = {}
    for name, value in bound.items():
        catches_all = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        named |= value if catches_all else {name: value}
    return named


def parameters(layer: keras.Operation) -> list[str]:
    """The names of the arguments of `call()`."""
    try:
        return list(inspect.signature(layer.call).parameters)
    except (TypeError, ValueError):
        return []


def read_tensor(tensor: Tensor, steps: tuple[int, ...]) -> Value | None:
    """A tensor of numbers as an array; `None` for text and random keys."""
    try:
        dtype = keras.backend.standardize_dtype(tensor.dtype)
    except ValueError:
        dtype = "string"
    if dtype == "string":
        return None
    mask = get_keras_mask(tensor)
    array = to_numpy(tensor)
    array = array.astype("float32") if dtype == "float16" else array
    if mask is not None:
        mask = apart(keras.ops.convert_to_numpy(mask), steps)
    return Value(apart(array, steps), dtype, mask)


def apart(array: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """An array with the axes apart that lie in its first one."""
    count = math.prod(steps)
    if not steps or not array.ndim or not count or len(array) % count:
        return array
    return array.reshape(len(array) // count, *steps, *array.shape[1:])


def put(
    record: Record,
    keys: Container[Key],
    moment: Moment,
    content: Callable[[np.ndarray, Value], np.ndarray],
) -> Observer:
    """Puts other content in what some calls are given, or in what they give.

    That is made of what a tensor of floats holds, and of what it held in the record
    of the batch itself. One of another shape is left alone.
    """

    def see(call: LayerCall, at: Moment, structure: Any) -> Any:
        if at != moment or call.key not in keys or call.key not in record:
            return structure
        known = record[call.key]
        values = known.inputs if moment == "enter" else known.outputs
        floats = [value for value in values if value.is_float]
        new: dict[int, Tensor] = {}
        for tensor, value in zip(floats_in(call.shown(at)), floats, strict=False):
            now = apart(to_numpy(tensor), call.steps)
            if now.shape == value.array.shape and id(tensor) not in new:
                made = content(now, value)
                same, made = made is now, made.reshape(tuple(tensor.shape))
                new[id(tensor)] = tensor if same else like(tensor, made)
        return map_tensors(lambda tensor: new.get(id(tensor), tensor), structure)

    return see
