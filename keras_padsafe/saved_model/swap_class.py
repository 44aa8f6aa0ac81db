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
    for node in (layer, *layer.copies):
        entry: Any = config
        for key in node.path:
            entry = entry[key]
        entry["module"] = module
        entry["class_name"] = class_name
        entry["registered_name"] = registered_name
        yield entry
