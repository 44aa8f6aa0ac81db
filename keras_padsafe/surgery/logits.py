"""Follows the units of a head to everything that repeats their number."""

from collections.abc import Iterator
from typing import Any

from keras_padsafe.surgery.claims import Claims
from keras_padsafe.surgery.graph import Call, Graph
from keras_padsafe.surgery.heads import BACK_TO_IDS, UNIT_BY_UNIT, reshaped_units
from keras_padsafe.surgery.layer_node import ConfigPath, LayerNode
from keras_padsafe.surgery.sites import ConfigSite
from keras_padsafe.surgery.vocabulary import Unexplained


def follow_logits(
    graph: Graph, heads: list[Call], size: int, claims: Claims
) -> tuple[list[ConfigSite], list[Unexplained]]:
    """Shapes of config.json that repeat `size` downstream of `heads`.

    Returns:
        The places, and the layers that take in the units and do something with them
        that a change of their number would disturb.
    """
    over_ids: set[Call] = set()
    sites: dict[ConfigPath, ConfigSite] = {}
    unexplained: list[Unexplained] = []
    pending = list(heads)
    while pending:
        call = pending.pop()
        if call in over_ids:
            continue
        over_ids.add(call)
        for consumer in call.consumers:
            baked = reshaped_units(consumer.layer, size)
            if consumer.layer.class_name in UNIT_BY_UNIT or baked:
                pending.append(consumer)
                shapes = _built_shapes(consumer.layer, size)
                for path in [*shapes, *([baked] if baked else [])]:
                    sites[path] = _shape_site(path, size)
            elif consumer.layer.class_name not in BACK_TO_IDS and not claims.leaves(
                consumer.layer
            ):
                unexplained.append(_consumer(consumer.layer, size))
    for path in _recorded_shapes(graph, over_ids, size):
        sites[path] = _shape_site(path, size)
    return list(sites.values()), unexplained


def _shape_site(path: ConfigPath, size: int) -> ConfigSite:
    return ConfigSite(path, size, "table", "shape of the head's output")


def _consumer(layer: LayerNode, size: int) -> Unexplained:
    return Unexplained(
        layer.name,
        f"{layer.class_name} {layer.name!r} takes in all {size} units of the head at "
        "once, so its weights or its result depend on their number",
        f"--leave {layer.name} (leave='{layer.name}') if a different number of units "
        "does no harm there",
    )


def _built_shapes(layer: LayerNode, size: int) -> list[ConfigPath]:
    found = list(_lasts(layer.serialized.get("build_config"), size))
    paths: list[ConfigPath] = [(*layer.path, "build_config", *path) for path in found]
    if layer.parent is not None and layer.parent.class_name == "TimeDistributed":
        paths += _built_shapes(layer.parent, size)
    return paths


def _recorded_shapes(
    graph: Graph, over_ids: set[Call], size: int
) -> Iterator[ConfigPath]:
    for record in graph.shape_records:
        if record.call in over_ids and record.shape[-1:] == [size]:
            yield (*record.path, len(record.shape) - 1)
    for layer, call in graph.input_layers:
        if call in over_ids:
            shape = layer.config.get("batch_shape")
            if isinstance(shape, list) and shape and shape[-1] == size:
                yield (*layer.path, "config", "batch_shape", len(shape) - 1)
            if layer.parent is not None:
                yield from _built_shapes(layer.parent, size)
                for path in _lasts(layer.parent.config.get("build_input_shape"), size):
                    yield (*layer.parent.path, "config", "build_input_shape", *path)


def _lasts(value: Any, size: int) -> Iterator[ConfigPath]:
    """The last places of all shapes in `value` that end in `size`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ((key, *path) for path in _lasts(inner, size))
    elif isinstance(value, list):
        if value and value[-1] == size and not isinstance(value[-1], bool):
            yield (len(value) - 1,)
        for index, inner in enumerate(value):
            yield from ((index, *path) for path in _lasts(inner, size))
