"""Why a layer that lets padding through cannot be swapped for ours."""

from collections.abc import Iterator

from keras_padsafe.audit.mending.mask_flow import Meeting
from keras_padsafe.audit.mending.swaps import Swap
from keras_padsafe.saved_model.layer_node import LayerNode

# Layers that hold another under a name of their own and call it as it is.
_WRAPPERS = frozenset(("SpectralNormalization", "TimeDistributed"))
_HOLDS_WEIGHTS = frozenset(
    "Attention Conv1D GroupQueryAttention MultiHeadAttention".split()
)


def refusal(
    layer: LayerNode, swap: Swap, meetings: list[Meeting], orderly: set[LayerNode]
) -> str | None:
    """The first reason not to swap a layer; `None` if there is none.

    Args:
        layer: The layer.
        swap: What would take its place.
        meetings: Its calls that a mask reaches.
        orderly: The models within which groups of weights can be renamed.
    """
    return next(_reasons(layer, swap, meetings, orderly), None)


def _reasons(
    layer: LayerNode, swap: Swap, meetings: list[Meeting], orderly: set[LayerNode]
) -> Iterator[str]:
    unknown = swap.unknown_keys(layer.config)
    if unknown:
        yield f"{swap.class_name} does not take its configuration {unknown[0]!r}"
    for node in (layer, *layer.copies):
        holder = _opaque_holder(node)
        if holder is not None:
            yield f"{holder.class_name} {holder.name!r} holds it, in code of its own"
    unproved = layer.weights_path is None and layer.class_name in _HOLDS_WEIGHTS
    holder = layer.parent
    if unproved or (holder is not None and holder.is_graph and holder not in orderly):
        yield "it could not be told which weights of the file are its own"
    match layer.class_name:
        case "Conv1D":
            if layer.config.get("padding") == "same" and _strides(layer) > 1:
                yield (
                    "with padding='same' and strides, where its kernels fall depends "
                    "on the amount of padding"
                )
        case "Add":
            if _input_ranks_differ(layer):
                yield "its inputs have different ranks"
        case "MultiHeadAttention" | "GroupQueryAttention":
            axes = layer.config.get("attention_axes") or [1]
            count = len(axes) if isinstance(axes, list) else 1
            for meeting in meetings:
                if meeting.given.get("attention_mask", 3) <= 2 * count:
                    yield "its attention_mask has no axis for the batch"
                if any(_is_odd(*given) for given in meeting.given.items()):
                    yield "a padding mask that it is given is not (batch, time)"


def _opaque_holder(layer: LayerNode) -> LayerNode | None:
    return next(
        (
            node
            for node in layer.outwards()
            if node is not layer
            and not node.is_graph
            and not (node.is_stock and node.class_name in _WRAPPERS)
        ),
        None,
    )


def _strides(layer: LayerNode) -> int:
    strides = layer.config.get("strides", 1)
    first = strides[0] if isinstance(strides, list) and strides else strides
    return first if isinstance(first, int) else 1


def _input_ranks_differ(layer: LayerNode) -> bool:
    built = layer.serialized.get("build_config")
    shapes = built.get("input_shape") if isinstance(built, dict) else None
    if not isinstance(shapes, list):
        return True
    return len({len(shape) for shape in shapes if isinstance(shape, list)}) != 1


def _is_odd(name: str, rank: int) -> bool:
    return name in ("query_mask", "key_mask", "value_mask") and rank < 2
