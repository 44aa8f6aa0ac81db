"""Names another class for a layer, wherever a configuration describes it."""

from collections.abc import Iterator
from typing import Any

from keras_padsafe.facts.swaps import Swap
from keras_padsafe.saved_model.layer_node import LayerNode


def swap_class(
    config: dict[str, Any], layer: LayerNode, swap: Swap
) -> Iterator[dict[str, Any]]:
    """Names the class in place; yields each entry of config.json that describes it."""
    for entry in layer.entries(config):
        entry["module"] = swap.module
        entry["class_name"] = swap.class_name
        entry["registered_name"] = swap.registered_name
        yield entry
