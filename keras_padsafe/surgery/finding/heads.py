"""Finds output heads: layers whose last axis has one unit for each id."""

from collections.abc import Collection
from dataclasses import dataclass, field

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.operations import BACK_TO_IDS, UNIT_BY_UNIT
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.quantised import is_quantised, quantised_sites
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite, site_of


@dataclass
class Head:
    """A layer with one output unit for each of `size` ids."""

    layer: LayerNode
    size: int
    arrays: list[ArraySite] = field(default_factory=list)
    config: list[ConfigSite] = field(default_factory=list)


def head_of(layer: LayerNode) -> Head | None:
    """What a layer would hold if its units were the ids; `None` if it has no units."""
    if layer.key == "keras>Dense":
        return _dense(layer)
    if layer.key == "keras>EinsumDense":
        return _einsum_dense(layer)
    if layer.key == "keras_hub>MaskedLMHead":
        return _masked_lm_head(layer)
    return None


def regularized(head: Head) -> str | None:
    """The configuration key by which the loss sees scores or biases as numbers."""
    keys = ("bias_regularizer", "activity_regularizer")
    return next((key for key in keys if head.layer.config.get(key)), None)


def reshaped_units(layer: LayerNode, size: int) -> ConfigPath | None:
    """Where a Reshape names the units that it keeps; `None` if it is no such layer."""
    if layer.kind != "Reshape":
        return None
    for key in ("target_shape", "newshape"):
        shape = layer.config.get(key)
        if isinstance(shape, list) and shape and shape[-1] == size:
            return (*layer.path, "config", key, len(shape) - 1)
    return None


def reshaped_sizes(graph: Graph) -> set[int]:
    """The numbers of units that some Reshape of the model names."""
    shapes = [
        call.layer.config.get(key)
        for call in graph.calls
        if call.layer.kind == "Reshape"
        for key in ("target_shape", "newshape")
    ]
    lasts = [shape[-1] for shape in shapes if isinstance(shape, list) and shape]
    return {size for size in lasts if isinstance(size, int)}


def heads_at_outputs(graph: Graph, sizes: Collection[int]) -> list[tuple[Call, Head]]:
    """The heads that make the units of an output of the model, or its ids, by call.

    Args:
        graph: The calls of the model.
        sizes: The numbers of units that count.
    """
    reshaped = reshaped_sizes(graph).intersection(sizes)
    found = [
        (call, head)
        for call in output_producers(graph, None)
        if (head := head_of(call.layer)) and head.size not in reshaped
        if head.size in sizes
    ]
    for size in reshaped:
        calls = output_producers(graph, size)
        heads = [(call, head_of(call.layer)) for call in calls]
        found += [(call, head) for call, head in heads if head and head.size == size]
    return found


def output_producers(graph: Graph, size: int | None) -> list[Call]:
    """The calls that make an output of the model, told apart from what passes it on.

    A Reshape passes on units of which it names `size`; if that is `None`, none does.
    """
    passing = UNIT_BY_UNIT | BACK_TO_IDS
    return graph.back_from_outputs(
        lambda call: (
            call.layer.kind not in passing
            and (size is None or reshaped_units(call.layer, size) is None)
        )
    )


def last_weights(graph: Graph) -> list[Call]:
    """The calls of layers with weights from which an output takes nothing but steps.

    If such a layer has a unit for each id and is no head that is known, its units may
    be the ids all the same.
    """
    return graph.back_from_outputs(
        lambda call: any(node.arrays for node in call.layer.walk())
    )


def _dense(layer: LayerNode) -> Head | None:
    size = layer.config.get("units")
    kernel, bias = layer.arrays.get("vars/0"), layer.arrays.get("vars/1")
    is_whole = is_quantised(layer)
    if not isinstance(size, int) or kernel is None or not kernel.shape:
        return None
    if not is_whole and kernel.shape[-1] != size:
        return None
    reason = f"output of the model, units={size}"
    head = Head(layer, size)
    head.arrays += _kernel_sites(layer, kernel, len(kernel.shape) - 1, size, reason)
    if (
        bias is not None
        and bias.shape == (size,)
        and layer.config.get("use_bias", True)
    ):
        head.arrays.append(site_of(bias, 0, reason, "head bias"))
    path = (*layer.path, "config", "units")
    head.config.append(ConfigSite(path, size, "table", reason))
    return head


def _einsum_dense(layer: LayerNode) -> Head | None:
    equation, shape = layer.config.get("equation"), layer.config.get("output_shape")
    kernel, bias = layer.arrays.get("vars/0"), layer.arrays.get("vars/1")
    if not isinstance(equation, str) or kernel is None:
        return None
    whole = shape if isinstance(shape, list) else [shape]
    size = whole[-1]
    operands, _, result = equation.partition("->")
    kernel_axes = operands.rpartition(",")[2]
    unit = result[-1:]
    if not isinstance(size, int) or unit not in kernel_axes:
        return None
    if not is_quantised(layer) and not _has_units(kernel, kernel_axes, unit, size):
        return None
    reason = f"output of the model, equation={equation!r}, output_shape={whole}"
    head = Head(layer, size)
    axis = kernel_axes.index(unit)
    head.arrays += _kernel_sites(layer, kernel, axis, size, reason)
    bias_axes = layer.config.get("bias_axes") or ""
    if bias is not None and _has_units(bias, bias_axes, unit, size):
        axis = bias_axes.index(unit)
        head.arrays.append(site_of(bias, axis, reason, "head bias"))
    place: tuple[str | int, ...] = (*layer.path, "config", "output_shape")
    if isinstance(shape, list):
        place = (*place, len(shape) - 1)
    head.config.append(ConfigSite(place, size, "table", reason))
    return head


def _kernel_sites(
    layer: LayerNode, kernel: StoredArray, axis: int, size: int, reason: str
) -> list[ArraySite]:
    site = site_of(kernel, min(axis, len(kernel.shape) - 1), reason, "head kernel")
    # Four bits each, Keras lays a kernel flat first: only one of this form stays so.
    is_flat = kernel.shape[axis : axis + 1] != (size,) and axis == 0
    return [site] if is_flat else quantised_sites(layer, site, size)


def _has_units(array: StoredArray, axes: str, unit: str, size: int) -> bool:
    """Whether an array whose axes an equation names has `size` entries for `unit`."""
    axis = axes.find(unit) if unit else -1
    return 0 <= axis < len(array.shape) and array.shape[axis] == size


def _masked_lm_head(layer: LayerNode) -> Head | None:
    """Tied, the head owns a bias only; untied, a kernel before it."""
    size = layer.config.get("vocabulary_size")
    if not isinstance(size, int):
        return None
    reason = f"class {layer.key.replace('>', '.')}, vocabulary_size={size}"
    head = Head(layer, size)
    for relative, array in layer.arrays.items():
        if relative.startswith("vars/") and array.shape[-1:] == (size,):
            head.arrays.append(site_of(array, len(array.shape) - 1, reason))
    path = (*layer.path, "config", "vocabulary_size")
    head.config.append(ConfigSite(path, size, "table", reason))
    for child in layer.children:
        if child.config.get("input_dim") == size:
            inner = (*child.path, "config", "input_dim")
            head.config.append(ConfigSite(inner, size, "table", reason))
    return head
