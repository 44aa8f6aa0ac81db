"""Heads that a class holds: their units are counted by a number of their own."""

from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.bind_tables import add_head_of_steps
from keras_padsafe.surgery.finding.heads import head_of
from keras_padsafe.surgery.finding.model_file import ModelFile, settling_flags
from keras_padsafe.surgery.finding.vocabulary import Draft, doubt


def bind_held_heads(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds heads that config.json describes within a class, and no graph connects.

    Shown is which of them score the steps of a sequence: an output of the model with
    a vector for each step, which grows as their units do. Any other with a unit for
    each id is asked about.
    """
    asking = model.asking
    if asking is None:
        return
    spelled = {id(call.layer) for call in model.graph.calls}
    bound = {site.path for draft in drafts for site in draft.arrays}
    for layer in model.layers:
        head = head_of(layer)
        if head is None or not head.arrays or id(layer) in spelled:
            continue
        if model.claims.leaves(layer) or head.arrays[0].path in bound:
            continue
        owners = [d for d in drafts if d.size == head.size and not d.is_made_inside]
        owners = [draft for draft in owners if not _follows(asking, draft, layer)]
        numbers = [site.path for site in head.config]
        if len(owners) == 1 and asking.vary(numbers).step_outputs:
            add_head_of_steps(owners[0], head)
            continue
        problem = (
            f"has {head.size} units, counted by {config_key(head.config[0].path)}: "
            "they may be scores of the ids, or classes"
        )
        flags = settling_flags(head.arrays[0].path, head.arrays[0].axis)
        for draft in owners:
            draft.unexplained.append(doubt(layer, problem, flags))


def _follows(asking: Asking, draft: Draft, layer: LayerNode) -> bool:
    """Whether the layer's weights follow the vocabulary already."""
    found = asking.vary(draft.numbers)
    return any(array.path in found.axes for array in layer.arrays.values())
