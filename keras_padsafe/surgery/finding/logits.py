"""Follows the units of a head to everything that repeats their number."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_padsafe.facts.operations import (
    BACK_TO_IDS,
    COUNT_UNITS,
    NAME_IDS,
    UNIT_BY_UNIT,
)
from keras_padsafe.saved_model.config_path import ConfigPath, walk_values
from keras_padsafe.saved_model.graph import Call, Graph, reached
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.doubt import (
    IN_KERAS,
    Doubt,
    adding,
    doubt_of,
    leaving,
)
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Draft


def follow_logits(draft: Draft, model: ModelFile) -> None:
    """Adds what repeats the number of a vocabulary's units; names what minds it."""
    size, graph, claims = draft.size, model.graph, model.claims
    places: list[ConfigPath] = []
    draft.over_ids = list(
        reached(
            draft.logits,
            lambda call: [c for c in call.consumers if keeps_units(c, size, graph)],
        )
    )
    widths = dict.fromkeys(draft.over_ids, size)
    for call in draft.over_ids:
        for consumer in call.consumers:
            layer = consumer.layer
            if keeps_units(consumer, size, graph):
                baked = reshaped_units(layer, size)
                places += [*built_widths(layer, size), *([baked] if baked else [])]
            elif model.claims_units(layer):
                places += built_widths(layer, size)
            elif layer.kind not in BACK_TO_IDS and not claims.leaves(layer):
                draft.unexplained.append(_consumer(layer, size))
        if call not in draft.logits and not claims.leaves(call.layer):
            draft.unexplained += _fixed_operands(call, widths, graph)
    places += [place for place, _ in recorded_widths(graph, widths)]
    reason = "shape of the head's output"
    draft.add_config(ConfigSite(path, size, "record", reason) for path in places)


def reshaped_units(layer: LayerNode, size: int) -> ConfigPath | None:
    """Where a Reshape names the units that it keeps; `None` if it is no such layer."""
    for key, shape in _target_shapes(layer):
        if shape[-1] == size:
            return (*layer.path, "config", key, len(shape) - 1)
    return None


def reshaped_sizes(graph: Graph) -> set[int]:
    """The numbers of units that some Reshape of the model names."""
    lasts = (s[-1] for call in graph.calls for _, s in _target_shapes(call.layer))
    return {size for size in lasts if isinstance(size, int)}


def _target_shapes(layer: LayerNode) -> Iterator[tuple[str, list[Any]]]:
    for key in ("target_shape", "newshape") if layer.kind == "Reshape" else ():
        shape = layer.config.get(key)
        if isinstance(shape, list) and shape:
            yield key, shape


def keeps_units(call: Call, size: int | None, graph: Graph) -> bool:
    """Whether the output of a call has the units of its input, one for one."""
    if size is not None and reshaped_units(call.layer, size):
        return True
    if call.layer.kind != "GetItem":
        return call.layer.kind in UNIT_BY_UNIT
    shape = graph.shape_of(call)
    before = graph.shape_of(call.inputs[0]) if call.inputs else None
    is_whole = leaves_last_axis(call.arguments.get("1"), before)
    is_as_wide = shape is None or size is None or shape[-1:] == [size]
    return is_as_wide and is_whole


def passed_on(call: Call) -> list[Call]:
    """The calls whose units a call passes on one by one."""
    return call.inputs if call.layer.kind in UNIT_BY_UNIT else []


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
    call: Call, widths: Mapping[Call, int], graph: Graph
) -> Iterator[Doubt]:
    """Values of the old size that a call combines with units that will be more."""
    size = widths[call]
    for source in call.inputs:
        shape = graph.shape_of(source)
        if source not in widths and shape and shape[-1] == size:
            remedy = (
                f"Add --also for the layer that makes it, or --leave {call.layer.name}"
            )
            if source.layer.kind == "InputLayer":
                remedy = IN_KERAS
            yield doubt_of(
                call.layer,
                f"combines the {size} units of the head with the output of "
                f"{source.layer.name!r}, which has the same number and does not grow",
                remedy,
            )


def _consumer(layer: LayerNode, size: int) -> Doubt:
    what = f"reads all {size} units of the head at once"
    mine = [a for a in layer.arrays.values() if size in a.shape]
    if mine:
        return doubt_of(
            layer,
            f"{what}, and has a weight for each",
            f"{adding(f'{layer.name}:{mine[0].shape.index(size)}')} if that axis of "
            "its weights runs over the ids",
        )
    return doubt_of(
        layer,
        f"{what}, so its result depends on their number",
        f"{leaving(layer.name)} if another number of units does no harm there",
    )


def recorded_widths(
    graph: Graph, widths: Mapping[Call, int]
) -> Iterator[tuple[ConfigPath, Call]]:
    """The places that repeat how many units some calls make, and of which call."""
    for call in graph.in_order(widths):
        width = widths[call]
        for record in call.records:
            if record.shape[-1:] == [width]:
                yield (*record.path, len(record.shape) - 1), call
        for layer in call.stand_ins:
            shape = layer.config.get("batch_shape")
            if isinstance(shape, list) and shape and shape[-1] == width:
                yield (*layer.path, "config", "batch_shape", len(shape) - 1), call
        is_input = call.layer.kind == "InputLayer"
        for layer in [call.layer, *call.stand_ins] if is_input else call.stand_ins:
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


def bind_metrics(model: ModelFile, drafts: Iterable[Draft]) -> None:
    """Adds what losses and metrics say of the classes of an output over ids."""
    over: dict[Call, list[Draft]] = {}
    for draft in drafts:
        for call in draft.over_ids:
            over.setdefault(call, []).append(draft)
    for output, place, metrics in judges(model):
        for draft in over.get(output, ()):
            draft.add_config(_counts_of(metrics, place, draft.size))


def judges(model: ModelFile) -> Iterator[tuple[Call, ConfigPath, Any]]:
    """The losses and metrics of each output of a graph, and where they stand."""
    compiled = model.root.serialized.get("compile_config") or {}
    for key in ("metrics", "weighted_metrics", "loss"):
        for output, path, judging in _metrics_of(compiled.get(key), model):
            yield output, ("compile_config", key, *path), judging


def _counts_of(metrics: Any, place: ConfigPath, size: int) -> Iterator[ConfigSite]:
    """The ids that losses and metrics know by number, and the number of classes."""
    for path, value in walk_values(metrics, place):
        listed = value if isinstance(value, list) else [value]
        if NAME_IDS.intersection(path[-1:]) and all(map(is_count, listed)):
            places = [(*path, n) for n in range(len(listed))]
            for inner, id_ in zip(
                places if listed is value else [path], listed, strict=True
            ):
                yield ConfigSite(inner, id_, "id", "names an id")
        elif COUNT_UNITS.intersection(path[-1:]) and value == size:
            reason = "metric over the classes of the head"
            yield ConfigSite(path, size, "table", reason)


def _metrics_of(
    metrics: Any, model: ModelFile
) -> Iterator[tuple[Call, ConfigPath, Any]]:
    """Each output of the model with the metrics compiled for it, and their place."""
    outputs = model.graph.outputs
    if isinstance(metrics, dict) and "class_name" not in metrics:
        by_name = {_output_name(call): call for call in outputs}
        named = model.root.config.get("output_layers")
        by_name |= zip(named, outputs, strict=False) if isinstance(named, dict) else ()
        for name, own in metrics.items():
            if name in by_name:
                yield by_name[name], (name,), own
    elif len(outputs) == 1:
        yield outputs[0], (), metrics
    elif isinstance(metrics, list) and len(metrics) == len(outputs):
        for index, (call, own) in enumerate(zip(outputs, metrics, strict=True)):
            yield call, (index,), own


def _output_name(call: Call) -> str:
    """Keras calls an output by its layer, the wrapper or inner model if in one."""
    layer = call.layer
    while layer.parent is not None and layer.parent.parent is not None:
        layer = layer.parent
    return layer.name
