"""Rows that a layer keeps out of training, and for which no optimizer has a slot."""

from collections.abc import Sequence
from typing import Literal

from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import walk_values
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.sites import ConfigSite, site_in


def fixed_rows(root: LayerNode) -> dict[str, tuple[int, ...]]:
    """For each table with such rows, by the path of its array, the rows."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in root.walk():
        if (
            layer.key == "keras_padsafe>ExtendableEmbedding"
            and "vars/0" in layer.arrays
        ):
            size = layer.config.get("input_dim")
            frozen = layer.config.get("frozen_rows") or 0
            if isinstance(size, int):
                rows = tuple(range(min(frozen, size)))
                found[layer.arrays["vars/0"].path] = rows
    return found


def pad_ids(layer: LayerNode) -> list[int]:
    """The ids that a table knows as padding, by their number."""
    zero = [0] if layer.config.get("mask_zero") is True else []
    named = walk_values(layer.config.get("pad_id"))
    return [*zero, *(id_ for _, id_ in named if isinstance(id_, int))]


def padding_sites(layer: LayerNode) -> list[ConfigSite]:
    """Where a table would say which id is padding, if it has none."""
    extendable = layer.key == "keras_padsafe>ExtendableEmbedding"
    key: Literal["pad_id", "mask_zero"] = "pad_id" if extendable else "mask_zero"
    if key not in layer.config or pad_ids(layer):
        return []
    return [site_in(layer, key, key, f"{key} says what is padding")]


def id_sites(layer: LayerNode, size: int) -> list[ConfigSite]:
    """The configuration keys of an ExtendableEmbedding that are ids, or count some."""
    if layer.key != "keras_padsafe>ExtendableEmbedding":
        return []
    base, sites = (*layer.path, "config"), list[ConfigSite]()
    for key in ("pad_id", "out_of_range"):
        for path, id_ in walk_values(layer.config.get(key), (*base, key)):
            if isinstance(id_, int) and 0 <= id_ < size:
                sites.append(ConfigSite(path, id_, "id", f"{key} names an id"))
    frozen = layer.config.get("frozen_rows")
    if isinstance(frozen, int) and frozen:
        sites.append(site_in(layer, "frozen_rows", "first", "counts the first rows"))
    return sites


def check_pad_ids(name: str, pads: Sequence[int], old_size: int, new_size: int) -> None:
    """Refuses to make a row for an id that meant padding and read no row."""
    taken = [id_ for id_ in pads if old_size <= id_ < new_size]
    if taken:
        raise SurgeryError(
            f"Vocabulary {name!r}: id {taken[0]} means padding and has no row. With "
            f"{new_size} ids, it would get the row of a word. Expected: a pad id "
            "outside the new table, such as -1. Set `pad_id` in Keras, save, and "
            "then grow."
        )
