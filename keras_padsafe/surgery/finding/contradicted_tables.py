"""Tables whose size is not what the configuration of their layer says."""

from collections.abc import Iterator
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.rules import rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.tables import array_below


def contradicted_tables(layer: LayerNode) -> Iterator[tuple[StoredArray, str, Any]]:
    """Each such table of a known class, the key that counts its ids, and its value."""
    rule = rule_of(layer.key)
    if rule is None:
        return
    size = layer.config.get(rule.size_key)
    for relative, axis in rule.arrays.items():
        array = array_below(layer, relative)
        if array is not None and array.shape[axis : axis + 1] != (size,):
            yield array, rule.size_key, size
