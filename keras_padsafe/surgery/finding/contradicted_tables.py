"""Tables whose size is not what the configuration of their layer says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.rules import rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.tables import array_below, table_places


@dataclass(frozen=True)
class Contradicted:
    """A table of a known class, and the number of its ids by the configuration.

    Attributes:
        layer: The name of the layer.
        array: The table.
        axis: Its axis over the ids.
        key: The key that counts the ids.
        size: What it says.
    """

    layer: str
    array: StoredArray
    axis: int
    key: str
    size: Any

    def __str__(self) -> str:
        return (
            f"array {self.array.path} of shape {self.array.shape} contradicts "
            f"{self.key}={self.size!r:.40}"
        )


def contradicted_tables(layer: LayerNode) -> Iterator[Contradicted]:
    """Each such table of a layer."""
    rule = rule_of(layer.key)
    if rule is None:
        return
    size = layer.config.get(rule.size_key)
    for relative, axis in table_places(layer, rule).items():
        array = array_below(layer, relative)
        if array is not None and array.shape[axis : axis + 1] != (size,):
            yield Contradicted(layer.name, array, axis, rule.size_key, size)
