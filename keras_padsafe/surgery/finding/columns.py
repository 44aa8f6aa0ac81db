"""Follows the columns of an encoding to the weights that have an entry for each."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.operations import (
    IGNORES_ZEROS,
    INPUT_KERNELS,
    KEEPS_ZERO,
    REDUCES,
    SUMS_UP_STEPS,
    TELLS_ZERO,
    ZERO_ACTIVATIONS,
)
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count, too_large
from keras_padsafe.surgery.finding.claims import Claims
from keras_padsafe.surgery.finding.doubt import IN_KERAS, Doubt, adding, doubt_of
from keras_padsafe.surgery.finding.logits import (
    built_widths,
    leaves_last_axis,
    recorded_widths,
)
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.quantised import quantised_sites
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite, site_of
from keras_padsafe.surgery.finding.tables import array_below

_RECORD, _COLUMNS = "shape of the encoding", {"class_name": "__keras_tensor__"}
_MOST_STRETCHES = 1 << 20  # in all that the columns of one encoding pass through


@dataclass(frozen=True)
class Columns:
    """The last axis of what a call makes, some stretches of which run over the ids."""

    width: int
    starts: tuple[int, ...]


@dataclass
class Takers:
    """What the columns of an encoding reach.

    Attributes:
        layers: The layers that take them in, with weights for each.
        kernels: Those weights.
        config: Places of config.json that repeat how many columns there are.
        unexplained: What takes them in and is not known to leave new ones alone.
    """

    layers: list[LayerNode] = field(default_factory=list)
    kernels: list[ArraySite] = field(default_factory=list)
    config: list[ConfigSite] = field(default_factory=list)
    unexplained: list[Doubt] = field(default_factory=list)


def takers_of(model: ModelFile, layers: list[LayerNode], size: int) -> Takers:
    """What the columns reach that layers make, one for each of `size` ids."""
    graph = model.graph
    encoders = [call for layer in layers for call in graph.calls_of(layer)]
    name = encoders[0].layer.name if encoders else ""
    columns = {call: Columns(size, (0,)) for call in encoders}
    takers, places = Takers(), dict[ConfigPath, Columns]()
    made = 0
    for call in graph.downstream(encoders):
        mine = [source for source in call.inputs if source in columns]
        if call in columns or not mine:
            continue
        if passed := _passed_on(call, columns, graph):
            columns[call] = passed
            made += _bounded(len(passed.starts), made)
        elif kernels := _kernels(call, columns, size, model.claims):
            takers.layers.append(call.layer)
            known = {kernel.path for kernel in takers.kernels}
            takers.kernels += [one for one in kernels if one.path not in known]
        elif not _ignores_zeros(call, graph):
            takers.unexplained.append(_unknown(call, name))
            continue
        places |= _built(call, columns)
    widths = {call: found.width for call, found in columns.items()}
    for place, call in recorded_widths(graph, widths):
        places[place] = columns[call]
    takers.config = [
        ConfigSite(place, found.width, "record", _RECORD, len(found.starts))
        for place, found in places.items()
    ]
    takers.unexplained += _called_otherwise(graph, takers, columns, name)
    return takers


def _called_otherwise(
    graph: Graph, takers: Takers, columns: dict[Call, Columns], name: str
) -> Iterator[Doubt]:
    """Layers that take in the columns, and elsewhere something else."""
    for layer in dict.fromkeys(takers.layers):
        calls = [call for call in graph.calls_of(layer) if call.inputs]
        found = [columns.get(call.inputs[0]) for call in calls]
        if any(one != found[0] for one in found):
            yield doubt_of(
                layer,
                f"is called on the columns that {name!r} makes of ids and, with the "
                "same weights, on other inputs",
                IN_KERAS,
            )


def _passed_on(
    call: Call, columns: dict[Call, Columns], graph: Graph
) -> Columns | None:
    """The columns in what a call makes, if it leaves those of zeros as they are."""
    layer = call.layer
    if layer.kind == "Concatenate":
        return _side_by_side(call, columns, graph)
    if len(call.inputs) != 1:
        return None
    found, shape = columns[call.inputs[0]], graph.shape_of(call.inputs[0])
    if layer.kind == "Flatten" and shape:
        steps = shape[1:-1]
        if not all(is_count(step) for step in steps):
            return None
        return _repeated(found, math.prod(steps))
    return found if _leaves_zeros(call, shape) else None


def _leaves_zeros(call: Call, shape: list[Any] | None) -> bool:
    """Whether a call keeps the last axis, and makes of a column of zeros one."""
    kind, config = call.layer.kind, call.layer.config
    if kind == "Activation":
        return config.get("activation") in ZERO_ACTIVATIONS
    if kind == "Rescaling":
        return config.get("offset") in (0, 0.0) and isinstance(
            config.get("scale"), int | float
        )
    if kind == "Masking":
        return config.get("mask_value") in (0, 0.0)
    if kind == "GetItem":
        return leaves_last_axis(call.arguments.get("1"), shape)
    if kind in SUMS_UP_STEPS:
        return config.get("data_format") == "channels_last"
    if kind in REDUCES:
        return bool(shape) and not reduces_last(config.get("axis"), len(shape))
    # A number beside the columns is the same for all; an array may not be.
    first, *others = call.arguments.values() or [_COLUMNS]
    if not isinstance(first, dict) or first.get("class_name") != "__keras_tensor__":
        return False
    if kind in TELLS_ZERO:
        return all(value in (0, 0.0) for value in others)
    are_numbers = all(v is None or isinstance(v, int | float) for v in others)
    return kind in KEEPS_ZERO and are_numbers


def _ignores_zeros(call: Call, graph: Graph) -> bool:
    """Whether a call makes the same of columns, whatever zeros are among them."""
    shape = graph.shape_of(call.inputs[0])
    return (
        call.layer.kind in IGNORES_ZEROS
        and bool(shape)
        and reduces_last(call.layer.config.get("axis"), len(shape))
    )


def reduces_last(axes: Any, rank: int) -> bool:
    """Whether the last axis is among some, or may be."""
    listed = axes if isinstance(axes, list) else [axes]
    return any(not isinstance(a, int) or a % rank == rank - 1 for a in listed)


def _side_by_side(
    call: Call, columns: dict[Call, Columns], graph: Graph
) -> Columns | None:
    width, starts = 0, list[int]()
    for source in call.inputs:
        shape, found = graph.shape_of(source), columns.get(source)
        size = found.width if found else (shape or [None])[-1]
        axis = call.layer.config.get("axis", -1)
        if not is_count(size) or not shape or axis not in (-1, len(shape) - 1):
            return None
        own = found.starts if found else ()
        _bounded(len(own), len(starts))
        starts += [width + start for start in own]
        width += size
    return Columns(width, tuple(starts))


def _repeated(found: Columns, times: int) -> Columns:
    _bounded(times * len(found.starts))
    starts = [n * found.width + start for n in range(times) for start in found.starts]
    return Columns(times * found.width, tuple(starts))


def _bounded(count: int, made: int = 0) -> int:
    """The number of stretches, if all can be remembered."""
    if made + count > _MOST_STRETCHES:
        raise too_large(
            f"Model: the columns of ids stand side by side more than {_MOST_STRETCHES} "
            "times"
        )
    return count


def _kernels(
    call: Call, columns: dict[Call, Columns], size: int, claims: Claims
) -> list[ArraySite]:
    """The weights of a layer with an entry for each of its input's columns."""
    if [source in columns for source in call.inputs] != [
        n == 0 for n in range(len(call.inputs))
    ]:
        return []
    found = columns[call.inputs[0]]
    said = [
        (array, claim.axis)
        for layer in call.layer.walk()
        for array in layer.arrays.values()
        for claim in claims.on(layer, array)
        if array.shape[claim.axis] == found.width
    ]
    arrays = said or list(_input_arrays(call.layer))
    if any(array.shape[axis : axis + 1] != (found.width,) for array, axis in arrays):
        return []
    reason = f"takes in the columns of {call.inputs[0].layer.name!r}"
    whole = found == Columns(size, (0,))
    sites = [
        site_of(
            array,
            axis,
            reason,
            "encoding kernel",
            starts=() if whole else found.starts,
        )
        for array, axis in arrays
    ]
    return [s for site in sites for s in quantised_sites(call.layer, site, size)]


def _input_arrays(layer: LayerNode) -> Iterator[tuple[StoredArray, int]]:
    if not layer.is_stock or layer.config.get("groups", 1) != 1:
        return
    if layer.config.get("data_format", "channels_last") != "channels_last":
        return
    if layer.kind == "EinsumDense":
        yield from _einsum_input(layer)
    for relative, axis in INPUT_KERNELS.get(layer.kind, {}).items():
        array = array_below(layer, relative)
        if array is not None:
            yield array, axis


def _einsum_input(layer: LayerNode) -> Iterator[tuple[StoredArray, int]]:
    operands, _, result = str(layer.config.get("equation")).partition("->")
    before, _, kernel = operands.partition(",")
    unit, array = before[-1:], layer.arrays.get("vars/0")
    if array is not None and unit and unit in kernel and unit not in result:
        yield array, kernel.index(unit)


def _built(call: Call, columns: dict[Call, Columns]) -> dict[ConfigPath, Columns]:
    """Where the layer of a call repeats the widths of its inputs."""
    if len(call.inputs) == 1:
        found = columns[call.inputs[0]]
        places = built_widths(call.layer, found.width)
        return dict.fromkeys(places, found)
    shapes = (call.layer.serialized.get("build_config") or {}).get("input_shape")
    if not isinstance(shapes, list) or len(shapes) != len(call.inputs):
        return {}
    base = (*call.layer.path, "build_config", "input_shape")
    return {
        (*base, number, len(shape) - 1): columns[source]
        for number, (source, shape) in enumerate(zip(call.inputs, shapes, strict=True))
        if source in columns and isinstance(shape, list)
    }


def _unknown(call: Call, name: str) -> Doubt:
    layer, remedy = call.layer, IN_KERAS
    if layer.has_weights:
        remedy = (
            f"{adding(f'{layer.name}:AXIS')} if that axis of its weights runs over the "
            "columns. If not, it cannot be grown in the file: grow it in Keras"
        )
    return doubt_of(
        layer,
        f"takes in the columns that {name!r} makes of ids, and may not ignore a "
        "column of zeros. A new column could change its output for old ids",
        remedy,
    )
