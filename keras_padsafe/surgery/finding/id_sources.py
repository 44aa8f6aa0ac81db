"""Follows ids back from a table to the layer or input that they come from."""

from collections.abc import Iterable

from keras_padsafe.facts.operations import BINS, LOOKUPS, MOVES_IDS, SELECTS_IDS
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode


def id_sources(calls: Iterable[Call]) -> list[tuple[LayerNode, bool]]:
    """The inputs, lookup layers and hashes that ids come from, and whether as a whole.

    `False` marks a source of which only a part was taken, by a slice: another table
    may take another part, with ids of another meaning.
    """
    found: list[tuple[LayerNode, bool]] = []
    pending = [(call, True) for call in calls]
    seen: set[tuple[Call, bool]] = set()
    while pending:
        call, whole = pending.pop()
        if (call, whole) in seen:
            continue
        seen.add((call, whole))
        kind = call.layer.kind
        if kind == "InputLayer" or kind in LOOKUPS | BINS:
            found.append((call.layer, whole))
        elif kind in MOVES_IDS or kind in SELECTS_IDS:
            whole = whole and kind in MOVES_IDS
            pending.extend((source, whole) for source in call.inputs)
    return found


def changers(calls: Iterable[Call]) -> list[LayerNode]:
    """What may have made other ids of those that enter a table."""
    found: list[LayerNode] = []
    pending = [c.inputs[0] for c in calls if c.inputs and not is_reverse(c)]
    seen: set[Call] = set()
    while pending:
        call = pending.pop()
        if call in seen:
            continue
        seen.add(call)
        kind = call.layer.kind
        if kind in MOVES_IDS or kind in SELECTS_IDS:
            pending.extend(call.inputs)
        elif kind != "InputLayer" and kind not in LOOKUPS | BINS:
            found.append(call.layer)
    return found


def sources_of_table(calls: list[Call]) -> list[tuple[LayerNode, bool]]:
    """The sources of what is fed to the calls of a table, first arguments only."""
    fed = [call.inputs[0] for call in calls if call.inputs and not is_reverse(call)]
    return id_sources(fed)


def is_reverse(call: Call) -> bool:
    """Whether this call of a tied table computes logits."""
    return True in (call.arguments.get("reverse"), call.arguments.get("1"))


def takers(graph: Graph, source: LayerNode) -> list[tuple[Call, bool]]:
    """The calls that take in the ids of a source, unchanged, and whether as a whole."""
    found: list[tuple[Call, bool]] = []
    pending = [(call, True) for call in graph.calls_of(source)]
    seen: set[Call] = set()
    while pending:
        call, whole = pending.pop()
        for consumer in call.consumers:
            if consumer in seen:
                continue
            seen.add(consumer)
            kind = consumer.layer.kind
            if kind in MOVES_IDS or kind in SELECTS_IDS:
                pending.append((consumer, whole and kind in MOVES_IDS))
            else:
                found.append((consumer, whole))
    return found
