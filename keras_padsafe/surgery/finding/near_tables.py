"""Arrays that may be tables, where no vocabulary was found: the error names them."""

from collections.abc import Iterator

from keras_padsafe.facts.operations import COLUMNS, LOOKUPS
from keras_padsafe.facts.rules import Rule, rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.shown_tables import shown_tables
from keras_padsafe.surgery.finding.tables import array_below
from keras_padsafe.surgery.finding.vocabulary import Unexplained

_MOST = 10


def find_near_tables(model: ModelFile) -> list[Unexplained]:
    """The first few, each with what speaks against it and the flag that settles it."""
    found: list[Unexplained] = []
    if model.asking is not None:
        arrays = {array.path: array for _, array in model.arrays()}
        found += shown_tables(model.asking, arrays, [])[1]
    named = {item.place for item in found}
    for layer in model.layers:
        rule = rule_of(layer.key)
        if rule is not None:
            found += _contradicting(layer, rule)
        elif model.asking is None and not layer.is_stock and not layer.is_graph:
            found += (item for item in _matrices(layer) if item.place not in named)
        found += _encodings(layer)
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


def _matrices(layer: LayerNode) -> Iterator[Unexplained]:
    for array in layer.arrays.values():
        if len(array.shape) == 2:
            yield Unexplained(
                array.path,
                f"array {array.path} of shape {array.shape} in layer {layer.name!r} of "
                f"class {layer.key}: nothing shows that ids index it",
                f"Say --also {array.path}:0 (also='{array.path}:0') if it is the table",
            )


def _encodings(layer: LayerNode) -> Iterator[Unexplained]:
    """Ids that become columns, and so have no table."""
    mode = layer.config.get("output_mode", "int")
    if layer.class_name in COLUMNS or (layer.class_name in LOOKUPS and mode != "int"):
        yield Unexplained(
            layer.name,
            f"{layer.class_name} {layer.name!r} makes a column for each id, so the "
            "model needs no table: the weights of the layer after it have a row for "
            "each",
            "Such an encoding cannot be grown yet",
        )
