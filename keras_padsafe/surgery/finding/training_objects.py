"""What training alone runs: losses, metrics, constraints and regularizers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_padsafe.saved_model.config_path import ConfigPath, walk_values
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.recorded_calls import held_value

_JUDGES = frozenset(("loss", "metrics", "weighted_metrics"))


class TrainingObject(NamedTuple):
    """A loss, a metric, or what else of the user's own training alone runs.

    `holder` is the layer that it is of, if it is of one.
    """

    holder: LayerNode | None
    path: ConfigPath
    class_name: str
    name: str
    config: dict[str, Any]
    is_stock: bool


def training_objects(root: LayerNode) -> Iterator[TrainingObject]:
    """Every one that config.json describes."""
    compiled = root.serialized.get("compile_config")
    yield from _within(None, compiled, ("compile_config",))
    for layer in root.walk():
        for key, value in layer.config.items():
            if key.endswith(("_constraint", "_regularizer")):
                yield from _within(layer, value, (*layer.path, "config", key))


def _within(
    holder: LayerNode | None, value: Any, path: ConfigPath
) -> Iterator[TrainingObject]:
    for place, one in walk_values(value, path):
        if not isinstance(one, dict) or held_value(one) is not None:
            continue
        config, kind = one.get("config"), one.get("class_name")
        if isinstance(config, dict) and isinstance(kind, str):
            is_stock = str(one.get("module")).startswith("keras")
            if is_stock and _JUDGES.isdisjoint(place):
                continue
            name = config.get("name")
            name = name if isinstance(name, str) else kind
            yield TrainingObject(holder, place, kind, name, config, is_stock)
