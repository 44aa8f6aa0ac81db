"""Finds encodings: layers that make a column for each id, and so need no table."""

from collections.abc import Iterator

from keras_padsafe.facts.operations import COLUMNS, LOOKUPS
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.columns import takers_of
from keras_padsafe.surgery.finding.id_sources import id_sources, sources_of_table
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import (
    ArraySite,
    ConfigSite,
    WordsSite,
    site_in,
    site_of,
)
from keras_padsafe.surgery.finding.tables import Table
from keras_padsafe.surgery.finding.words import lookup_words


def known_encodings(model: ModelFile) -> list[Table]:
    """Every layer whose columns reach weights with an entry for each of them."""
    found: list[Table] = []
    for layer in model.layers:
        key = counting_key(layer, model)
        size = layer.config.get(key) if key else None
        if key is None or not is_count(size) or not size:
            continue
        takers = takers_of(model, [layer], size)
        if takers.kernels:
            table = Table(layer, size, is_encoding=True, arrays=takers.kernels)
            reason = f"{layer.class_name} makes a column for each id, {key}={size}"
            table.config.append(site_in(layer, key, "table", reason))
            found.append(table)
    for layer, width in columns_outside(model) if model.said else ():
        kernels = takers_of(model, [layer], width.value).kernels
        if any((site.path, site.axis) in model.said for site in kernels):
            table = Table(layer, width.value, is_encoding=True, arrays=kernels)
            table.config.append(width)
            found.append(table)
    return found


def columns_outside(model: ModelFile) -> Iterator[tuple[LayerNode, ConfigSite]]:
    """Inputs that may take columns of ids, and where each says how many.

    They look like any features: the user says which are columns.
    """
    for layer in model.layers:
        shape = layer.config.get("batch_shape")
        if layer.kind == "InputLayer" and isinstance(shape, list) and shape:
            place = (*layer.path, "config", "batch_shape", len(shape) - 1)
            if len(shape) > 1 and is_count(shape[-1]) and shape[-1]:
                reason = "said: a column for each id"
                yield layer, ConfigSite(place, shape[-1], "table", reason)


def join_twins(tables: list[Table], model: ModelFile) -> None:
    """Makes of an encoding and a table one vocabulary, if both know the same words.

    Their lookup layers are two, fed with the same text: a wide branch beside a deep
    one. Ids begin with padding in one of them, columns do not.
    """
    deep = [
        (table, source)
        for table in tables
        for source, whole in sources_of_table(model.graph.calls_of(table.layer))
        if whole and source.kind in LOOKUPS
    ]
    for wide in tables:
        if not (wide.is_encoding and is_lookup(wide.layer)):
            continue
        for table, source in deep:
            shift = twin_shift(wide.layer, source, model)
            if shift is not None and shift >= 0:
                wide.size, wide.shift, wide.twin = table.size, shift, source
                break


def twin_shift(wide: LayerNode, deep: LayerNode, model: ModelFile) -> int | None:
    """By how much the ids of two lookups differ, if the same text has the same words.

    `None` if they take in other text, or know other words.
    """
    if _fed_by(wide, model) != _fed_by(deep, model):
        return None
    mine, other = (_words(one, model) for one in (wide, deep))
    if mine is None or other is None or mine[1] != other[1]:
        return None
    return other[0] - mine[0]


def _words(
    layer: LayerNode, model: ModelFile
) -> tuple[int, tuple[str | int, ...]] | None:
    """The id of a lookup's first real word, and these words."""
    found = lookup_words(layer, model.archive, "")
    if found is None:
        return None
    first = found[0].first_real
    return first, found[0].words[first - found[0].first_id :]


def _fed_by(layer: LayerNode, model: ModelFile) -> set[LayerNode]:
    calls = model.graph.calls_of(layer)
    return {source for source, _ in id_sources(i for c in calls for i in c.inputs)}


def word_weights(layer: LayerNode, words: WordsSite) -> Iterator[ArraySite]:
    """The weights of the words of a lookup, `idf_weights`; new ones are their mean.

    So does Keras with the unknown word.
    """
    for relative, array in layer.arrays.items():
        if relative.endswith("vars/idf_weights") and len(array.shape) == 1:
            from keras_padsafe.archive import decode  # NumPy, for this alone

            known = decode(array.read(words.first_real, words.end), array.dtype)
            mean = float(known.mean()) if known.size else 0.0
            reason = f"a weight for each word of {layer.name!r}"
            yield site_of(array, 0, reason, "word weights", fill=mean)


def counting_key(layer: LayerNode, model: ModelFile) -> str | None:
    """The configuration key that counts the columns; `None` if it makes none."""
    config = layer.config
    if not (layer.is_stock or layer.is_operation):
        return model.asking and model.asking.column_key(layer)
    if is_lookup(layer):
        return "max_tokens" if config.get("pad_to_max_tokens") else "vocabulary_size"
    on_last_axis = config.get("axis", -1) == -1
    return COLUMNS.get(layer.kind) if on_last_axis else None


def is_lookup(layer: LayerNode) -> bool:
    """Whether it is a lookup layer that makes columns of words."""
    mode = layer.config.get("output_mode", "int")
    inverts = layer.config.get("invert") is True
    return layer.kind in LOOKUPS and mode != "int" and not inverts


def keeps_steps(call: Call, graph: Graph) -> bool:
    """Whether the columns of each id stay apart, as rows of a table do."""
    mode = call.layer.config.get("output_mode", "one_hot")
    shape = graph.shape_of(call)
    is_apart = mode == "one_hot" and call.layer.kind != "MultiHot"
    return is_apart and shape is not None and len(shape) > 2
