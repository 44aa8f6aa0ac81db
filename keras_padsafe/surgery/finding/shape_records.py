"""Where config.json repeats the last dimension of what a call makes."""

from collections.abc import Iterator, Mapping
from typing import Any

from keras_padsafe.saved_model.config_path import ConfigPath, walk_values
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode


def recorded_widths(
    graph: Graph, widths: Mapping[Call, int]
) -> Iterator[tuple[ConfigPath, Call]]:
    """The places that repeat how many units some calls make, and of which call.

    Args:
        graph: The calls of the model.
        widths: The units of each of those calls.
    """
    for record in graph.records_of(widths):
        if record.shape[-1:] == [widths[record.call]]:
            yield (*record.path, len(record.shape) - 1), record.call
    for layer, call in graph.input_layers:
        if call in widths:
            width, shape = widths[call], layer.config.get("batch_shape")
            if isinstance(shape, list) and shape and shape[-1] == width:
                yield (*layer.path, "config", "batch_shape", len(shape) - 1), call
            if layer.parent is not None:
                for path in built_widths(layer.parent, width):
                    yield path, call
                for path in _lasts(layer.parent.config.get("build_input_shape"), width):
                    place = (*layer.parent.path, "config", "build_input_shape", *path)
                    yield place, call


def built_widths(layer: LayerNode, width: int) -> list[ConfigPath]:
    """The places where a layer says that it was built on so many units."""
    found = list(_lasts(layer.serialized.get("build_config"), width))
    paths: list[ConfigPath] = [(*layer.path, "build_config", *path) for path in found]
    if layer.kind == "Bidirectional":
        # Both directions were built on what it takes in.
        paths += [
            path for child in layer.children for path in built_widths(child, width)
        ]
    if layer.parent is not None and layer.parent.kind == "TimeDistributed":
        paths += built_widths(layer.parent, width)
    return paths


def _lasts(value: Any, width: int) -> Iterator[ConfigPath]:
    """The last places of all shapes in `value` that end in `width`."""
    for path, inner in walk_values(value):
        last = inner[-1] if isinstance(inner, list) and inner else None
        if last == width and not isinstance(last, bool):
            yield (*path, len(inner) - 1)
