"""Finds what takes the same ids as a table, and would not know the new ones."""

from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.id_sources import sources_of_table, takers
from keras_padsafe.surgery.finding.model_file import IdSpace, ModelFile
from keras_padsafe.surgery.finding.vocabulary import Unexplained

# Layers and operations that make a column for each id, and the key that counts them.
_COLUMNS = {
    "CategoryEncoding": ("num_tokens",),
    "OneHot": ("num_classes",),
    "MultiHot": ("num_classes",),
}


def find_other_takers(
    space: IdSpace, spaces: list[IdSpace], model: ModelFile
) -> list[Unexplained]:
    """Other tables and one-hot encodings that ids of `space` enter."""
    found: dict[int, Unexplained] = {}
    for source, whole in sources_of_table(space.calls):
        for call in takers(model.graph, source) if whole else ():
            if call in space.calls or model.claims.leaves(call.layer):
                continue
            problem = _other_table(call.layer, spaces) or _columns(call.layer, space)
            if problem:
                found[id(call.layer)] = Unexplained(
                    call.layer.name,
                    f"{problem}, from the ids that enter {space.tables[0].layer.name!r}"
                    ": it would not know the new ones",
                    f"Say --leave {call.layer.name} (leave='{call.layer.name}') if it "
                    "never meets them",
                )
    return list(found.values())


def _other_table(layer: LayerNode, spaces: list[IdSpace]) -> str | None:
    for other in spaces:
        for table in other.tables:
            if layer.contains(table.layer):
                return (
                    f"{layer.class_name} {layer.name!r} reads a table of {table.size} "
                    "rows"
                )
    return None


def _columns(layer: LayerNode, space: IdSpace) -> str | None:
    for key in _COLUMNS.get(layer.class_name, ()):
        if layer.config.get(key) == space.vocabulary.size:
            return (
                f"{layer.class_name} {layer.name!r} makes {space.vocabulary.size} "
                f"columns ({key})"
            )
    return None
