"""Follows every mask through the calls of a saved model, as it should go.

Nothing is run. A mask is followed beyond a layer that loses it wherever repair can
put one there that does not, since that is where the mask will be.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from keras_padsafe.facts import masks
from keras_padsafe.facts.operations import POOLING_OVER_TIME
from keras_padsafe.facts.swaps import (
    ACTIVATION,
    ACTIVATIONS,
    MASKED_ADD,
    RESCALING,
    Swap,
)
from keras_padsafe.saved_model.config_path import walk_values
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.id_sources import is_reverse

_OURS = "keras_padsafe>"
_FLOATS = frozenset("bfloat16 float16 float32 float64".split())


@dataclass(frozen=True)
class Mask:
    """A mask that a tensor carries, or may carry; of rank 2 it is `(batch, time)`."""

    origins: frozenset[Call]  # What made it: masks with other origins may differ.
    rank: int = 2
    home: LayerNode | None = None  # The `TimeDistributed` within which it was made.


@dataclass(frozen=True)
class Meeting:
    """A call that a mask reaches."""

    call: Call
    layer: LayerNode  # The one that computes; for a wrapper, the layer inside.
    masks: tuple[Mask | None, ...]  # Of each input.
    given: dict[str, int]  # The ranks of those that the model's author passed, by name.
    input_rank: int | None  # Of the first input, where the file records it.

    @property
    def known(self) -> list[Mask]:
        """The masks of those inputs that have one."""
        return [mask for mask in self.masks if mask is not None]


def follow_masks(graph: Graph) -> Iterator[Meeting]:
    """Every call that a mask reaches, in an order in which the model can run."""
    carried: dict[Call, Mask | None] = {}
    for call in graph.calls:
        around = call.layer.outwards()
        home = next((n for n in around if n.class_name == "TimeDistributed"), None)
        arriving = [carried[source] for source in call.inputs]
        seen = tuple(_seen_from(mask, home) for mask in arriving)
        rank = _rank(call.inputs[0], graph) if call.inputs else None
        layer = call.layer
        while layer.class_name == "SpectralNormalization" and layer.children:
            layer = layer.children[0].original or layer.children[0]
        meeting = Meeting(call, layer, seen, _given(call), rank)
        if meeting.known or meeting.given:
            yield meeting
        first = arriving[0] if arriving else None
        if home is not None and first is not None and first.home is not home:
            carried[call] = first  # The wrapper hands it on, whatever is inside.
        else:
            carried[call] = _mask_after(meeting, home, graph)


def is_opaque(layer: LayerNode) -> bool:
    """Whether what a layer does is in code that belongs to neither Keras nor us."""
    return not (layer.is_stock or layer.is_operation or layer.key.startswith(_OURS))


def makes_mask(call: Call) -> bool:
    """Whether the output of this call carries a mask that no input carried."""
    config, kind = call.layer.config, call.layer.class_name
    if kind in masks.READS_VALUES | masks.OF_SEGMENTS:
        return True
    if kind == "ExtendableEmbedding":
        return config.get("pad_id") is not None
    return bool(config.get("mask_zero")) and not is_reverse(call)


def covers_time(axis: Any, rank: int | None) -> bool:
    """Whether an axis, or one of a list, is that of time; `None` stands for all."""
    if axis is None:
        return True
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return any(one == 1 or (rank is not None and one == 1 - rank) for one in axes)


def _mask_after(meeting: Meeting, home: LayerNode | None, graph: Graph) -> Mask | None:
    call, layer, known = meeting.call, meeting.layer, meeting.known
    first = meeting.masks[0] if meeting.masks else None
    kind, anew = layer.class_name, Mask(frozenset((call,)), 2, home)
    if makes_mask(call):
        # The mask of a table has the rank of the ids; that of values, one less.
        rank = (meeting.input_rank or 2) - (kind in masks.READS_VALUES)
        return replace(anew, rank=max(2, rank))
    if is_opaque(layer):
        # What makes vectors of ids may make a mask of them too.
        like_a_table = meeting.input_rank == 2 and _rank(call, graph) in (3, None)
        return anew if like_a_table and not known else first
    if layer.is_operation:
        joins = kind in masks.WITHOUT_MASK or layer_for(meeting) is not None
    else:
        joins = kind in masks.MERGES or kind in masks.KEEPS_ANY
    if known and joins:
        origins = known[0].origins.union(*(mask.origins for mask in known))
        return Mask(origins, max(mask.rank for mask in known), known[0].home)
    if joins or layer.is_operation:
        return None
    if kind in masks.RECURRENT:
        inside = (child for child in layer.children if child.attribute == "layer")
        return first if next(inside, layer).config.get("return_sequences") else None
    if kind in ("Conv1D", "MaskedConv1D") and first is not None:
        return anew
    if kind in masks.KEEPS or layer.key.startswith(_OURS):
        if first is None and {"mask", "query_mask"} & meeting.given.keys():
            return anew
        return None if kind in POOLING_OVER_TIME else first
    return None


def _seen_from(mask: Mask | None, home: LayerNode | None) -> Mask | None:
    """What a layer sees of a mask: inside `TimeDistributed`, that of its one step."""
    if mask is None or mask.home is home:
        return mask
    if mask.home is None and mask.rank > 2:
        return Mask(mask.origins, mask.rank - 1, home)
    return None


def _given(call: Call) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in call.arguments.items():
        for _, inner in walk_values(value) if name.endswith("mask") else ():
            if _is_tensor(inner):
                found.setdefault(name, len(inner["config"].get("shape") or []))
    return found


def _rank(call: Call, graph: Graph) -> int | None:
    shape = graph.shape_of(call)
    if shape is None and call.layer.class_name == "InputLayer":
        shape = call.layer.config.get("batch_shape")
    return None if shape is None else len(shape)


def layer_for(meeting: Meeting) -> tuple[Swap, dict[str, Any], list[Any]] | None:
    """The layer that does what an operation does, and keeps the mask, if there is one.

    Its class, its configuration but for the name, and the arguments of its call.
    """
    kind = meeting.layer.class_name
    values = list(meeting.call.arguments.values())
    tensors = [value for value in values if _is_tensor(value)]
    dtypes = {str(tensor["config"].get("dtype")) for tensor in tensors}
    if len(dtypes) != 1 or not dtypes <= _FLOATS:
        return None
    own = {"dtype": dtypes.pop()}
    if kind in ACTIVATIONS and len(values) == 1:
        return ACTIVATION, {**own, "activation": ACTIVATIONS[kind]}, tensors
    if kind == "Add" and len(values) == len(tensors) == 2:
        return MASKED_ADD, own, [tensors]
    numbers = [v for v in values if type(v) in (int, float) and math.isfinite(v)]
    if len(values) != 2 or not len(tensors) == len(numbers) == 1:
        return None
    scale, offset = 1.0, numbers[0]
    if kind == "Multiply":
        scale, offset = numbers[0], 0.0
    elif kind == "Subtract" and values[0] is tensors[0]:
        offset = -numbers[0]
    elif kind != "Add":
        return None
    return RESCALING, {**own, "scale": scale, "offset": offset}, tensors


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"
