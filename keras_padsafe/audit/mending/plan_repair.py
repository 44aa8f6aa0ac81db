"""Decides which layers of a saved model to swap, and says why not the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.mending.mask_flow import (
    Meeting,
    covers_time,
    follow_masks,
    is_opaque,
    layer_for,
    makes_mask,
)
from keras_padsafe.facts import masks
from keras_padsafe.facts.layers import TABLES
from keras_padsafe.facts.operations import POOLING_OVER_TIME
from keras_padsafe.facts.swaps import SWAPS, Swap
from keras_padsafe.saved_model.graph import Graph
from keras_padsafe.saved_model.group_names import named_by_rule
from keras_padsafe.saved_model.layer_node import LayerNode

_BY_HAND = (
    "Build the model with layers of keras_padsafe there, load the old weights and "
    "save it."
)
_KEEP_MASK = (
    "If it keeps the positions of its input x, add `KeepMask()([result, x])` after "
    "it, and save the model again."
)
# Their arrays have to be found in the file to be renamed with them.
_HOLDS_WEIGHTS = ("Attention", "Conv1D", "GroupQueryAttention", "MultiHeadAttention")
_LOOK = "Check the whole model with `keras_padsafe.audit.check_padding`."


@dataclass(frozen=True)
class Edit:
    """One layer or operation that another layer takes the place of.

    Where there is no configuration, or no arguments of its only call, those of the old
    one are kept.
    """

    layer: LayerNode
    swap: Swap
    config: dict[str, Any] | None = None
    arguments: list[Any] | None = None


@dataclass(frozen=True)
class RepairPlan:
    """What to swap, what cannot be mended, and what the file says too little of."""

    edits: tuple[Edit, ...]
    unmended: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()


_Outcome = Edit | Finding | None


def plan_repair(root: LayerNode, graph: Graph) -> RepairPlan:
    """Reads what to do off the file alone; nothing is run."""
    if not root.is_graph:
        why = "config.json does not list its inner layers, so none could be replaced"
        return RepairPlan((), (_finding("PS306", root, why, f"{_BY_HAND} {_LOOK}"),))
    met: dict[LayerNode, list[Meeting]] = {}
    for meeting in follow_masks(graph):
        met.setdefault(meeting.layer, []).append(meeting)
    # Where the groups of weights that lie beside a layer can be renamed.
    ruled = {n for n in root.walk() if not n.is_graph or named_by_rule(n)} | {None}
    outcomes = [_judge(n, calls, n.parent in ruled) for n, calls in met.items()]
    return RepairPlan(
        tuple(outcome for outcome in outcomes if isinstance(outcome, Edit)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, Finding)),
        () if met else tuple(_unseen(graph)),
    )


def place_of(layer: LayerNode) -> str:
    """The names from the model down to the layer."""
    names = [node.name for node in layer.outwards() if node.parent is not None]
    return "/".join(reversed(names)) or layer.name


def _unseen(graph: Graph) -> Iterator[str]:
    """The tables whose ids no mask follows, and the layers that read each step."""
    calls = [(call, call.layer.class_name) for call in graph.calls]
    tables = [c.layer for c, kind in calls if kind in TABLES and not makes_mask(c)]
    readers = [call.layer for call, kind in calls if kind in masks.READS_STEPS]
    if tables and readers:
        names = ", ".join(dict.fromkeys(f"'{place_of(node)}'" for node in readers))
        yield (
            "no layer makes a mask, so nothing in the file says what padding is, and "
            f"{names} read every step. If your data has padding, build the model "
            f"with mask_zero=True at '{place_of(tables[0])}', load the old weights, "
            "save it and repair that file. An audit with a batch shows whether it "
            "matters"
        )


def _judge(layer: LayerNode, meetings: list[Meeting], ruled: bool) -> _Outcome:
    """What is to be done about all calls of a layer that a mask reaches, together."""
    kind = layer.class_name
    is_masked = any(meeting.known for meeting in meetings)
    if layer.is_operation:
        return _judge_operation(layer, meetings[0], ruled)
    if is_opaque(layer):
        why = "its own code decides what it does with a mask, and that code was not run"
        return _finding("PS306", layer, why, _LOOK) if is_masked else None
    if not layer.is_stock:
        return None
    if kind in SWAPS and any(map(_leaks, meetings)):
        reason = next(_objections(layer, meetings, ruled), None)
        if reason is None:
            return Edit(layer, SWAPS[kind])
        why = f"it can let padding through, and it cannot be replaced ({reason})"
        return _finding("PS302", layer, why)
    if kind in masks.KEEPS or kind in SWAPS:
        axis = layer.config.get("axis", -1)
        over_time = any(covers_time(axis, m.input_rank) for m in meetings)
        if kind in masks.MIXES_STEPS or (kind in masks.MIXES_OVER_AXIS and over_time):
            why = (
                "it mixes real steps with padding, and keras_padsafe has no safe layer"
            )
            return _finding("PS302", layer, f"{why} of this kind")
        return None
    if kind in masks.MERGES:
        why = "one input has no mask, so the mask of the other is lost"
        loses = any(map(_loses_mask, meetings))
        return _finding("PS301", layer, why, _KEEP_MASK) if loses else None
    hands_on = kind in POOLING_OVER_TIME | masks.RECURRENT | {"InputLayer"}
    if is_masked and not hands_on and not layer.config.get("mask_zero"):
        why = "it drops the mask, and keras_padsafe has no layer to replace it with"
        return _finding("PS301", layer, why, _KEEP_MASK)
    return None


def _judge_operation(layer: LayerNode, meeting: Meeting, ruled: bool) -> _Outcome:
    # An output that is only looked at, as in `ones_like(x[..., :1])`.
    aside = [c.layer.class_name in masks.ASIDE for c in meeting.call.consumers]
    if not meeting.known or (aside and all(aside)):
        return None
    kind, arguments = layer.class_name, meeting.call.arguments
    axis = {**layer.config, **arguments}.get("axis", arguments.get("1"))
    if kind in masks.REDUCTIONS and covers_time(axis, meeting.input_rank):
        why = "it reduces over time, padding included"
        fix = (
            "Use a masked pooling layer of keras_padsafe there, and save the model "
            "again."
        )
        return _finding("PS302", layer, why, fix)
    key = arguments.get("1", arguments.get("key")) if kind == "GetItem" else None
    if isinstance(key, dict):  # A tuple, as Keras writes it.
        key = (key.get("config") or {}).get("value", key)
    # `x[:, 3]` leaves a single step, and no time.
    one_step = isinstance(key, list) and len(key) > 1 and isinstance(key[1], int)
    if one_step or kind in masks.ASIDE | masks.WITHOUT_MASK:
        return None
    made = layer_for(meeting)
    once = len(layer.serialized.get("inbound_nodes") or ()) == 1
    if made is None or not (ruled and once):
        why = "it drops the mask, and no layer does the same and keeps the mask"
        return _finding("PS301", layer, why, _KEEP_MASK)
    swap, config, given = made
    own = {"name": layer.name, "trainable": True}
    return Edit(layer, swap, {**own, **config}, given)


def _leaks(meeting: Meeting) -> bool:
    """Whether padding can do harm in a call of a class that ours replace."""
    if meeting.layer.class_name == "Add":
        return _loses_mask(meeting) or len({m.origins for m in meeting.known}) > 1
    return bool(meeting.known or meeting.given)


def _loses_mask(meeting: Meeting) -> bool:
    """Whether a layer that needs the mask of every input lacks one."""
    if not meeting.known or None not in meeting.masks:
        return False
    axis, kind = meeting.layer.config.get("axis"), meeting.layer.class_name
    return kind != "Concatenate" or not covers_time(axis, meeting.input_rank)


def _finding(code: str, layer: LayerNode, why: str, fix: str = _BY_HAND) -> Finding:
    message = f"{layer.class_name} was left as it is: {why}."
    return Finding(code, place_of(layer), message, fix, {"class": layer.class_name})


def _objections(
    layer: LayerNode, meetings: list[Meeting], ruled: bool
) -> Iterator[str]:
    """Why a layer cannot be swapped."""
    swap, config = SWAPS[layer.class_name], layer.config
    if unknown := swap.unknown_keys(config):
        yield f"{swap.class_name} does not take its configuration {unknown[0]!r}"
    for node in (layer, *layer.copies):
        for holder in node.outwards():
            open_to_all = holder.is_stock and holder.class_name in masks.HOLDERS
            if holder is not node and not holder.is_graph and not open_to_all:
                yield f"it lies in the code of {holder.class_name} {holder.name!r}"
    unproved = layer.weights_path is None and layer.class_name in _HOLDS_WEIGHTS
    if unproved or not ruled:
        yield "it is not clear which weights of the file belong to it"
    match layer.class_name:
        case "Conv1D":
            strides = config.get("strides", 1)
            if config.get("padding") == "same" and strides not in (1, [1]):
                yield (
                    "with padding='same' and strides, the positions of its windows "
                    "depend on the amount of padding"
                )
        case "Add":
            built = layer.serialized.get("build_config")
            shapes = built.get("input_shape") if isinstance(built, dict) else None
            shapes = shapes if isinstance(shapes, list) else ()
            if len({len(shape) for shape in shapes if isinstance(shape, list)}) != 1:
                yield "its inputs have different ranks"
        case "MultiHeadAttention" | "GroupQueryAttention":
            axes = config.get("attention_axes") or [1]
            count = len(axes) if isinstance(axes, list) else 1
            for meeting in meetings:
                if meeting.given.get("attention_mask", 3) <= 2 * count:
                    yield "its attention_mask has no batch axis"
                padding = ("query_mask", "key_mask", "value_mask")
                if any(meeting.given.get(name, 2) < 2 for name in padding):
                    yield "a padding mask that it gets is not (batch, time)"
