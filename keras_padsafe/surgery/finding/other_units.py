"""Asks about layers of other kinds whose units may be scores of the ids."""

from collections.abc import Container, Iterator

from keras_padsafe.facts.operations import RECURRENT
from keras_padsafe.facts.rules import rule_of
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.bind_claimed import claimed_site
from keras_padsafe.surgery.finding.bind_tables import add_head
from keras_padsafe.surgery.finding.doubt import adding, doubt_of, leaving, settling
from keras_padsafe.surgery.finding.heads import head_of
from keras_padsafe.surgery.finding.id_sources import is_reverse
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.quantised import named_arrays
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Draft, Reached


def look_at_other_units(
    model: ModelFile, drafts: list[Draft], reached: Reached, known: Container[LayerNode]
) -> None:
    """Layers of other kinds whose units, as many as the ids, reach an output."""
    bound = {draft: {site.path for site in draft.arrays} for draft in drafts}
    # From the layers with weights that come last, an output takes nothing but steps.
    for call in model.graph.back_from_outputs(lambda call: call.layer.has_weights):
        layer = call.layer
        if layer in known or model.claims.leaves(layer):
            continue
        sizes = {size for array in layer.arrays.values() for size in array.shape[-1:]}
        if layer.kind in RECURRENT and is_count(layer.config.get("units")):
            sizes.add(layer.config["units"])
        for draft in reached(call) if sizes else ():
            if draft.size in sizes:
                _look_at_units(model, draft, call, bound[draft])


def _look_at_units(model: ModelFile, draft: Draft, call: Call, bound: set[str]) -> None:
    layer = call.layer
    _ask_about_square(model, draft, call)
    arrays = [
        array
        for array in layer.arrays.values()
        if array.shape[-1:] == (draft.size,) and array.path not in bound
        if array is not named_arrays(layer).get("g_idx")
    ]
    problem = (
        f"has {draft.size} units that reach an output of the model: they may be "
        "scores of the ids"
    )
    if layer.kind in RECURRENT and layer.config.get("units") == draft.size:
        remedy = (
            f"{leaving(layer.name)} if they are not. If they are, it cannot be "
            "grown, because each of its units depends on all others"
        )
        draft.unexplained.append(doubt_of(layer, problem, remedy))
    if arrays and model.claims_units(layer):
        head = head_of(layer)
        if head is not None and head.size == draft.size:
            add_head(draft, head)
        draft.arrays += _claimed_kernels(model, layer, draft)
        draft.logits.append(call)
    elif arrays:
        axis = len(arrays[0].shape) - 1
        if model.follows(draft, arrays[0].path, axis):
            return
        within = (a for node in layer.walk() for a in node.arrays.values())
        others = [a for a in within if a not in arrays]
        claims = [f"{layer.name}:{axis}"]
        if any(axis < len(other.shape) for other in others):
            claims = [f"{array.path}:{len(array.shape) - 1}" for array in arrays]
        remedy = settling(layer.name, *claims)
        draft.unexplained.append(doubt_of(layer, problem, remedy))


def _claimed_kernels(
    model: ModelFile, layer: LayerNode, draft: Draft
) -> Iterator[ArraySite]:
    """Matrices of a claimed head that have a row for each id, and that no id indexes.

    By their shape alone they would be tables, and a proof would wait for ids in them.
    """
    if model.asking is None:
        return
    known = {*(s.path for s in draft.arrays), *model.asking.inside.tables}
    for array in layer.arrays.values():
        is_wide = len(array.shape) > 1 and array.shape[:1] == (draft.size,)
        if is_wide and array.path not in known:
            claims = [c for c in model.claims.on(layer, array) if c.axis == 0]
            yield from (claimed_site(array, c, "head kernel") for c in claims[:1])


def _ask_about_square(model: ModelFile, draft: Draft, call: Call) -> None:
    """A table whose rows reach an output and are as long as the table.

    Where a loss was compiled for them, they may well be scores, as of a bigram model.
    """
    layer = call.layer
    if is_reverse(call) or model.claims_units(layer):
        return
    if rule_of(layer.key) is None and not layer.holds_one:
        return
    mine = {array.path for array in layer.arrays.values()}
    compiled = model.root.serialized.get("compile_config") or {}
    for site in draft.arrays:
        if site.path not in mine or site.shape != (draft.size, draft.size):
            continue
        problem = (
            f"gives rows of {draft.size} numbers to an output of the model, as many "
            "as there are ids: they may be scores of the ids"
        )
        if compiled.get("loss") is None:
            draft.notes.append(f"{layer.title} {problem}. They keep that length.")
            continue
        remedy = (
            f"{adding(f'{site.path}:0')} if they are not. If they are, it "
            "cannot be grown in the file: grow it in Keras"
        )
        draft.unexplained.append(doubt_of(layer, problem, remedy))
