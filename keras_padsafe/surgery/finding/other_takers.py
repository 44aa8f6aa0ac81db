"""Finds what takes the same ids as a table, and would not know the new ones."""

from collections.abc import Mapping

from keras_padsafe.facts.operations import BINS, COLUMNS
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.id_sources import sources_of_table, takers
from keras_padsafe.surgery.finding.model_file import IdSpace, ModelFile
from keras_padsafe.surgery.finding.vocabulary import Unexplained


def tables_within(spaces: list[IdSpace]) -> dict[LayerNode, int]:
    """The rows of the first table in each layer that is one, or holds one."""
    rows: dict[LayerNode, int] = {}
    for space in spaces:
        for table in space.tables:
            for node in table.layer.outwards():
                rows.setdefault(node.original or node, table.size)
    return rows


def find_other_takers(
    space: IdSpace, tables: Mapping[LayerNode, int], model: ModelFile
) -> list[Unexplained]:
    """Other tables and one-hot encodings that ids of `space` enter.

    Args:
        space: The vocabulary.
        tables: The rows of the tables within each layer of the model.
        model: The model.
    """
    found: dict[int, Unexplained] = {}
    own = set(space.calls)
    for source, whole in sources_of_table(space.calls):
        for call in takers(model.graph, source) if whole else ():
            if call in own or model.claims.leaves(call.layer):
                continue
            problem = _other_table(call.layer, tables) or _columns(call.layer, space)
            if problem:
                found[id(call.layer)] = Unexplained(
                    call.layer.name,
                    f"{problem}, from the ids that enter {space.tables[0].layer.name!r}"
                    ": it would not know the new ones",
                    f"Say --leave {call.layer.name} (leave='{call.layer.name}') if it "
                    "never meets them",
                )
    return list(found.values())


def _other_table(layer: LayerNode, tables: Mapping[LayerNode, int]) -> str | None:
    rows = tables.get(layer.original or layer)
    if rows is None:
        return None
    return f"{layer.class_name} {layer.name!r} reads a table of {rows} rows"


def _columns(layer: LayerNode, space: IdSpace) -> str | None:
    key = COLUMNS.get(layer.class_name)
    if key is not None and layer.config.get(key) == space.draft.size:
        return (
            f"{layer.class_name} {layer.name!r} makes {space.draft.size} columns "
            f"({key})"
        )
    return None


def find_bins(space: IdSpace, model: ModelFile) -> list[Unexplained]:
    """Bins in front of a table, whose numbers are never new ids."""
    return [
        Unexplained(
            source.name,
            f"{source.class_name} {source.name!r} makes the ids of "
            f"{space.draft.name!r}, which are numbers of bins: nothing ever reaches a "
            "new row, and more bins would send old words elsewhere",
            f"Say --leave {source.name} (leave='{source.name}') if other ids reach "
            "the table too",
        )
        for source, _ in sources_of_table(space.calls)
        if source.class_name in BINS and not model.claims.leaves(source)
    ]
