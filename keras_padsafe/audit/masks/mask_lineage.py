"""What is known of the padding in a tensor: where its mask was seen, and was lost."""

from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from keras_padsafe.audit.masks.padded_elements import covers, spread
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor


@dataclass(frozen=True)
class Loss:
    """Where a tensor lost its mask.

    Attributes:
        how: `"dropped"` by a layer whose output carries none, `"erased"` from the
            tensor that a layer was given, or lost by an `"operation"` that is no
            layer.
        place: The path of the layer, or of the one whose code holds the operation.
        class_name: The class of that layer.
        order: When: the number of the call.
    """

    how: Literal["dropped", "erased", "operation"]
    place: str
    class_name: str
    order: int


@dataclass(eq=False)
class Lineage:
    """What is known of one tensor.

    Attributes:
        tensor: The tensor: it is kept, so that nothing else takes its identity.
        padded: The padded elements; `None` if there are none.
        seen: The last place where the mask was carried, or given to a layer.
        carried: Whether a tensor that it comes from carried a mask; else the mask was
            an argument.
        lost: Where the mask was lost; `None` while it is there.
        unhidden: Where a mask came that shows padding as real.
        enters: Whether an argument alone says that there is padding in it.
        made_by: The call that made it, and which of its outputs it is.
    """

    tensor: Tensor
    padded: np.ndarray | None = None
    seen: str = ""
    carried: bool = False
    lost: Loss | None = None
    unhidden: Loss | None = None
    enters: bool = False
    made_by: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class SeenTensor:
    """A tensor as it was when a call began, or ended.

    Attributes:
        lineage: What is known of it.
        mask: The mask that it carried then.
        lost: Where it had lost it by then.
        unseen: Whether an operation made it that is no call.
        unhidden: Where a mask came by then that shows padding as real.
        argument: The mask argument, given by name, that hides all of its padding.
    """

    lineage: Lineage
    mask: np.ndarray | None
    lost: Loss | None
    unseen: bool = False
    unhidden: Loss | None = None
    argument: str | None = None

    @property
    def tensor(self) -> Tensor:
        """The tensor itself."""
        return self.lineage.tensor

    @property
    def padded(self) -> np.ndarray | None:
        """Its padded elements; `None` if there are none."""
        return self.lineage.padded

    @property
    def state(self) -> str:
        """`"mask"`, `"all True"` or `"none"`."""
        if self.mask is None:
            return "none"
        return "all True" if self.padded is not None and self.mask.all() else "mask"

    @property
    def partly_padded(self) -> bool:
        """Whether a row holds both padding and real elements: a time axis is left."""
        if self.padded is None or self.padded.ndim < 2:
            return False
        rows = self.padded.reshape(len(self.padded), -1)
        return bool((rows.any(1) & ~rows.all(1)).any())

    @property
    def told(self) -> bool:
        """Whether a mask came with it that hides every padded element."""
        if self.argument is not None:
            return True
        return self.mask is not None and not shows_padding(self.mask, self.padded)


@dataclass(eq=False)
class TracedCall:
    """One call as the trace saw it.

    Attributes:
        index: Its number in the run: its place in the list of calls.
        layer: What was called.
        path: The names of the layers it was called in, and its own.
        parent: The call that it happened in.
        inputs: Its floating-point tensors as they came in.
        given: Masks given to it by name, and not by Keras.
        used: The names of the mask arguments that reached `call()`.
        outputs: What came out.
        states_after: The states of the inputs after the call.
        events: What happened to masks in it.
        mixed: For each output, the elements at real positions that changed with the
            content at padded ones; `None` if none did.
        leaking_child: Whether a call inside of it does so.
        harmless: Whether its answers were those without any padding.
    """

    index: int
    layer: keras.Operation
    path: str
    parent: "TracedCall | None"
    inputs: list[SeenTensor] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    outputs: list[SeenTensor] = field(default_factory=list)
    states_after: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    mixed: list[np.ndarray | None] = field(default_factory=list)
    leaking_child: bool = False
    harmless: bool = False

    @property
    def class_name(self) -> str:
        """The class of what was called."""
        return type(self.layer).__name__

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer, and no operation."""
        return isinstance(self.layer, keras.layers.Layer)

    @property
    def owner(self) -> "TracedCall":
        """The call that a reader can find: itself, or the layer whose code it is in."""
        if self.is_layer or self.parent is None:
            return self
        graph = getattr(self.parent.layer, "operations", ())
        in_graph = any(operation is self.layer for operation in graph)
        return self if in_graph else self.parent.owner

    @property
    def reads_padding(self) -> bool:
        """Whether it mixes padding into real positions, no call inside doing so."""
        found = any(mixed is not None for mixed in self.mixed)
        return found and not self.leaking_child and not self.harmless

    @property
    def concerns_masks(self) -> bool:
        """Whether padding or a mask went through what it computes."""
        seen = [*self.inputs, *self.outputs]
        met = any(s.mask is not None or s.padded is not None for s in seen)
        return bool(self.outputs) and (met or bool(self.used))

    @property
    def padded_inputs(self) -> list[SeenTensor]:
        """The inputs that hold padding."""
        return [seen for seen in self.inputs if seen.padded is not None]


def mask_of(tensor: Tensor) -> np.ndarray | None:
    """The mask that a tensor carries, if it is one of its first axes."""
    mask = get_keras_mask(tensor)
    if mask is None:
        return None
    array = np.asarray(keras.ops.convert_to_numpy(mask)).astype(bool)
    return array if covers(array, tensor.shape) else None


def shows_padding(mask: np.ndarray, padded: np.ndarray | None) -> bool:
    """Whether a mask marks a padded element as real."""
    if padded is None:
        return False
    shape = max(mask.shape, padded.shape, key=len)
    return bool((spread(mask, shape) & spread(padded, shape)).any())


def padding_of(mask: np.ndarray) -> np.ndarray | None:
    """The padded elements that a mask names; `None` if there are none."""
    return None if mask.all() else ~mask


def either(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """The elements that are padding by one account or the other."""
    if first is None or second is None:
        return second if first is None else first
    shape = max(first.shape, second.shape, key=len)
    return spread(first, shape) | spread(second, shape)
