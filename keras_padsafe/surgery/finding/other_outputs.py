"""Asks about outputs with a number for each id that nothing else explains."""

from collections.abc import Iterator
from functools import partial

from keras_padsafe.facts.operations import (
    BACK_TO_IDS,
    BINS,
    COLUMNS,
    LOOKUPS,
    POOLING_OVER_TIME,
    REDUCES,
)
from keras_padsafe.saved_model.graph import Call, Graph, reached
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.columns import reduces_last
from keras_padsafe.surgery.finding.doubt import (
    doubt_of,
    how_near,
    lacking,
    leaving,
    settling,
)
from keras_padsafe.surgery.finding.heads import head_of
from keras_padsafe.surgery.finding.logits import (
    keeps_units,
    passed_on,
    reshaped_units,
)
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.unknown_layers import is_own_class
from keras_padsafe.surgery.finding.vocabulary import Draft

_KNOWN_WIDTH = POOLING_OVER_TIME | BACK_TO_IDS | LOOKUPS | BINS | COLUMNS.keys()
_KNOWN_WIDTH |= {"InputLayer", "Reshape", "Dot"}


def ask_about_outputs(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds those that a class of the user's own makes, or an operation without weights.

    What grows with the numbers of a vocabulary is bound already.
    """
    from_ids = model.graph.spread((draft, draft.calls) for draft in drafts)
    for draft in drafts:
        asked = {doubt.place for doubt in draft.unexplained}
        for call, size in _makers(model, draft):
            layer = call.layer
            paths = [array.path for array in layer.arrays.values()]
            leaves = any(model.claims.leaves(layer, path) for path in ["", *paths])
            leaves |= any(model.claims.leaves(one.layer) for one in _behind(call))
            if leaves or model.claims_units(layer) or draft not in from_ids(call):
                continue
            if not asked.isdisjoint([layer.name, *paths]):
                continue
            draft.unexplained.append(
                doubt_of(
                    layer,
                    f"gives {size} numbers to an output of the model, "
                    f"{how_near(size, draft.size)}: they may be scores of the ids",
                    _remedy(model, call, size, draft.size),
                )
            )


def unsure_makers(graph: Graph) -> list[LayerNode]:
    """What makes outputs of the model, of which Keras alone knows how wide they are.

    A layer with weights gives as many numbers as these have.
    """
    return [
        call.layer
        for call in graph.back_from_outputs(partial(_widens, graph=graph))
        if call.layer.kind not in _KNOWN_WIDTH
        if not call.layer.has_weights
    ]


def _widens(call: Call, graph: Graph) -> bool:
    """Whether a call may give more numbers, or fewer, than what is before it."""
    if call.layer.kind in ("Flatten", "Squeeze"):
        return False
    if call.layer.kind in REDUCES and call.inputs:
        rank = len(graph.shape_of(call.inputs[0]) or ())
        return not rank or reduces_last(call.layer.config.get("axis"), rank)
    return not keeps_units(call, None, graph)


def _remedy(model: ModelFile, call: Call, size: int, ids: int) -> str:
    """How to say whether a call makes scores: by its arrays that have one for each."""
    layer = call.layer
    claims = [
        f"{array.path}:{array.shape.index(size)}{lacking(size, ids)}"
        for array in layer.arrays.values()
        if array.shape.count(size) == 1
    ]
    if claims and size < ids:
        return f"{settling(layer.name, *claims)}. ID is each id that has no entry there"
    if claims and size == ids:
        return settling(layer.name, *claims)
    if claims := _heads_behind(model, call, ids):
        return (
            f"{leaving(layer.name)} if another number of them does no harm there. If "
            f"they are scores, add {' or '.join(claims)}"
            + (". IDS are those that have no unit there" if "IDS" in claims[0] else "")
        )
    return (
        f"{leaving(layer.name)} if they are not. If they are, it cannot be grown in "
        "the file: grow it in Keras"
    )


def _heads_behind(model: ModelFile, call: Call, ids: int) -> list[str]:
    """How to say of the heads whose units an operation puts together that they grow."""
    if model.asking is None or call.layer.kind == "Reshape":
        return []
    behind = reached(call.inputs, lambda c: [] if c.layer.arrays else c.inputs)
    heads = [head for one in behind if (head := head_of(one.layer))]
    return [
        f"--also {head.layer.name}:{head.arrays[0].axis}"
        + ("::IDS" if head.size < ids else "")
        for head in heads
        if head.size <= ids
        if model.asking.vary([site.path for site in head.config]).outputs
    ]


def _behind(call: Call) -> Iterator[Call]:
    """What makes the numbers that a call takes in."""
    return reached(call.inputs, passed_on)


def _makers(model: ModelFile, draft: Draft) -> Iterator[tuple[Call, int]]:
    """What makes the numbers of such outputs, as far as nothing tells what they are.

    With how many they are: of a class of the user's own they may be a few off.
    """
    graph = model.graph
    for size in draft.near_sizes:
        stops = partial(_makes, size=size, graph=graph)
        for call in graph.back_from_outputs(stops):
            layer = call.layer
            is_reshaped = reshaped_units(layer, draft.size) is not None
            may_be = size == draft.size and (not layer.has_weights or is_reshaped)
            stays = is_reshaped or _stays(model, draft, call, size)
            if stays and (may_be or is_own_class(layer)):
                yield call, size


def _makes(call: Call, size: int, graph: Graph) -> bool:
    """Whether a call does more than to pass units on."""
    if reshaped_units(call.layer, size) is None:
        return not keeps_units(call, size, graph)
    widths = [(graph.shape_of(source) or [None])[-1] for source in call.inputs]
    return widths != [size]


def _stays(model: ModelFile, draft: Draft, call: Call, size: int) -> bool:
    """Whether Keras shows that an output behind a call does not grow with the ids."""
    if model.asking is None or not draft.numbers:
        return False
    from keras_padsafe.skeleton import output_shapes

    grown = model.asking.vary(draft.numbers)
    behind = set(reached([call], lambda one: one.consumers))
    shapes = output_shapes(model.asking.skeleton)
    outputs = zip(model.graph.outputs, shapes, strict=False)
    return grown.problem is None and any(
        output in behind and shape[-1:] == (size,) and n not in grown.outputs
        for n, (output, shape) in enumerate(outputs)
    )
