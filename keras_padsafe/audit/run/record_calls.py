"""What goes into and comes out of every call of a run, as arrays."""

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
    """A tensor of a run.

    Attributes:
        array: What it holds.
        dtype: Its dtype in the model, as Keras names it.
        mask: The mask `(batch, time)` that it carries.
    """

    array: np.ndarray
    dtype: str
    mask: np.ndarray | None


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
        has_children: Whether other calls happened in it.
    """

    key: Key
    index: int
    layer: keras.Operation
    parent: Key | None
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    has_children: bool = False

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
    """

    def __init__(self, alter: Alter | None = None) -> None:
        self.record: Record = {}
        self._alter = alter
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
        self._open[call.index] = CallRecord(
            (call.path, count),
            call.index,
            call.layer,
            above.key if above else None,
            self._read(call.inputs),
        )

    def leave(self, call: LayerCall) -> None:
        if call.index in self._hidden:
            return
        record = self._open.pop(call.index)
        if self._alter is not None:
            self._alter(record.key, call)
        record.outputs = self._read(call.results)
        self.record[record.key] = record

    def _read(self, tensors: list[Tensor]) -> list[Value]:
        values = [self._value(tensor) for tensor in tensors]
        return [value for value in values if value is not None]

    def _value(self, tensor: Tensor) -> Value | None:
        # The tensor is kept, so that no other one gets its identity.
        known = self._values.get(id(tensor))
        if known is None or not _same_mask(known[1], get_keras_mask(tensor)):
            known = (tensor, read_tensor(tensor))
            self._values[id(tensor)] = known
        return known[1]


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
