"""Names another class for a layer, wherever a configuration describes it."""

from collections.abc import Iterator
from typing import Any

from keras_padsafe.saved_model.layer_node import LayerNode


def swap_class(
    config: dict[str, Any],
    layer: LayerNode,
    module: str,
    class_name: str,
    registered_name: str | None,
) -> Iterator[dict[str, Any]]:
    """Names the class in place; yields each entry of config.json that describes it."""
    for entry in layer.entries(config):
        entry["module"] = module
        entry["class_name"] = class_name
        entry["registered_name"] = registered_name
        yield entry
