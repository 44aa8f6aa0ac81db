"""Follows the units of a head to everything that repeats their number."""

from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.facts.operations import BACK_TO_IDS, UNIT_BY_UNIT
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.claims import Claims
from keras_padsafe.surgery.finding.heads import reshaped_units
from keras_padsafe.surgery.finding.shape_records import (
    built_widths,
    recorded_widths,
)
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Unexplained, doubt, leaving


@dataclass
class Followed:
    """What lies downstream of the heads.

    Attributes:
        over_ids: The calls whose last axis runs over the ids.
        sites: Places of config.json that repeat their number.
        unexplained: What a change of their number would disturb.
    """

    over_ids: set[Call] = field(default_factory=set)
    sites: list[ConfigSite] = field(default_factory=list)
    unexplained: list[Unexplained] = field(default_factory=list)


def follow_logits(
    graph: Graph, heads: list[Call], size: int, claims: Claims
) -> Followed:
    """Follows the units of `heads` to all that repeats or takes in their number."""
    followed = Followed()
    places: list[ConfigPath] = []
    pending = list(heads)
    while pending:
        call = pending.pop()
        if call in followed.over_ids:
            continue
        followed.over_ids.add(call)
        for consumer in call.consumers:
            layer = consumer.layer
            if _keeps_units(consumer, size, graph):
                pending.append(consumer)
                baked = reshaped_units(layer, size)
                places += [*built_widths(layer, size), *([baked] if baked else [])]
            elif any(claims.on(layer, array) for array in layer.arrays.values()):
                places += built_widths(layer, size)
            elif layer.kind not in BACK_TO_IDS and not claims.leaves(layer):
                followed.unexplained.append(_consumer(layer, size))
    for call in followed.over_ids:
        if call not in heads and not claims.leaves(call.layer):
            followed.unexplained += _fixed_operands(call, followed, size, graph)
    widths = dict.fromkeys(followed.over_ids, size)
    places += [place for place, _ in recorded_widths(graph, widths)]
    followed.sites = [_shape_site(path, size) for path in dict.fromkeys(places)]
    return followed


def _keeps_units(call: Call, size: int, graph: Graph) -> bool:
    """Whether the output of a call has the units of its input, one for one."""
    if reshaped_units(call.layer, size):
        return True
    if call.layer.kind not in UNIT_BY_UNIT:
        return False
    shape = graph.shape_of(call)
    if call.layer.kind != "GetItem":
        return True
    before = graph.shape_of(call.inputs[0]) if call.inputs else None
    is_whole = leaves_last_axis(call.arguments.get("1"), before)
    return (shape is None or shape[-1:] == [size]) and is_whole


def leaves_last_axis(key: Any, before: list[Any] | None) -> bool:
    """Whether an index, as recorded, takes all of the last axis."""
    if not isinstance(key, list):
        return before is not None and len(before) > 1
    if isinstance(key[-1], dict) and not any((key[-1].get("config") or {}).values()):
        return True  # A slice without bounds, or an ellipsis.
    taken = [one for one in key if one is not None]
    ellipsis = {"class_name": "__ellipsis__", "config": {}}
    return ellipsis not in key and before is not None and len(taken) < len(before)


def _fixed_operands(
    call: Call, followed: Followed, size: int, graph: Graph
) -> list[Unexplained]:
    """Values of the old size that a call combines with units that will be more."""
    found: list[str] = []
    for source in call.inputs:
        shape = graph.shape_of(source)
        if source not in followed.over_ids and shape and shape[-1] == size:
            found.append(f"the output of {source.layer.name!r}")
    if any(_holds_row(value, size) for value in call.arguments.values()):
        found.append("a constant")
    layer = call.layer
    return [
        doubt(
            layer,
            f"combines the {size} units of the head with {operand}, which has the "
            "same number and does not grow",
            f"Add --also for the layer that makes it, or --leave {layer.name}",
        )
        for operand in found
    ]


def _holds_row(value: Any, size: int) -> bool:
    """Whether a recorded argument holds an array whose last axis has `size` entries."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":
        value = (value.get("config") or {}).get("value")
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]
        return isinstance(value, list) and len(value) == size
    return False


def _shape_site(path: ConfigPath, size: int) -> ConfigSite:
    return ConfigSite(path, size, "record", "shape of the head's output")


def _consumer(layer: LayerNode, size: int) -> Unexplained:
    what = f"reads all {size} units of the head at once"
    mine = [a for a in layer.arrays.values() if size in a.shape]
    if mine:
        place = f"{layer.name}:{mine[0].shape.index(size)}"
        return doubt(
            layer,
            f"{what}, and has a weight for each",
            f"Add --also {place} (also='{place}') if that axis of its weights runs "
            "over the ids",
        )
    return doubt(
        layer,
        f"{what}, so its result depends on their number",
        f"{leaving(layer.name)} if another number of units does no harm there",
    )
