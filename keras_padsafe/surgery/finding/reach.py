"""Which values still have one vector for each step of a sequence of ids."""

from collections.abc import Iterable
from typing import Any

from keras_padsafe.facts.operations import POOLING, RECURRENT
from keras_padsafe.saved_model.graph import Call, Graph


def keep_steps(graph: Graph, groups: Iterable[Iterable[Call]]) -> dict[Call, int]:
    """For each call, which groups of calls give it values that still have every step.

    A bit stands for each group. After a pooling or the last step of a sequence, units
    may as well tell classes.
    """
    return graph.spread(groups, lambda call: _keeps(call, graph))


def _keeps(call: Call, graph: Graph) -> bool:
    layer = call.layer
    if layer.kind in RECURRENT:
        return bool(layer.config.get("return_sequences"))
    if layer.kind == "Bidirectional":
        return any(child.config.get("return_sequences") for child in layer.children)
    if layer.kind == "GetItem":
        return not _selects_one_step(call.arguments.get("1"))
    before = [graph.shape_of(source) for source in call.inputs]
    if any(shape and len(shape) == 3 and shape[1] == 1 for shape in before):
        return True
    if layer.kind in POOLING:
        return False
    after = graph.shape_of(call)
    ranks = [len(shape) for shape in before if shape]
    return not (after and ranks and len(after) < max(ranks))


def _selects_one_step(key: Any) -> bool:
    """Whether an index takes one place of the time axis, the second one."""
    return isinstance(key, list) and len(key) > 1 and isinstance(key[1], int)
