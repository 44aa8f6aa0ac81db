"""Adds the output heads of each vocabulary, and all that repeats their units."""

from collections.abc import Collection, Iterator
from typing import Any

from keras_padsafe.facts.operations import (
    BACK_TO_IDS,
    POOLING,
    RECURRENT,
    UNIT_BY_UNIT,
)
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.bind_tables import (
    add_head,
    add_head_of_steps,
    bind_inverse_lookups,
)
from keras_padsafe.surgery.finding.doubt import (
    Doubt,
    adding,
    doubt_of,
    how_near,
    lacking,
    leaving,
    settling,
)
from keras_padsafe.surgery.finding.encodings import counting_key, keeps_steps
from keras_padsafe.surgery.finding.heads import head_of, skipping
from keras_padsafe.surgery.finding.id_sources import is_reverse
from keras_padsafe.surgery.finding.logits import (
    bind_metrics,
    follow_logits,
    reshaped_sizes,
    reshaped_units,
)
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.other_units import look_at_other_units
from keras_padsafe.surgery.finding.sites import Holding
from keras_padsafe.surgery.finding.vocabulary import Draft, Reached


def bind_heads(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds to each vocabulary its heads, or says why a head's owner is not known."""
    for draft in drafts:
        reverse = [call for call in draft.calls if is_reverse(call)]
        draft.logits += reverse
        draft.no_spare += [
            f"table {call.layer.name!r} scores the ids by its rows, without a bias"
            for call in reverse
        ]
    reached = model.graph.spread((draft, draft.calls) for draft in drafts)
    kept = _keep_steps(model, drafts)
    rivals = _rivals(model, drafts, reached)
    for layer, found in rivals.items():
        _settle(layer, found, model, kept)
    _bind_heads_by_object(model, drafts)
    look_at_other_units(model, drafts, reached, rivals)
    for draft in drafts:
        follow_logits(draft, model)
    bind_inverse_lookups(model, drafts)
    bind_metrics(model, drafts)


_Rivals = dict[LayerNode, list[tuple[Draft, Call, Holding]]]
"""The heads at the outputs, and for each the vocabularies that it may score."""


def _rivals(model: ModelFile, drafts: list[Draft], reached: Reached) -> _Rivals:
    rivals: _Rivals = {}
    sizes = {size for draft in drafts for size in draft.near_sizes}
    sizes |= {array.shape[c.axis] for _, array, all_ in model.claimed for c in all_}
    for call, head in _heads_at_outputs(model.graph, sizes):
        owners = drafts
        if not model.claims_units(call.layer):
            owners = [draft for draft in reached(call) if not draft.is_made_inside]
        size = head.size + len(model.without(call.layer))
        exact = [draft for draft in owners if draft.size == size]
        nearly = [d for d in owners if d.size != size in d.near_sizes]
        tables = (table for draft in exact for table in draft.tables)
        is_beside = any(table.layer is not call.layer for table in tables)
        if is_beside and model.claims_units(call.layer):
            nearly = []
        for draft in (*exact, *nearly):
            rivals.setdefault(call.layer, []).append((draft, call, head))
    return rivals


def _heads_at_outputs(
    graph: Graph, sizes: Collection[int]
) -> Iterator[tuple[Call, Holding]]:
    """The heads that make the units of an output of the model, or its ids, by call.

    A Reshape passes on as many units as it names; only those of `sizes` count.
    """
    reshaped = reshaped_sizes(graph).intersection(sizes)
    passing = UNIT_BY_UNIT | BACK_TO_IDS
    for named in (None, *reshaped):
        fitting = {named} if named else set(sizes) - reshaped
        for call in graph.back_from_outputs(
            lambda call, named=named: (
                call.layer.kind not in passing
                and (named is None or reshaped_units(call.layer, named) is None)
            )
        ):
            head = head_of(call.layer)
            if head is not None and head.size in fitting:
                yield call, head


def _keep_steps(model: ModelFile, drafts: list[Draft]) -> Reached:
    """Which vocabularies give a call a vector for each id that still has every step."""
    graph = model.graph
    groups = (
        (
            draft,
            [
                call
                for call in draft.calls
                if len(graph.shape_of(call) or (0, 0, 0)) > 2
                if counting_key(call.layer, model) is None or keeps_steps(call, graph)
            ],
        )
        for draft in drafts
    )
    return graph.spread(groups, lambda call: _keeps_steps(call, graph))


def _keeps_steps(call: Call, graph: Graph) -> bool:
    """Whether what a call makes has every step of a sequence that it takes in.

    After a pooling or the last step of a sequence, units may as well tell classes.
    """
    layer = call.layer
    if layer.kind in RECURRENT:
        return bool(layer.config.get("return_sequences"))
    if layer.kind == "Bidirectional":
        return any(child.config.get("return_sequences") for child in layer.children)
    if layer.kind == "GetItem":
        return not _selects_one_step(call.arguments.get("1"))
    if layer.kind in POOLING:
        return False
    before = [graph.shape_of(source) for source in call.inputs]
    after = graph.shape_of(call)
    ranks = [len(shape) for shape in before if shape]
    return not (after and ranks and len(after) < max(ranks))


def _selects_one_step(key: Any) -> bool:
    """Whether an index takes one place of the time axis, the second one."""
    return isinstance(key, list) and len(key) > 1 and isinstance(key[1], int)


def _settle(
    layer: LayerNode,
    rivals: list[tuple[Draft, Call, Holding]],
    model: ModelFile,
    kept: Reached,
) -> None:
    if model.claims.leaves(layer):
        return
    sure, without = model.claims_units(layer), model.without(layer)
    owners = list(dict.fromkeys(f"{d.name} ({d.size} ids)" for d, _, _ in rivals))
    for draft, call, head in rivals:
        if draft.size != head.size + len(without):
            draft.unexplained.append(_near(layer, head, draft.size))
            continue
        if not sure and len(owners) > 1:
            problem = f"follows several tables: {', '.join(owners)}"
        elif not sure and draft not in kept(call):
            problem = (
                f"has {head.size} units, and it is not shown that they are for "
                "each step of the ids: they may be scores of the ids, or classes"
            )
        elif without:
            add_head(draft, skipping(head, without))
            continue
        else:
            add = add_head if sure else add_head_of_steps
            add(draft, head)
            draft.logits.append(call)
            continue
        flags = settling(layer.name, f"{layer.name}:{head.arrays[0].axis}")
        draft.unexplained.append(doubt_of(layer, problem, flags))


def _near(layer: LayerNode, head: Holding, size: int) -> Doubt:
    """A head with one unit more than there are ids, as for a blank, or some fewer."""
    first, remedy = head.arrays[0], f"{leaving(layer.name)} if they are not. If they "
    remedy += "are, it cannot be grown in the file: grow it in Keras"
    if head.size < size and first.size == head.size:
        claim = f"{layer.name}:{first.axis}{lacking(head.size, size)}"
        remedy = (
            f"{adding(claim)} with each id that has no unit, if they are; --leave "
            f"{layer.name} (leave='{layer.name}') if not"
        )
    return doubt_of(
        layer,
        f"has {head.size} units, {how_near(head.size, size)}: they may be scores of "
        "the ids",
        remedy,
    )


def _bind_heads_by_object(model: ModelFile, drafts: list[Draft]) -> None:
    """Heads that hold the table itself."""
    for layer in model.layers:
        head = head_of(layer) if layer.children else None
        held = [child.original or child for child in layer.children if head]
        paths = {array.path for child in held for array in child.arrays.values()}
        for draft in drafts if head and paths else ():
            has_it = any(site.path in paths for site in draft.arrays)
            if head is not None and draft.size == head.size and has_it:
                add_head(draft, head)
