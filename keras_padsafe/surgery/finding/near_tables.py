"""Arrays that may be tables, and fell short of the proofs asked of one.

Looked for where no vocabulary was found, so that the error can name them.
"""

from collections.abc import Iterator

from keras_padsafe.facts.rules import Rule, rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.tables import (
    array_below,
    counts_ids,
    is_embedding_name,
)
from keras_padsafe.surgery.finding.vocabulary import Unexplained

_MOST = 10


def find_near_tables(root: LayerNode) -> list[Unexplained]:
    """The first few, each with what speaks against it and the flag that settles it."""
    found: list[Unexplained] = []
    for layer in root.walk():
        if layer.original is None and not layer.is_operation:
            rule = rule_of(layer.key)
            if rule is not None:
                found += _contradicting(layer, rule)
            elif not layer.is_stock and not layer.is_graph:
                found += _half_proved(layer)
    return found[:_MOST]


def _contradicting(layer: LayerNode, rule: Rule) -> Iterator[Unexplained]:
    """Tables of a known class whose size is not what its configuration says."""
    size = layer.config.get(rule.size_key)
    for relative, axis in rule.arrays.items():
        array = array_below(layer, relative)
        if array is not None and array.shape[axis : axis + 1] != (size,):
            yield Unexplained(
                array.path,
                f"layer {layer.name!r} of class {layer.key}: array {array.path} of "
                f"shape {array.shape} contradicts {rule.size_key}={size!r}",
                "Save the model again with Keras, so that both agree",
            )


def _half_proved(layer: LayerNode) -> Iterator[Unexplained]:
    """Arrays of which only the name, or only a size, says that they are tables."""
    sizes = {size for key, size in layer.config.items() if counts_ids(key, size)}
    for relative, array in layer.arrays.items():
        if len(array.shape) != 2:
            continue
        is_named, is_sized = (
            is_embedding_name(relative, array),
            array.shape[0] in sizes,
        )
        if is_named or is_sized:
            reason = "is one of several that may be meant"
            if not is_sized:
                reason = "has a size that no configuration key of a vocabulary holds"
            elif not is_named:
                reason = "has no name that says embedding"
            yield Unexplained(
                array.path,
                f"array {array.path} of shape {array.shape} in layer {layer.name!r} of "
                f"class {layer.key} {reason}",
                f"Say --also {array.path}:0 (also='{array.path}:0') if it is the table",
            )
