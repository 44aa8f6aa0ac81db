"""Follows ids back from a table to the layer or input that they come from."""

from collections.abc import Callable, Iterable, Iterator

from keras_padsafe.facts.operations import (
    BINS,
    BOUNDS,
    LOOKUPS,
    MOVES_IDS,
    SELECTS_IDS,
)
from keras_padsafe.saved_model.graph import Call, Graph, reached
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count

_MOVES = MOVES_IDS | SELECTS_IDS


def id_sources(calls: Iterable[Call]) -> list[tuple[LayerNode, bool]]:
    """The inputs, lookup layers and hashes that ids come from, and whether as a whole.

    `False` marks a source of which only a part was taken, by a slice: another table
    may take another part, with ids of another meaning.
    """
    return [(c.layer, whole) for c, whole in _made_by(calls) if _is_source(c)]


def changers(calls: Iterable[Call]) -> list[LayerNode]:
    """What may have made other ids of those that enter a table."""
    made_by = _made_by(fed(calls))
    return list(dict.fromkeys(c.layer for c, _ in made_by if not _is_source(c)))


def _made_by(calls: Iterable[Call]) -> Iterator[tuple[Call, bool]]:
    """The calls on the way back that do more to ids than move or select them."""
    return _past_moves(calls, lambda call: call.inputs)


def _past_moves(
    starts: Iterable[Call], ways: Callable[[Call], Iterable[Call]]
) -> Iterator[tuple[Call, bool]]:
    """The first calls on these ways that do more to ids than move or select them.

    With each, whether ids get there as a whole.
    """

    def onward(at: tuple[Call, bool]) -> list[tuple[Call, bool]]:
        call, whole = at
        if call.layer.kind not in _MOVES:
            return []
        return [(one, whole and call.layer.kind in MOVES_IDS) for one in ways(call)]

    for call, whole in reached([(call, True) for call in starts], onward):
        if call.layer.kind not in _MOVES:
            yield call, whole


def _is_source(call: Call) -> bool:
    return call.layer.kind in LOOKUPS | BINS | {"InputLayer"}


def fed(calls: Iterable[Call]) -> list[Call]:
    """What is fed to the calls of a table, first arguments only."""
    return [call.inputs[0] for call in calls if call.inputs and not is_reverse(call)]


def sources_of_table(calls: list[Call]) -> list[tuple[LayerNode, bool]]:
    """The sources of what is fed to the calls of a table, first arguments only."""
    return id_sources(fed(calls))


def inputs_behind(calls: Iterable[Call]) -> list[str]:
    """The inputs of the model whose ids reach a table, changed or not, as they come."""
    back = reached(fed(calls), lambda c: [] if _is_source(c) else c.inputs)
    return [call.layer.name for call in back if call.layer.kind == "InputLayer"]


def changed_lookups(calls: Iterable[Call]) -> dict[LayerNode, int | None]:
    """The lookups whose ids are changed before they enter a table, and by how much.

    `None` if in another way than by a number that is added.
    """

    def onward(at: tuple[Call, int | None]) -> list[tuple[Call, int | None]]:
        call, shift = at
        if _is_source(call):
            return []
        by = _added(call)
        after = None if shift is None or by is None else shift + by
        return [(one, after) for one in call.inputs]

    found: dict[LayerNode, int | None] = {}
    for call, shift in reached([(call, 0) for call in fed(calls)], onward):
        if call.layer.kind in LOOKUPS:
            same = found.setdefault(call.layer, shift) == shift
            found[call.layer] = shift if same else None
    return found


def _added(call: Call) -> int | None:
    """What a call adds to each id; `None` if it does something else."""
    kind, others = call.layer.kind, [*call.arguments.values()][1:]
    if kind in _MOVES or (kind in BOUNDS and len(call.inputs) == 1):
        return 0
    if kind == "Add" and len(call.inputs) == len(others) == 1:
        return others[0] if is_count(others[0]) else None
    return None


def is_reverse(call: Call) -> bool:
    """Whether this call of a tied table computes logits."""
    return True in (call.arguments.get("reverse"), call.arguments.get("1"))


def uses_of(graph: Graph, source: LayerNode) -> Iterator[tuple[Call, bool]]:
    """The calls that take in the ids of a source, unchanged, and whether as a whole."""
    starts = (one for call in graph.calls_of(source) for one in call.consumers)
    return _past_moves(starts, lambda call: call.consumers)
