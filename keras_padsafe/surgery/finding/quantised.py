"""The arrays of a layer whose weights are quantised, each with its scales."""

import math
from dataclasses import replace

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.quantisation import (
    PACKED_AXIS,
    quantisation_mode,
    variable_names,
)
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.sites import ArraySite, Quantised, site_of


def is_quantised(layer: LayerNode) -> bool:
    """Whether the weights of a layer are stored as whole numbers."""
    return quantisation_mode(layer.config) is not None


def named_arrays(layer: LayerNode) -> dict[str, StoredArray]:
    """The arrays of a quantised layer by Keras's names; none if they are not known."""
    names = variable_names(layer.class_name, layer.config) or []
    own = [f"vars/{number}" for number in range(len(names))]
    if {name for name in layer.arrays if name.startswith("vars/")} != set(own):
        return {}
    return {name: layer.arrays[place] for name, place in zip(names, own, strict=True)}


def quantised_sites(layer: LayerNode, weight: ArraySite, size: int) -> list[ArraySite]:
    """A weight that is stored as whole numbers, its scales and its zeros.

    The axis of its site is that of the real numbers. The site comes back alone where
    the layer is not quantised, or where it is not known how they belong together.
    """
    mode, arrays = quantisation_mode(layer.config), named_arrays(layer)
    name = next((n for n, a in arrays.items() if a.path == weight.path), "")
    scale, zero = arrays.get(f"{name}_scale"), arrays.get(f"{name}_zero")
    made = _quantised(layer, name, weight, size, scale, zero)
    if made is None or scale is None:
        return [replace(weight, dtype=mode[0] if mode else weight.dtype)]
    sites = [replace(weight, quantised=made)]
    if made.shared:
        return sites
    for array, fill in ((scale, "scale"), (zero, "zero")):
        if array is not None:
            axis, reason = _axis_of_ids(array, weight.axis), f"scales of {weight.path}"
            more = {"fill": fill, "like": weight.path}
            sites.append(site_of(array, axis, reason, "scales", **more))
    return sites


def _quantised(
    layer: LayerNode,
    name: str,
    weight: ArraySite,
    size: int,
    scale: StoredArray | None,
    zero: StoredArray | None,
) -> Quantised | None:
    """How the whole numbers stand for real ones, if all of it is known."""
    mode = quantisation_mode(layer.config)
    rank, axis = len(weight.shape), weight.axis
    if mode is None or scale is None or weight.dtype != "int8":
        return None
    made = Quantised(
        bits=4 if mode[0] == "int4" else 8,
        dtype=scale.dtype,
        scale=scale.path,
        zero=zero.path if zero else None,
        block=mode[1],
        shared=weight.role == "encoding kernel",
    )
    if made.bits == 4:
        packed, length = PACKED_AXIS[name], layer.config.get("output_dim")
        if name == "kernel":
            length = scale.shape[-1] if scale.shape else 0
        if rank != 2 or not is_count(length):
            return None
        if weight.shape[packed] != (length + 1) // 2:
            return None
        made = replace(made, packed=packed, length=length)
    real = made.shape(weight.shape)
    depth = math.prod(dim for number, dim in enumerate(real) if number != axis)
    groups = -(-depth // made.block) if made.block else 1
    if made.shared:
        fits = not made.block and axis == 0 and rank == 2 and scale.shape == real[1:]
    else:
        fits = axis in (0, rank - 1) and math.prod(scale.shape) == size * groups
        fits = fits and (zero is None or zero.shape == scale.shape)
        fits = fits and scale.shape[_axis_of_ids(scale, axis)] == size
    return made if fits and (zero is None) == (not made.block) else None


def _axis_of_ids(scale: StoredArray, axis: int) -> int:
    """The axis of the scales that runs over the ids: the first or the last one."""
    is_first = axis == 0 and len(scale.shape) <= 2
    return 0 if is_first else len(scale.shape) - 1
