"""Adds the output heads of each vocabulary, and all that repeats their units."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.facts.operations import NAME_IDS, RECURRENT
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.bind_tables import add_holding, bind_inverse_lookups
from keras_padsafe.surgery.finding.encodings import counting_key, keeps_steps
from keras_padsafe.surgery.finding.heads import (
    Head,
    head_of,
    last_weights,
    output_producers,
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
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Draft, Unexplained


@dataclass
class _Candidate:
    """A head that an id space may own: its units are as many as the ids."""

    space: IdSpace
    call: Call
    head: Head
    keeps_steps: bool


def bind_heads(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Adds to each vocabulary its heads, or says why a head's owner is not known."""
    producers = {
        size: output_producers(model.graph, size)
        for size in {space.draft.size for space in spaces}
    }
    candidates: dict[int, list[_Candidate]] = {}
    for space in spaces:
        reverse = [call for call in space.calls if is_reverse(call)]
        space.logits += reverse
        space.draft.no_spare += [
            f"table {call.layer.name!r} scores the ids by its rows, without a bias"
            for call in reverse
        ]
        downstream = model.graph.downstream(space.calls)
        steps = [
            call
            for call in space.calls
            if counting_key(call.layer, model) is None or keeps_steps(call, model.graph)
        ]
        with_steps = keep_steps(model.graph, steps)
        for call in producers[space.draft.size]:
            head = head_of(call.layer)
            if head is None or head.size != space.draft.size:
                continue
            follows = call in downstream and not space.draft.is_made_inside
            if follows or _is_claimed(call.layer, model):
                found = _Candidate(space, call, head, call in with_steps)
                candidates.setdefault(id(call.layer), []).append(found)
    for rivals in candidates.values():
        _settle(rivals, model)
    last, known = last_weights(model.graph), set(candidates)
    for space in spaces:
        vocabulary = space.draft
        _bind_heads_by_object(model, vocabulary)
        _look_at_other_units(model, space, last, known)
        _look_at_reshapes(model, space)
        followed = follow_logits(
            model.graph, space.logits, vocabulary.size, model.claims
        )
        space.over_ids = followed.over_ids
        add_config(vocabulary, followed.sites)
        vocabulary.unexplained += followed.unexplained
        bind_inverse_lookups(model, space)
        _bind_metrics(model, space)


def _settle(rivals: list[_Candidate], model: ModelFile) -> None:
    layer, kernel = rivals[0].head.layer, rivals[0].head.arrays[0]
    if model.claims.leaves(layer):
        return
    sure = _is_claimed(layer, model)
    owners = list(dict.fromkeys(rival.space.draft.name for rival in rivals))
    for rival in rivals:
        doubt = None if sure else _doubt(rival, owners)
        vocabulary = rival.space.draft
        if doubt is None:
            add_holding(vocabulary, rival.head)
            rival.space.logits.append(rival.call)
            continue
        vocabulary.unexplained.append(
            Unexplained(
                layer.name,
                f"{layer.class_name} {layer.name!r} {doubt}",
                settling_flags(layer.name, kernel.axis),
            )
        )


def _doubt(rival: _Candidate, owners: list[str]) -> str | None:
    """Why the head may not be this vocabulary's, if there is a reason."""
    if len(owners) > 1:
        return f"follows several tables: {', '.join(owners)}"
    if not rival.keeps_steps:
        return (
            f"has {rival.head.size} units after the last step of the sequence or a "
            "pooling over it: they may score ids, or as many classes"
        )
    return None


def _is_claimed(layer: LayerNode, model: ModelFile) -> bool:
    return any(model.claims.on(layer, array) for array in layer.arrays.values())


def _look_at_other_units(
    model: ModelFile, space: IdSpace, last: list[Call], known: set[int]
) -> None:
    """Layers of other kinds whose units, as many as the ids, reach an output."""
    vocabulary = space.draft
    bound = {site.path for site in vocabulary.arrays}
    downstream = model.graph.downstream(space.calls)
    for call in last:
        layer = call.layer
        if call not in downstream or id(layer) in known or model.claims.leaves(layer):
            continue
        _note_square(vocabulary, call)
        arrays = [
            array
            for array in layer.arrays.values()
            if array.shape[-1:] == (vocabulary.size,) and array.path not in bound
            if array is not named_arrays(layer).get("g_idx")
        ]
        if layer.kind in RECURRENT and layer.config.get("units") == (vocabulary.size):
            vocabulary.unexplained.append(_recurrent(layer, vocabulary.size))
        if arrays and _is_claimed(layer, model):
            head = head_of(layer)
            if head is not None and head.size == vocabulary.size:
                add_holding(vocabulary, head)
            space.logits.append(call)
        elif arrays and not _follows(vocabulary, arrays[0].path, model):
            problem = (
                f"{layer.class_name} {layer.name!r} has {vocabulary.size} units that "
                "reach an output of the model: they may score ids"
            )
            flags = settling_flags(layer.name, len(arrays[0].shape) - 1)
            vocabulary.unexplained.append(Unexplained(layer.name, problem, flags))


def _recurrent(layer: LayerNode, size: int) -> Unexplained:
    return Unexplained(
        layer.name,
        f"{layer.class_name} {layer.name!r} has {size} units that reach an output of "
        "the model: they may score ids",
        f"Say --leave {layer.name} (leave='{layer.name}') if not; if so, it cannot be "
        "grown, since each of its units sees all others",
    )


def _look_at_reshapes(model: ModelFile, space: IdSpace) -> None:
    """Outputs with a unit for each id that are cut out of more units than that."""
    size = space.draft.size
    downstream = model.graph.downstream(space.calls)
    reshapes = {c for c in downstream if reshaped_units(c.layer, size) is not None}
    for call in (
        model.graph.back_from_outputs(
            lambda call: reshaped_units(call.layer, size) is not None
        )
        if reshapes
        else ()
    ):
        heads = [head_of(source.layer) for source in call.inputs]
        wide = [head for head in heads if head is not None and head.size != size]
        if call in downstream and wide and not model.claims.leaves(wide[0].layer):
            layer = wide[0].layer
            space.draft.unexplained.append(
                Unexplained(
                    call.layer.name,
                    f"{call.layer.class_name} {call.layer.name!r} makes rows of {size} "
                    f"of the {wide[0].size} units of {layer.class_name} "
                    f"{layer.name!r}: they may score ids",
                    f"Say --leave {layer.name} (leave='{layer.name}') if not; if so, "
                    "it cannot be grown in the file",
                )
            )


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
                f"The rows of {site.path} reach an output of the model and are as long "
                f"as the table, {vocabulary.size}. They keep that length: if they "
                "score ids, new ids get no score."
            )


def _bind_heads_by_object(model: ModelFile, vocabulary: Draft) -> None:
    """Heads that hold the table itself."""
    paths = {site.path for site in vocabulary.arrays}
    for layer in model.layers:
        head = head_of(layer)
        if head is not None and head.size == vocabulary.size:
            held = [child.original or child for child in layer.children]
            if any(
                array.path in paths for child in held for array in child.arrays.values()
            ):
                add_holding(vocabulary, head)


def _bind_metrics(model: ModelFile, space: IdSpace) -> None:
    """Losses and metrics that count or name the classes of an output over ids."""
    vocabulary = space.draft
    compiled = model.root.serialized.get("compile_config") or {}
    for key in ("metrics", "weighted_metrics", "loss"):
        for output, path, metrics in _metrics_of(compiled.get(key), model):
            if output not in space.over_ids:
                continue
            for inner, id_ in _named_ids(metrics):
                place = ("compile_config", key, *path, *inner)
                add_config(vocabulary, [ConfigSite(place, id_, "id", "names an id")])
            for inner in _class_counts(metrics, vocabulary.size):
                place = ("compile_config", key, *path, *inner)
                reason = "metric over the classes of the head"
                site = ConfigSite(place, vocabulary.size, "table", reason)
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
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in NAME_IDS and is_count(inner):
                yield (key,), inner
            elif key in NAME_IDS and isinstance(inner, list):
                yield from (((key, n), id_) for n, id_ in enumerate(inner))
            else:
                yield from (((key, *path), id_) for path, id_ in _named_ids(inner))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from (((index, *path), id_) for path, id_ in _named_ids(inner))


def _class_counts(value: Any, size: int) -> Iterator[ConfigPath]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "num_classes" and inner == size:
                yield (key,)
            yield from ((key, *path) for path in _class_counts(inner, size))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from ((index, *path) for path in _class_counts(inner, size))
