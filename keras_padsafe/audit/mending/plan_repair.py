"""Decides which layers of a saved model to swap, and says why not the others."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.mending.mask_flow import (
    Meeting,
    covers_time,
    drops_mask,
    dtype_of_output,
    follow_masks,
    is_opaque,
    layer_for,
    makes_mask,
    mixes_steps,
    reduces_steps,
)
from keras_padsafe.facts import masks
from keras_padsafe.facts.layers import TABLES
from keras_padsafe.facts.operations import POOLING_OVER_TIME
from keras_padsafe.facts.swaps import SWAPS, Swap
from keras_padsafe.saved_model.graph import Call, Graph
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
_HOLDS_WEIGHTS = frozenset(
    "Attention Conv1D GroupQueryAttention MultiHeadAttention".split()
)
_LOOK = "Check the whole model with `keras_padsafe.audit.check_padding`."


@dataclass(frozen=True)
class Edit:
    """One layer or operation that another layer takes the place of.

    Attributes:
        layer: What is there now.
        swap: What takes its place.
        config: Configuration of the new layer; `None` keeps that of the old.
        arguments: Arguments of its only call; `None` keeps those of the old.
    """

    layer: LayerNode
    swap: Swap
    config: dict[str, Any] | None = None
    arguments: list[Any] | None = None


@dataclass(frozen=True)
class RepairPlan:
    """What to swap, and what cannot be mended.

    Attributes:
        edits: What to swap.
        unmended: What cannot be mended.
        unseen: What the file says too little of to tell.
    """

    edits: tuple[Edit, ...]
    unmended: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()


def plan_repair(root: LayerNode, graph: Graph) -> RepairPlan:
    """Reads what to do off the file alone; nothing is run."""
    if not root.is_graph:
        return RepairPlan((), (_unread(root),))
    met: dict[LayerNode, list[Meeting]] = {}
    for meeting in follow_masks(graph):
        met.setdefault(meeting.layer, []).append(meeting)
    orderly = {node for node in root.walk() if node.is_graph and named_by_rule(node)}
    edits: list[Edit] = []
    unmended: list[Finding] = []
    for layer, meetings in met.items():
        for outcome in _judge(layer, meetings, orderly):
            (edits if isinstance(outcome, Edit) else unmended).append(outcome)  # type: ignore[arg-type]
    return RepairPlan(tuple(edits), tuple(unmended), tuple(_unseen(graph, met)))


def place_of(layer: LayerNode) -> str:
    """The names from the model down to the layer."""
    names = [node.name for node in layer.outwards() if node.parent is not None]
    return "/".join(reversed(names)) or layer.name


def _unseen(graph: Graph, met: Collection[LayerNode]) -> Iterator[str]:
    """The tables whose ids no mask follows, and the layers that read each step."""
    tables = [
        call.layer
        for call in graph.calls
        if call.layer.class_name in TABLES and not makes_mask(call)
    ]
    readers = [
        call.layer
        for call in graph.calls
        if call.layer.class_name in masks.READS_STEPS and call.layer not in met
    ]
    if tables and readers and not met:
        names = ", ".join(dict.fromkeys(f"'{place_of(node)}'" for node in readers))
        yield (
            "no layer makes a mask, so nothing in the file says what padding is, and "
            f"{names} read every step. If your data has padding, build the model "
            f"with mask_zero=True at '{place_of(tables[0])}', load the old weights, "
            "save it and repair that file. An audit with a batch shows whether it "
            "matters"
        )


def _judge(
    layer: LayerNode, meetings: list[Meeting], orderly: set[LayerNode]
) -> Iterator[Edit | Finding]:
    """At most one outcome, for all calls of a layer together.

    Args:
        layer: The layer, or operation.
        meetings: Its calls that a mask reaches.
        orderly: The models within which groups of weights can be renamed.
    """
    kind = layer.class_name
    if layer.is_operation:
        yield from _judge_operation(layer, meetings[0], layer.parent in orderly)
    elif is_opaque(layer):
        if any(meeting.known for meeting in meetings):
            yield _opaque(layer)
    elif not layer.is_stock:
        return
    elif kind in SWAPS and any(_leaks(meeting) for meeting in meetings):
        reason = refusal(layer, SWAPS[kind], meetings, orderly)
        if reason is None:
            yield Edit(layer, SWAPS[kind])
        else:
            yield _finding(
                "PS302",
                layer,
                f"it can let padding through, and it cannot be replaced ({reason})",
            )
    elif kind in masks.KEEPS or kind in SWAPS:
        if any(mixes_steps(layer, m.input_rank) for m in meetings):
            why = (
                "it mixes real steps with padding, and keras_padsafe has no safe "
                "layer of this kind"
            )
            yield _finding("PS302", layer, why)
    elif kind in masks.MERGES:
        if any(_loses_mask(meeting) for meeting in meetings):
            why = "one input has no mask, so the mask of the other is lost"
            yield _finding("PS301", layer, why, _KEEP_MASK)
    elif not _hands_on(layer) and any(meeting.known for meeting in meetings):
        why = "it drops the mask, and keras_padsafe has no layer to replace it with"
        yield _finding("PS301", layer, why, _KEEP_MASK)


def _judge_operation(
    layer: LayerNode, meeting: Meeting, orderly: bool
) -> Iterator[Edit | Finding]:
    if not meeting.known or _read_aside(meeting.call):
        return
    if reduces_steps(meeting):
        why = "it reduces over time, padding included"
        fix = (
            "Use a masked pooling layer of keras_padsafe there, and save the model "
            "again."
        )
        yield _finding("PS302", layer, why, fix)
    elif drops_mask(meeting):
        made, dtype = layer_for(meeting), dtype_of_output(meeting)
        once = len(layer.serialized.get("inbound_nodes") or ()) == 1
        if made is None or dtype is None or not (orderly and once):
            why = "it drops the mask, and no layer does the same and keeps the mask"
            yield _finding("PS301", layer, why, _KEEP_MASK)
        else:
            swap, config, arguments = made
            own = {"name": layer.name, "trainable": True, "dtype": dtype}
            yield Edit(layer, swap, {**own, **config}, arguments)


def _read_aside(call: Call) -> bool:
    """Whether its output is only looked at, as in `ones_like(x[..., :1])`."""
    aside = [c.layer.class_name in masks.ASIDE for c in call.consumers]
    return bool(aside) and all(aside)


def _leaks(meeting: Meeting) -> bool:
    """Whether padding can do harm in a call of a class that ours replace."""
    if meeting.layer.class_name == "Add":
        return _loses_mask(meeting) or len({m.origins for m in meeting.known}) > 1
    return bool(meeting.known or meeting.given)


def _loses_mask(meeting: Meeting) -> bool:
    """Whether a layer that needs the mask of every input lacks one."""
    if not meeting.known or None not in meeting.masks:
        return False
    axis = meeting.layer.config.get("axis")
    joins_time = meeting.layer.class_name == "Concatenate" and covers_time(
        axis, meeting.input_rank
    )
    return not joins_time


def _hands_on(layer: LayerNode) -> bool:
    kind = layer.class_name
    known = POOLING_OVER_TIME | masks.RECURRENT
    return kind in known or kind == "InputLayer" or bool(layer.config.get("mask_zero"))


def _finding(code: str, layer: LayerNode, why: str, fix: str = _BY_HAND) -> Finding:
    message = f"{layer.class_name} was left as it is: {why}."
    return Finding(code, place_of(layer), message, fix, {"class": layer.class_name})


def _opaque(layer: LayerNode) -> Finding:
    why = "its own code decides what it does with a mask, and that code was not run"
    return _finding("PS306", layer, why, _LOOK)


def _unread(root: LayerNode) -> Finding:
    why = "config.json does not list its inner layers, so none could be replaced"
    return _finding("PS306", root, why, f"{_BY_HAND} {_LOOK}")


def refusal(
    layer: LayerNode, swap: Swap, meetings: list[Meeting], orderly: set[LayerNode]
) -> str | None:
    """The first reason not to swap a layer; `None` if there is none.

    Args:
        layer: The layer.
        swap: What would take its place.
        meetings: Its calls that a mask reaches.
        orderly: The models within which groups of weights can be renamed.
    """
    return next(_reasons(layer, swap, meetings, orderly), None)


def _reasons(
    layer: LayerNode, swap: Swap, meetings: list[Meeting], orderly: set[LayerNode]
) -> Iterator[str]:
    unknown = swap.unknown_keys(layer.config)
    if unknown:
        yield f"{swap.class_name} does not take its configuration {unknown[0]!r}"
    for node in (layer, *layer.copies):
        holder = _opaque_holder(node)
        if holder is not None:
            yield f"it lies in the code of {holder.class_name} {holder.name!r}"
    unproved = layer.weights_path is None and layer.class_name in _HOLDS_WEIGHTS
    holder = layer.parent
    if unproved or (holder is not None and holder.is_graph and holder not in orderly):
        yield "it is not clear which weights of the file belong to it"
    match layer.class_name:
        case "Conv1D":
            if layer.config.get("padding") == "same" and _strides(layer) > 1:
                yield (
                    "with padding='same' and strides, the positions of its windows "
                    "depend on the amount of padding"
                )
        case "Add":
            if _input_ranks_differ(layer):
                yield "its inputs have different ranks"
        case "MultiHeadAttention" | "GroupQueryAttention":
            axes = layer.config.get("attention_axes") or [1]
            count = len(axes) if isinstance(axes, list) else 1
            for meeting in meetings:
                if meeting.given.get("attention_mask", 3) <= 2 * count:
                    yield "its attention_mask has no batch axis"
                if any(_is_odd(*given) for given in meeting.given.items()):
                    yield "a padding mask that it gets is not (batch, time)"


def _opaque_holder(layer: LayerNode) -> LayerNode | None:
    return next(
        (
            node
            for node in layer.outwards()
            if node is not layer
            and not node.is_graph
            and not (node.is_stock and node.class_name in masks.HOLDERS)
        ),
        None,
    )


def _strides(layer: LayerNode) -> int:
    strides = layer.config.get("strides", 1)
    first = strides[0] if isinstance(strides, list) and strides else strides
    return first if isinstance(first, int) else 1


def _input_ranks_differ(layer: LayerNode) -> bool:
    built = layer.serialized.get("build_config")
    shapes = built.get("input_shape") if isinstance(built, dict) else None
    if not isinstance(shapes, list):
        return True
    return len({len(shape) for shape in shapes if isinstance(shape, list)}) != 1


def _is_odd(name: str, rank: int) -> bool:
    return name in ("query_mask", "key_mask", "value_mask") and rank < 2
