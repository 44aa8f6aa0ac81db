"""Finds encodings: layers that make a column for each id, and so need no table."""

from keras_padsafe.facts.operations import COLUMNS, LOOKUPS
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.columns import Takers, takers_of_columns
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.tables import Table


def known_encodings(model: ModelFile) -> list[Table]:
    """Every layer whose columns reach weights with an entry for each of them."""
    found: list[Table] = []
    for layer in model.layers:
        key = counting_key(layer)
        size = layer.config.get(key) if key else None
        if key is None or not is_count(size) or not size:
            continue
        takers = takers_of(model, [layer], size)
        if takers.kernels:
            table = Table(layer, size, is_encoding=True, arrays=takers.kernels)
            reason = f"{layer.class_name} makes a column for each id, {key}={size}"
            place = (*layer.path, "config", key)
            table.config.append(ConfigSite(place, size, "table", reason))
            found.append(table)
    return found


def takers_of(model: ModelFile, layers: list[LayerNode], size: int) -> Takers:
    """What the columns of some encodings of the same ids reach."""
    calls = [call for layer in layers for call in model.graph.calls_of(layer)]
    return takers_of_columns(model.graph, calls, size, model.claims)


def counting_key(layer: LayerNode) -> str | None:
    """The configuration key that counts the columns; `None` if it makes none."""
    config = layer.config
    if not (layer.is_stock or layer.is_operation):
        return None
    if is_lookup(layer):
        return "max_tokens" if config.get("pad_to_max_tokens") else "vocabulary_size"
    on_last_axis = config.get("axis", -1) == -1
    return COLUMNS.get(layer.class_name) if on_last_axis else None


def is_lookup(layer: LayerNode) -> bool:
    """Whether it is a lookup layer that makes columns of words."""
    mode = layer.config.get("output_mode", "int")
    inverts = layer.config.get("invert") is True
    return layer.class_name in LOOKUPS and mode != "int" and not inverts


def keeps_steps(call: Call, graph: Graph) -> bool:
    """Whether the columns of each id stay apart, as rows of a table do."""
    mode = call.layer.config.get("output_mode", "one_hot")
    shape = graph.shape_of(call)
    is_apart = mode == "one_hot" and call.layer.class_name != "MultiHot"
    return is_apart and shape is not None and len(shape) > 2
