"""Finds output heads: layers whose last axis has one unit for each id."""

from dataclasses import replace
from typing import Any, NamedTuple

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.quantised import is_quantised, quantised_sites
from keras_padsafe.surgery.finding.sites import ArraySite, Holding, site_of

_CONVOLUTIONS = frozenset(("keras>Conv1D", "keras>Conv2D", "keras>Conv3D"))


class _Units(NamedTuple):
    """How many units a layer has, where it says so, and their axes (-1 for none)."""

    size: Any
    place: ConfigPath
    axis: int
    bias_axis: int
    reason: str


def head_of(layer: LayerNode) -> Holding | None:
    """What a layer would hold if its units were the ids; `None` if it has no units."""
    if layer.key == "keras_hub>MaskedLMHead":
        return _masked_lm_head(layer)
    kernel, bias = layer.arrays.get("vars/0"), layer.arrays.get("vars/1")
    if kernel is None or not kernel.shape:
        return None
    if layer.key == "keras>Dense":
        units = _units(layer, kernel, "units")
    elif layer.key == "keras>EinsumDense":
        units = _einsum_dense(layer)
    elif _is_pointwise(layer, kernel):
        units = _units(layer, kernel, "filters")
    else:
        return None
    size, axis = units.size, units.axis
    if not isinstance(size, int) or axis < 0:
        return None
    if not is_quantised(layer) and kernel.shape[axis : axis + 1] != (size,):
        return None
    reason = f"output of the model, {units.reason}"
    head = Holding(layer, size)
    head.arrays += _kernel_sites(layer, kernel, axis, size, reason)
    axis = units.bias_axis
    if bias is not None and axis >= 0 and bias.shape[axis : axis + 1] == (size,):
        head.arrays.append(site_of(bias, axis, reason, "head bias"))
    head.count((*layer.path, "config", *units.place), reason)
    return head


def skipping(head: Holding, ids: tuple[int, ...]) -> Holding:
    """The same for a head that has no unit for some ids."""
    return replace(
        head,
        arrays=[replace(site, skips=ids) for site in head.arrays],
        config=[replace(site, skips=ids) for site in head.config],
    )


def _is_pointwise(layer: LayerNode, kernel: StoredArray) -> bool:
    """Whether a convolution is as a Dense for each place."""
    config = layer.config
    return (
        layer.key in _CONVOLUTIONS
        and set(kernel.shape[:-2]) == {1}
        and config.get("groups", 1) == 1
        and config.get("data_format", "channels_last") == "channels_last"
    )


def _units(layer: LayerNode, kernel: StoredArray, key: str) -> _Units:
    size = layer.config.get(key)
    bias_axis = 0 if layer.config.get("use_bias", True) else -1
    return _Units(size, (key,), len(kernel.shape) - 1, bias_axis, f"{key}={size}")


def _einsum_dense(layer: LayerNode) -> _Units:
    equation, shape = layer.config.get("equation"), layer.config.get("output_shape")
    operands, _, result = str(equation).partition("->")
    unit = result[-1:] or "?"
    whole = shape if isinstance(shape, list) else [shape]
    last = (len(whole) - 1,) if isinstance(shape, list) else ()
    return _Units(
        whole[-1],
        ("output_shape", *last),
        operands.rpartition(",")[2].find(unit),
        (layer.config.get("bias_axes") or "").find(unit),
        f"equation={equation!r}, output_shape={whole}",
    )


def _kernel_sites(
    layer: LayerNode, kernel: StoredArray, axis: int, size: int, reason: str
) -> list[ArraySite]:
    site = site_of(kernel, min(axis, len(kernel.shape) - 1), reason, "head kernel")
    # Four bits each, Keras lays a kernel flat first: only one of this form stays so.
    is_flat = kernel.shape[axis : axis + 1] != (size,) and axis == 0
    return [site] if is_flat else quantised_sites(layer, site, size)


def _masked_lm_head(layer: LayerNode) -> Holding | None:
    """Tied, the head owns a bias only; untied, a kernel before it."""
    size = layer.config.get("vocabulary_size")
    if not isinstance(size, int):
        return None
    reason = f"class {layer.key.replace('>', '.')}, vocabulary_size={size}"
    head = Holding(layer, size)
    for relative, array in layer.arrays.items():
        if relative.startswith("vars/") and array.shape[-1:] == (size,):
            head.arrays.append(site_of(array, len(array.shape) - 1, reason))
    head.count((*layer.path, "config", "vocabulary_size"), reason)
    for child in layer.children:
        if child.config.get("input_dim") == size:
            head.count((*child.path, "config", "input_dim"), reason)
    return head
