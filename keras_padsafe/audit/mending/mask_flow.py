"""Follows every mask through the calls of a saved model, as it should go.

Nothing is run. A mask is followed beyond a layer that loses it wherever repair can
put one there that does not, since that is where the mask will be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.audit.mending import mask_rules
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode

_OURS = "keras_padsafe>"


@dataclass(frozen=True)
class Mask:
    """A mask that a tensor carries, or may carry.

    Attributes:
        origins: The calls that made it; two masks with other origins may differ.
        rank: Its rank: 2 for `(batch, time)`.
        home: The `TimeDistributed` within which it was made, if there is one.
    """

    origins: frozenset[Call]
    rank: int = 2
    home: LayerNode | None = None

    def joined(self, *others: "Mask") -> "Mask":
        """The mask of a tensor made of several."""
        origins = self.origins.union(*(other.origins for other in others))
        return Mask(origins, max(m.rank for m in (self, *others)), self.home)


@dataclass(frozen=True)
class Meeting:
    """A call that a mask reaches.

    Attributes:
        call: The call.
        layer: The layer that computes; for a wrapper, the layer inside.
        masks: The mask of each input, `None` for an input without one.
        given: The names of the masks that the model's author passed, and their ranks.
        input_rank: The rank of the first input, where the file records it.
    """

    call: Call
    layer: LayerNode
    masks: tuple[Mask | None, ...]
    given: dict[str, int] = field(default_factory=dict)
    input_rank: int | None = None

    @property
    def known(self) -> list[Mask]:
        """The masks of those inputs that have one."""
        return [mask for mask in self.masks if mask is not None]

    @property
    def first(self) -> Mask | None:
        """The mask of the first input, which most layers hand on."""
        return self.masks[0] if self.masks else None


def follow_masks(graph: Graph) -> Iterator[Meeting]:
    """Every call that a mask reaches, in an order in which the model can run."""
    carried: dict[Call, Mask | None] = {}
    for call in graph.calls:
        home = _home(call.layer)
        arriving = [carried[source] for source in call.inputs]
        meeting = Meeting(
            call,
            _inner(call.layer),
            tuple(_seen_from(mask, home) for mask in arriving),
            dict(_given(call)),
            _rank(call.inputs[0], graph) if call.inputs else None,
        )
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


def _mask_after(meeting: Meeting, home: LayerNode | None, graph: Graph) -> Mask | None:
    call, layer = meeting.call, meeting.layer
    kind = layer.class_name
    if mask_rules.makes_mask(call):
        return Mask(frozenset((call,)), max(2, _source_rank(meeting)), home)
    if is_opaque(layer):
        looks_up = not meeting.known and _looks_like_a_table(meeting, graph)
        return Mask(frozenset((call,)), 2, home) if looks_up else meeting.first
    if layer.is_operation:
        return _mask_after_operation(meeting)
    if kind in mask_rules.MERGES or kind in mask_rules.KEEPS_ANY:
        return meeting.known[0].joined(*meeting.known) if meeting.known else None
    if kind in mask_rules.RECURRENT:
        return meeting.first if mask_rules.returns_sequences(layer) else None
    if kind in ("Conv1D", "MaskedConv1D") and meeting.first is not None:
        return Mask(frozenset((call,)), 2, home)
    if kind in mask_rules.KEEPS or layer.key.startswith(_OURS):
        first = meeting.first
        if first is None and {"mask", "query_mask"} & meeting.given.keys():
            return Mask(frozenset((call,)), 2, home)
        return None if kind in mask_rules.CONSUMES else first
    return None


def _mask_after_operation(meeting: Meeting) -> Mask | None:
    from keras_padsafe.audit.mending.operations import keeps_mask

    if not meeting.known or not keeps_mask(meeting):
        return None
    return meeting.known[0].joined(*meeting.known)


def _inner(layer: LayerNode) -> LayerNode:
    while layer.class_name == "SpectralNormalization" and layer.children:
        layer = layer.children[0].original or layer.children[0]
    return layer


def _home(layer: LayerNode) -> LayerNode | None:
    around = layer.outwards()
    return next((n for n in around if n.class_name == "TimeDistributed"), None)


def _seen_from(mask: Mask | None, home: LayerNode | None) -> Mask | None:
    """What a layer sees of a mask: inside `TimeDistributed`, that of its one step."""
    if mask is None or mask.home is home:
        return mask
    if mask.home is None and mask.rank > 2:
        return Mask(mask.origins, mask.rank - 1, home)
    return None


def _given(call: Call) -> Iterator[tuple[str, int]]:
    for name, value in call.arguments.items():
        if name.endswith("mask"):
            shapes = list(_shapes(value))
            if shapes:
                yield name, len(shapes[0])


def _shapes(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"].get("shape") or []
    elif isinstance(value, list):
        for item in value:
            yield from _shapes(item)


def _rank(call: Call, graph: Graph) -> int | None:
    shape = graph.shape_of(call)
    if shape is None and call.layer.class_name == "InputLayer":
        shape = call.layer.config.get("batch_shape")
    return None if shape is None else len(shape)


def _source_rank(meeting: Meeting) -> int:
    """The mask of a table has the rank of the ids; that of values, one less."""
    values = meeting.layer.class_name in ("Masking", "NaNMasking")
    return (meeting.input_rank or 2) - values


def _looks_like_a_table(meeting: Meeting, graph: Graph) -> bool:
    """Whether a class unknown makes vectors of ids; such a one may make a mask."""
    return meeting.input_rank == 2 and _rank(meeting.call, graph) in (3, None)
