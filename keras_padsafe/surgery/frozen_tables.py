"""Tables of a file that can be read as ones whose first rows never move."""

import copy
from collections.abc import Container, Iterable
from typing import Any

from keras_padsafe.facts.swaps import EXTENDABLE
from keras_padsafe.saved_model.group_names import named_by_rule
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.rename_operations import rename_operations
from keras_padsafe.saved_model.swap_class import swap_class


def freezable_tables(root: LayerNode, paths: Iterable[str]) -> dict[str, LayerNode]:
    """The layers that `ExtendableEmbedding` can take the place of, by their tables.

    They are stock ones that config.json describes, inside models whose groups of the
    weights file bear the names that follow from their classes.
    """
    wanted = set(paths)
    return {
        table.path: layer
        for layer in root.walk()
        if (table := layer.arrays.get("vars/0")) is not None
        and table.path in wanted
        and layer.original is None
        and _is_freezable(layer)
        and all(_is_in_plain_sight(node) for node in (layer, *layer.copies))
    }


def with_frozen_rows(
    config: dict[str, Any], tables: Iterable[LayerNode], rows: int
) -> dict[str, Any]:
    """A copy of config.json in which the first rows of these tables never move."""
    new = copy.deepcopy(config)
    for table in tables:
        for entry in swap_class(new, table, EXTENDABLE):
            entry["config"]["frozen_rows"] = rows
    rename_operations(new)
    return new


def end_lora(config: dict[str, Any], root: LayerNode, paths: Container[str]) -> None:
    """Takes LoRA off the layers that hold these arrays, in place.

    Its two parts would move every row. A file holds the weights with it merged.
    """
    for layer in root.walk():
        if any(array.path in paths for array in layer.arrays.values()):
            for entry in layer.entries(config):
                if isinstance(options := entry.get("config"), dict):
                    options.pop("lora_rank", None)


def _is_freezable(layer: LayerNode) -> bool:
    if layer.key == EXTENDABLE.registered_name:
        return True
    if layer.key not in ("keras>Embedding", "keras>ReversibleEmbedding"):
        return False
    # Of a pad id our layer reads zeros, and the Keras layer its row.
    masked_row = layer.arrays["vars/0"].read(
        0, 1 if layer.config.get("mask_zero") else 0
    )
    return not masked_row.any() and layer.config.get("tie_weights") is not False


def _is_in_plain_sight(layer: LayerNode) -> bool:
    holders = list(layer.outwards())[1:]
    return all(holder.is_graph and named_by_rule(holder) for holder in holders)
