"""Adds the output heads of each vocabulary, and all that repeats their units."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.surgery.bind_tables import add_holding, bind_inverse_lookups
from keras_padsafe.surgery.graph import Call
from keras_padsafe.surgery.heads import (
    Head,
    Reach,
    head_of,
    last_weights,
    output_producers,
    reaches,
)
from keras_padsafe.surgery.id_sources import is_reverse
from keras_padsafe.surgery.layer_node import ConfigPath, LayerNode
from keras_padsafe.surgery.logits import follow_logits
from keras_padsafe.surgery.model_file import (
    IdSpace,
    ModelFile,
    add_config,
    settling_flags,
)
from keras_padsafe.surgery.sites import ArraySite, ConfigSite
from keras_padsafe.surgery.vocabulary import Unexplained, Vocabulary


@dataclass
class _Candidate:
    """A head that an id space may own: its units are as many as the ids."""

    space: IdSpace
    call: Call
    head: Head
    reach: Reach


def bind_heads(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Adds to each vocabulary its heads, or says why a head's owner is not known."""
    producers = {
        size: output_producers(model.graph, size)
        for size in {space.vocabulary.size for space in spaces}
    }
    candidates: dict[int, list[_Candidate]] = {}
    for space in spaces:
        space.logits += [call for call in space.calls if is_reverse(call)]
        reach = reaches(model.graph, space.calls)
        for call in producers[space.vocabulary.size]:
            head = head_of(call.layer)
            if head and head.size == space.vocabulary.size and call in reach:
                found = _Candidate(space, call, head, reach[call])
                candidates.setdefault(id(call.layer), []).append(found)
    for rivals in candidates.values():
        _settle(rivals, model)
    for space in spaces:
        vocabulary = space.vocabulary
        _bind_heads_by_object(model, vocabulary)
        _look_at_other_units(model, space, known=set(candidates))
        sites, problems = follow_logits(
            model.graph, space.logits, vocabulary.size, model.claims
        )
        add_config(vocabulary, sites)
        vocabulary.unexplained += problems
        bind_inverse_lookups(model, space)
        _bind_metrics(model, vocabulary)


def _settle(rivals: list[_Candidate], model: ModelFile) -> None:
    layer, kernel = rivals[0].head.layer, rivals[0].head.arrays[0]
    if model.claims.leaves(layer):
        return
    sure = _is_claimed(layer, model)
    owners = list(dict.fromkeys(rival.space.vocabulary.name for rival in rivals))
    for rival in rivals:
        if sure or (len(owners) == 1 and rival.reach is not Reach.POOLED):
            add_holding(rival.space.vocabulary, rival.head)
            rival.space.logits.append(rival.call)
            continue
        problem = f"follows several tables: {', '.join(owners)}"
        if len(owners) == 1:
            problem = (
                f"has {rival.head.size} units, but comes after a pooling over the "
                "whole sequence: it may score ids, or as many classes"
            )
        rival.space.vocabulary.unexplained.append(
            Unexplained(
                layer.name,
                f"{layer.class_name} {layer.name!r} {problem}",
                settling_flags(layer.name, kernel.axis),
            )
        )


def _is_claimed(layer: LayerNode, model: ModelFile) -> bool:
    return any(model.claims.on(layer, array) for array in layer.arrays.values())


def _look_at_other_units(model: ModelFile, space: IdSpace, known: set[int]) -> None:
    """Layers of other kinds whose units, as many as the ids, reach an output."""
    vocabulary = space.vocabulary
    bound = {site.path for site in vocabulary.arrays}
    downstream = model.graph.downstream(space.calls)
    for call in last_weights(model.graph):
        layer = call.layer
        if call not in downstream or id(layer) in known or model.claims.leaves(layer):
            continue
        arrays = [
            array
            for array in layer.arrays.values()
            if array.shape[-1:] == (vocabulary.size,) and array.path not in bound
        ]
        if arrays and _is_claimed(layer, model):
            head = head_of(layer)
            if head is not None and head.size == vocabulary.size:
                add_holding(vocabulary, head)
            space.logits.append(call)
        elif arrays and layer.is_stock:
            problem = (
                f"{layer.class_name} {layer.name!r} has {vocabulary.size} units that "
                "reach an output of the model: they may score ids"
            )
            flags = settling_flags(layer.name, len(arrays[0].shape) - 1)
            vocabulary.unexplained.append(Unexplained(layer.name, problem, flags))


def _bind_heads_by_object(model: ModelFile, vocabulary: Vocabulary) -> None:
    """Heads that hold the table itself, and those of a KerasHub task."""
    paths = {site.path for site in vocabulary.arrays}
    for layer in model.layers:
        head = head_of(layer)
        if head is not None and head.size == vocabulary.size:
            held = [child.original or child for child in layer.children]
            if any(
                array.path in paths for child in held for array in child.arrays.values()
            ):
                add_holding(vocabulary, head)
        if layer.key.startswith("keras_hub>") and not layer.is_graph:
            _bind_masked_lm_head(vocabulary, layer)


def _bind_masked_lm_head(vocabulary: Vocabulary, layer: LayerNode) -> None:
    for relative, array in layer.arrays.items():
        if "masked_lm_head/vars/" not in relative or not array.shape:
            continue
        axis = len(array.shape) - 1
        if array.shape[axis] == vocabulary.size:
            is_bias = axis == 0
            site = ArraySite(
                array.path,
                array.shape,
                array.dtype,
                axis,
                "head bias" if is_bias else "head kernel",
                "bias" if is_bias else "rows",
                f"{array.layer_name or 'masked_lm_head'!r} in {layer.key}",
            )
            vocabulary.arrays.append(site)


def _bind_metrics(model: ModelFile, vocabulary: Vocabulary) -> None:
    if not vocabulary.has_head:
        return
    compiled = model.root.serialized.get("compile_config") or {}
    for key in ("metrics", "weighted_metrics"):
        for path in _class_counts(compiled.get(key), vocabulary.size):
            place = ("compile_config", key, *path)
            reason = "metric over the classes of the head"
            site = ConfigSite(place, vocabulary.size, "table", reason)
            add_config(vocabulary, [site])


def _class_counts(value: Any, size: int) -> Iterator[ConfigPath]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "num_classes" and inner == size:
                yield (key,)
            yield from ((key, *path) for path in _class_counts(inner, size))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from ((index, *path) for path in _class_counts(inner, size))
