"""Follows ids back from a table to the layer or input that they come from."""

from collections.abc import Iterable, Iterator

from keras_padsafe.facts.operations import BINS, LOOKUPS, MOVES_IDS, SELECTS_IDS
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode


def id_sources(calls: Iterable[Call]) -> list[tuple[LayerNode, bool]]:
    """The inputs, lookup layers and hashes that ids come from, and whether as a whole.

    `False` marks a source of which only a part was taken, by a slice: another table
    may take another part, with ids of another meaning.
    """
    return [(c.layer, whole) for c, whole in _made_by(calls) if _is_source(c)]


def changers(calls: Iterable[Call]) -> list[LayerNode]:
    """What may have made other ids of those that enter a table."""
    made_by = _made_by(_fed(calls))
    return list(dict.fromkeys(c.layer for c, _ in made_by if not _is_source(c)))


def _made_by(calls: Iterable[Call]) -> Iterator[tuple[Call, bool]]:
    """The calls on the way back that do more to ids than move or select them."""
    pending = [(call, True) for call in calls]
    seen: set[tuple[Call, bool]] = set()
    while pending:
        call, whole = pending.pop()
        if (call, whole) in seen:
            continue
        seen.add((call, whole))
        kind = call.layer.kind
        if kind in MOVES_IDS or kind in SELECTS_IDS:
            whole = whole and kind in MOVES_IDS
            pending.extend((source, whole) for source in call.inputs)
        else:
            yield call, whole


def _is_source(call: Call) -> bool:
    return call.layer.kind in LOOKUPS | BINS | {"InputLayer"}


def _fed(calls: Iterable[Call]) -> list[Call]:
    """What is fed to the calls of a table, first arguments only."""
    return [call.inputs[0] for call in calls if call.inputs and not is_reverse(call)]


def sources_of_table(calls: list[Call]) -> list[tuple[LayerNode, bool]]:
    """The sources of what is fed to the calls of a table, first arguments only."""
    return id_sources(_fed(calls))


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
