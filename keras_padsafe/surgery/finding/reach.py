"""What is left of a sequence of ids on the way from a table to a head."""

from enum import IntEnum
from typing import Any

from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode

_RECURRENT = frozenset(("LSTM", "GRU", "SimpleRNN", "RNN"))
# What makes one vector of a whole sequence, whatever shapes were recorded.
_POOLING = frozenset(
    """
    GlobalAveragePooling1D GlobalMaxPooling1D GlobalAveragePooling2D
    GlobalMaxPooling2D Flatten Mean Max Sum Any All Min Dot
    MaskedGlobalAveragePooling1D MaskedGlobalMaxPooling1D MaskedGlobalSumPooling1D
    MaskedGlobalFirstPooling1D MaskedGlobalAttentionPooling1D
    """.split()
)
# Losses and activations of a layer that scores nothing.
_NO_SCORES = ("mean_", "mse", "mae", "huber", "log_cosh", "logcosh", "poisson")


class Reach(IntEnum):
    """How much of its sequence a value has kept."""

    POOLED = 0
    """One vector of a whole sequence: a head after it may as well tell classes."""
    LAST = 1
    """The state after the last step, from which the next id is told."""
    STEPS = 2
    """A vector for each step."""


def reaches(graph: Graph, sources: list[Call]) -> dict[Call, Reach]:
    """For every call downstream of `sources`, what is left of the sequence there."""
    reach: dict[Call, Reach] = dict.fromkeys(sources, Reach.STEPS)
    for call in graph.calls:
        if call in reach:
            continue
        before = [reach[source] for source in call.inputs if source in reach]
        if before:
            reach[call] = min(max(before), _keeps(call, graph))
    return reach


def _keeps(call: Call, graph: Graph) -> Reach:
    layer = call.layer
    if layer.class_name in _RECURRENT:
        return Reach.STEPS if layer.config.get("return_sequences") else Reach.LAST
    if layer.class_name == "Bidirectional":
        inner = [child.config.get("return_sequences") for child in layer.children]
        return Reach.STEPS if any(inner) else Reach.POOLED
    if layer.class_name in ("GetItem", "MaskedGlobalLastPooling1D"):
        return _selected(call.arguments.get("1"))
    before = [graph.shape_of(source) for source in call.inputs]
    if any(shape and len(shape) == 3 and shape[1] == 1 for shape in before):
        return Reach.STEPS
    if layer.class_name in _POOLING:
        return Reach.POOLED
    after = graph.shape_of(call)
    ranks = [len(shape) for shape in before if shape]
    return Reach.POOLED if after and ranks and len(after) < max(ranks) else Reach.STEPS


def _selected(key: Any) -> Reach:
    """What an index keeps of the time axis, the second one."""
    time = key[1] if isinstance(key, list) and len(key) > 1 else None
    if not isinstance(time, int):
        return Reach.STEPS
    return Reach.LAST if time == -1 else Reach.POOLED


def is_next_id_head(graph: Graph, call: Call, sources: list[Call], loss: Any) -> bool:
    """Whether nothing speaks against a head that scores the id after the last step.

    A head on more than the ids, or one that is trained to come near a value, has its
    number of units for another reason.
    """
    text = str(loss).lower()
    if loss and any(word in text for word in _NO_SCORES):
        return False
    if call.layer.config.get("activation") not in (None, "linear", "softmax"):
        return False
    return _inputs_of(call) <= {i for source in sources for i in _inputs_of(source)}


def _inputs_of(call: Call) -> set[LayerNode]:
    """The input layers that a value is computed from."""
    found: set[LayerNode] = set()
    pending, seen = [call], set[Call]()
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        if here.layer.class_name == "InputLayer":
            found.add(here.layer)
        pending.extend(here.inputs)
    return found
