"""Quantised layers that a class holds and config.json does not spell out."""

from collections.abc import Mapping

from keras_padsafe.archive import StoredArray
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.counted_list import as_node
from keras_padsafe.surgery.finding.quantised import named_arrays, quantised_sites
from keras_padsafe.surgery.finding.sites import ArraySite


def held_sites(
    asking: Asking, arrays: Mapping[str, StoredArray], site: ArraySite, size: int
) -> list[ArraySite]:
    """A site and, where its layer is quantised, those of its scales.

    None for scales themselves: they come with the numbers that they belong to.
    """
    group = site.path.partition("vars/")[0].removesuffix("/")
    holder = asking.skeleton.objects.get(group)
    if holder is None or not hasattr(holder, "dtype_policy"):
        return [site]
    node = as_node(holder, group)
    base = f"{group}/" if group else ""
    node.arrays.update(
        {
            path.removeprefix(base): array
            for path, array in arrays.items()
            if path.startswith(f"{base}vars/")
        }
    )
    name = next((n for n, a in named_arrays(node).items() if a.path == site.path), "")
    if name.endswith(("_scale", "_zero")):
        return []
    return [site] if name == "bias" else quantised_sites(node, site, size)
