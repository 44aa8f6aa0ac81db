"""Adds the output heads of each vocabulary, and all that repeats their units."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.operations import NAME_IDS, RECURRENT
from keras_padsafe.saved_model.config_path import ConfigPath, walk_values
from keras_padsafe.saved_model.graph import Call, numbers_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.bind_claimed import claimed_site
from keras_padsafe.surgery.finding.bind_tables import (
    add_head_of_steps,
    add_holding,
    bind_inverse_lookups,
)
from keras_padsafe.surgery.finding.encodings import counting_key, keeps_steps
from keras_padsafe.surgery.finding.heads import (
    Head,
    head_of,
    heads_at_outputs,
    last_weights,
    reshaped_sizes,
    reshaped_units,
)
from keras_padsafe.surgery.finding.id_sources import is_reverse
from keras_padsafe.surgery.finding.logits import follow_logits
from keras_padsafe.surgery.finding.model_file import (
    IdSpace,
    ModelFile,
    add_config,
    settling_flags,
)
from keras_padsafe.surgery.finding.quantised import named_arrays
from keras_padsafe.surgery.finding.reach import keep_steps
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Draft, doubt, leaving


@dataclass
class _Candidate:
    """A head that an id space may own: its units are as many as the ids."""

    space: IdSpace
    call: Call
    head: Head
    keeps_steps: bool


def bind_heads(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Adds to each vocabulary its heads, or says why a head's owner is not known."""
    for space in spaces:
        reverse = [call for call in space.calls if is_reverse(call)]
        space.logits += reverse
        space.draft.no_spare += [
            f"table {call.layer.name!r} scores the ids by its rows, without a bias"
            for call in reverse
        ]
    reached = model.graph.spread(space.calls for space in spaces)
    candidates = _candidates(model, spaces, reached)
    for rivals in candidates.values():
        _settle(rivals, model)
    _bind_heads_by_object(model, spaces)
    _look_at_other_units(model, spaces, reached, set(candidates))
    _look_at_reshapes(model, spaces, reached)
    for space in spaces:
        vocabulary = space.draft
        followed = follow_logits(
            model.graph, space.logits, vocabulary.size, model.claims
        )
        space.over_ids = followed.over_ids
        add_config(vocabulary, followed.sites)
        vocabulary.unexplained += followed.unexplained
    bind_inverse_lookups(model, spaces)
    _bind_metrics(model, spaces)


def _candidates(
    model: ModelFile, spaces: list[IdSpace], reached: dict[Call, int]
) -> dict[int, list[_Candidate]]:
    """The heads at the outputs, and for each the id spaces that it may score."""
    sized = _by_size(spaces)
    inside = sum(1 << n for n, s in enumerate(spaces) if s.draft.is_made_inside)
    kept = keep_steps(model.graph, (_with_steps(space, model) for space in spaces))
    candidates: dict[int, list[_Candidate]] = {}
    for call, head in heads_at_outputs(model.graph, sized):
        rivals = sized[head.size]
        if not _is_claimed(call.layer, model):
            rivals &= reached[call] & ~inside
        for number in numbers_of(rivals):
            has_steps = bool(kept[call] >> number & 1)
            found = _Candidate(spaces[number], call, head, has_steps)
            candidates.setdefault(id(call.layer), []).append(found)
    return candidates


def _with_steps(space: IdSpace, model: ModelFile) -> list[Call]:
    """The calls of its tables that give a vector for each id."""
    return [
        call
        for call in space.calls
        if counting_key(call.layer, model) is None or keeps_steps(call, model.graph)
    ]


def _by_size(spaces: list[IdSpace]) -> dict[int, int]:
    """For each number of ids the bits of the spaces that have as many."""
    sized: dict[int, int] = {}
    for number, space in enumerate(spaces):
        sized[space.draft.size] = sized.get(space.draft.size, 0) | 1 << number
    return sized


def _settle(rivals: list[_Candidate], model: ModelFile) -> None:
    layer, kernel = rivals[0].head.layer, rivals[0].head.arrays[0]
    if model.claims.leaves(layer):
        return
    sure = _is_claimed(layer, model)
    owners = list(dict.fromkeys(rival.space.draft.name for rival in rivals))
    for rival in rivals:
        problem = None if sure else _problem(rival, owners)
        vocabulary = rival.space.draft
        if problem is None:
            add = add_holding if sure else add_head_of_steps
            add(vocabulary, rival.head)
            rival.space.logits.append(rival.call)
            continue
        flags = settling_flags(layer.name, kernel.axis)
        vocabulary.unexplained.append(doubt(layer, problem, flags))


def _problem(rival: _Candidate, owners: list[str]) -> str | None:
    """Why the head may not be this vocabulary's, if there is a reason."""
    if len(owners) > 1:
        return f"follows several tables: {', '.join(owners)}"
    if not rival.keeps_steps:
        return (
            f"has {rival.head.size} units after the last step of the sequence or "
            "after pooling: they may be scores of the ids, or classes"
        )
    return None


def _is_claimed(layer: LayerNode, model: ModelFile) -> bool:
    return any(model.claims.on(layer, array) for array in layer.arrays.values())


def _look_at_other_units(
    model: ModelFile, spaces: list[IdSpace], reached: dict[Call, int], known: set[int]
) -> None:
    """Layers of other kinds whose units, as many as the ids, reach an output."""
    sized = _by_size(spaces)
    bound = [{site.path for site in space.draft.arrays} for space in spaces]
    for call in last_weights(model.graph):
        layer = call.layer
        if id(layer) in known or model.claims.leaves(layer):
            continue
        sizes = {size for array in layer.arrays.values() for size in array.shape[-1:]}
        if layer.kind in RECURRENT and is_count(layer.config.get("units")):
            sizes.add(layer.config["units"])
        for size in sizes & sized.keys():
            for number in numbers_of(reached[call] & sized[size]):
                _look_at_units(model, spaces[number], call, bound[number])


def _look_at_units(
    model: ModelFile, space: IdSpace, call: Call, bound: set[str]
) -> None:
    vocabulary, layer = space.draft, call.layer
    _note_square(vocabulary, call)
    arrays = [
        array
        for array in layer.arrays.values()
        if array.shape[-1:] == (vocabulary.size,) and array.path not in bound
        if array is not named_arrays(layer).get("g_idx")
    ]
    problem = (
        f"has {vocabulary.size} units that reach an output of the model: they may be "
        "scores of the ids"
    )
    if layer.kind in RECURRENT and layer.config.get("units") == vocabulary.size:
        remedy = (
            f"{leaving(layer.name)} if they are not. If they are, it cannot be "
            "grown, because each of its units depends on all others"
        )
        vocabulary.unexplained.append(doubt(layer, problem, remedy))
    if arrays and _is_claimed(layer, model):
        head = head_of(layer)
        if head is not None and head.size == vocabulary.size:
            add_holding(vocabulary, head)
        vocabulary.arrays += _claimed_kernels(model, layer, vocabulary)
        space.logits.append(call)
    elif arrays and not _follows(vocabulary, arrays[0].path, model):
        flags = _settling_units(layer, arrays)
        vocabulary.unexplained.append(doubt(layer, problem, flags))


def _claimed_kernels(
    model: ModelFile, layer: LayerNode, vocabulary: Draft
) -> Iterator[ArraySite]:
    """Matrices of a claimed head that have a row for each id, and that no id indexes.

    By their shape alone they would be tables, and a proof would wait for ids in them.
    """
    if model.asking is None:
        return
    known = {*(s.path for s in vocabulary.arrays), *model.asking.inside.tables}
    for array in layer.arrays.values():
        is_wide = len(array.shape) > 1 and array.shape[:1] == (vocabulary.size,)
        if is_wide and array.path not in known:
            claims = [c for c in model.claims.on(layer, array) if c.axis == 0]
            yield from (claimed_site(array, c, "head kernel") for c in claims[:1])


def _settling_units(layer: LayerNode, units: list[StoredArray]) -> str:
    """The flags for a layer's units: array by array where one axis means others too."""
    size, axis = units[0].shape[-1], len(units[0].shape) - 1
    named = [array.shape for array in layer.arrays.values() if axis < len(array.shape)]
    if all(shape[axis] == size for shape in named):
        return settling_flags(layer.name, axis)
    claims = [f"{array.path}:{len(array.shape) - 1}" for array in units]
    flags = " ".join(f"--also {claim}" for claim in claims)
    return (
        f"Add {flags} (also={claims}) if it belongs to the vocabulary, --leave "
        f"{layer.name} (leave='{layer.name}') if not"
    )


def _look_at_reshapes(
    model: ModelFile, spaces: list[IdSpace], reached: dict[Call, int]
) -> None:
    """Outputs with a unit for each id that are cut out of more units than that."""
    sized = _by_size(spaces)
    for size in sized.keys() & reshaped_sizes(model.graph):
        for call in model.graph.back_from_outputs(
            lambda call, size=size: reshaped_units(call.layer, size) is not None
        ):
            heads = [head_of(source.layer) for source in call.inputs]
            wide = [head for head in heads if head is not None and head.size != size]
            if not wide or model.claims.leaves(wide[0].layer):
                continue
            layer = wide[0].layer
            found = doubt(
                call.layer,
                f"makes rows of {size} of the {wide[0].size} units of "
                f"{layer.class_name} {layer.name!r}: they may be scores of the ids",
                f"{leaving(layer.name)} if they are not. If they are, it cannot be "
                "grown in the file",
            )
            for number in numbers_of(reached[call] & sized[size]):
                spaces[number].draft.unexplained.append(found)


def _follows(vocabulary: Draft, path: str, model: ModelFile) -> bool:
    """Whether the last axis of an array was shown to follow the vocabulary."""
    if model.asking is None or not vocabulary.numbers:
        return False
    axis = len(model.archive.arrays[path].shape) - 1
    return model.asking.follows(vocabulary.numbers, path, axis)


def _note_square(vocabulary: Draft, call: Call) -> None:
    """A table whose rows reach an output and are as long as the table."""
    square = (vocabulary.size, vocabulary.size)
    for site in vocabulary.arrays:
        mine = any(array.path == site.path for array in call.layer.arrays.values())
        if mine and site.shape == square and not is_reverse(call):
            vocabulary.notes.append(
                f"The rows of {site.path} reach an output of the model and are as "
                f"long as the table, {vocabulary.size}. They keep that length. If "
                "they are scores of the ids, new ids get no score."
            )


def _bind_heads_by_object(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Heads that hold the table itself."""
    holding: dict[str, list[int]] = {}
    for number, space in enumerate(spaces):
        for site in space.draft.arrays:
            holding.setdefault(site.path, []).append(number)
    for layer in model.layers:
        head = head_of(layer) if layer.children else None
        held = [child.original or child for child in layer.children if head]
        paths = [array.path for child in held for array in child.arrays.values()]
        for number in sorted({n for path in paths for n in holding.get(path, ())}):
            if head is not None and head.size == spaces[number].draft.size:
                add_holding(spaces[number].draft, head)


def _bind_metrics(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Losses and metrics that count or name the classes of an output over ids."""
    over: dict[Call, list[Draft]] = {}
    for space in spaces:
        for call in space.over_ids:
            over.setdefault(call, []).append(space.draft)
    compiled = model.root.serialized.get("compile_config") or {}
    for key in ("metrics", "weighted_metrics", "loss"):
        for output, path, metrics in _metrics_of(compiled.get(key), model):
            for vocabulary in over.get(output, ()):
                _bind_metric(vocabulary, ("compile_config", key, *path), metrics)


def _bind_metric(vocabulary: Draft, place: ConfigPath, metrics: Any) -> None:
    for inner, id_ in _named_ids(metrics):
        site = ConfigSite((*place, *inner), id_, "id", "names an id")
        add_config(vocabulary, [site])
    for inner, value in walk_values(metrics):
        if inner[-1:] == ("num_classes",) and value == vocabulary.size:
            reason = "metric over the classes of the head"
            site = ConfigSite((*place, *inner), vocabulary.size, "table", reason)
            add_config(vocabulary, [site])


def _metrics_of(
    metrics: Any, model: ModelFile
) -> Iterator[tuple[Call, ConfigPath, Any]]:
    """Each output of the model with the metrics compiled for it, and their place."""
    outputs = model.graph.outputs
    if isinstance(metrics, dict) and "class_name" not in metrics:
        by_name = {_output_name(call): call for call in outputs}
        for name, own in metrics.items():
            if name in by_name:
                yield by_name[name], (name,), own
    elif len(outputs) == 1:
        yield outputs[0], (), metrics
    elif isinstance(metrics, list) and len(metrics) == len(outputs):
        for index, (call, own) in enumerate(zip(outputs, metrics, strict=True)):
            yield call, (index,), own


def _output_name(call: Call) -> str:
    """Keras calls an output by its layer, the wrapper if there is one."""
    layer = call.layer
    while layer.parent is not None and not layer.parent.is_graph:
        layer = layer.parent
    return layer.name


def _named_ids(value: Any) -> Iterator[tuple[ConfigPath, int]]:
    """The ids that losses and metrics of Keras know by their number."""
    for path, inner in walk_values(value):
        listed = inner if isinstance(inner, list) else [inner]
        if NAME_IDS.intersection(path[-1:]) and all(map(is_count, listed)):
            places = [(*path, n) for n in range(len(listed))]
            yield from zip(places if listed is inner else [path], listed, strict=True)
