"""What goes into and comes out of every call of a run, as arrays."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor

Key = tuple[str, int]
"""The path of a layer, and which of its calls."""

Alter = Callable[[Key, LayerCall], None]


@dataclass(eq=False)
class Value:
    """A tensor of a run, as it was at one moment.

    Attributes:
        array: What it holds.
        dtype: Its dtype in the model, as Keras names it.
        mask: The mask, of its first axes, that it carries then.
        tensor: The identity of the tensor: its mask may come and go.
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
        layer: What was called.
        parent: The call that it happened in.
        inputs: The tensors that went in.
        outputs: The tensors that came out.
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

# They call a layer once a step: what it is given there has no time axis.
_LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)


class RecordCalls(Observer):
    """Writes down each call.

    Args:
        alter: Called after a call, before its outputs are written down; may replace
            them.
        given: Called before a call; may replace what it is given.
    """

    def __init__(self, alter: Alter | None = None, given: Alter | None = None) -> None:
        self.record: Record = {}
        self._alter = alter
        self._given = given
        self._open: dict[int, CallRecord] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[int, tuple[Tensor, Value | None]] = {}
        self._hidden: set[int] = set()

    def enter(self, call: LayerCall) -> None:
        parent = call.parent
        if parent and (
            parent.index in self._hidden or isinstance(parent.layer, _LOOPS)
        ):
            self._hidden.add(call.index)
            return
        count = self._counts.get(call.path, 0)
        self._counts[call.path] = count + 1
        above = self._open.get(parent.index) if parent else None
        if above is not None:
            above.has_children = True
        if self._given is not None:
            self._given((call.path, count), call)
        self._open[call.index] = CallRecord(
            (call.path, count),
            call.index,
            call.layer,
            above.key if above else None,
            self._read(call.inputs),
            given=self._masks_given(call),
        )

    def leave(self, call: LayerCall) -> None:
        if call.index in self._hidden:
            return
        record = self._open.pop(call.index)
        if self._alter is not None:
            self._alter(record.key, call)
        record.outputs = self._read(call.results)
        record.inputs_after = self._read(call.inputs)
        record.used = tuple(
            name
            for name, value in {**call.passed, **record.given}.items()
            if "mask" in name and (name in record.given or tensors_in(value))
        )
        self.record[record.key] = record

    def _masks_given(self, call: LayerCall) -> dict[str, list[Value]]:
        named = named_arguments(call)
        return {
            name: self._read(tensors_in(value))
            for name, value in named.items()
            if "mask" in name and tensors_in(value)
        }

    def _read(self, tensors: list[Tensor]) -> list[Value]:
        values = [self._value(tensor) for tensor in tensors]
        return [value for value in values if value is not None]

    def _value(self, tensor: Tensor) -> Value | None:
        # The tensor is kept, so that no other one gets its identity.
        known = self._values.get(id(tensor))
        if known is None or not _same_mask(known[1], get_keras_mask(tensor)):
            value = read_tensor(tensor)
            if value is not None:
                value.tensor = id(tensor)
            known = (tensor, value)
            self._values[id(tensor)] = known
        return known[1]


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


def read_tensor(tensor: Tensor) -> Value | None:
    """A tensor of numbers as an array; `None` for text and random keys."""
    try:
        dtype = keras.backend.standardize_dtype(tensor.dtype)
    except ValueError:
        return None
    if dtype == "string":
        return None
    carried = get_keras_mask(tensor)
    mask = None if carried is None else keras.ops.convert_to_numpy(carried)
    if dtype in ("bfloat16", "float16"):
        tensor = keras.ops.cast(tensor, "float32")
    return Value(keras.ops.convert_to_numpy(tensor), dtype, mask)


def floats_in(structure: Any) -> list[Tensor]:
    """The tensors of floats in a structure."""
    return [tensor for tensor in tensors_in(structure) if is_float(tensor)]


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds floats of any precision."""
    value = str(tensor.dtype)
    return "float" in value and "float8" not in value


def _same_mask(value: Value | None, mask: Tensor | None) -> bool:
    return value is None or (value.mask is None) == (mask is None)
