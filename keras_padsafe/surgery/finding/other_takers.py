"""Finds what takes the same ids as a table, and would not know the new ones."""

from collections.abc import Iterator, Mapping

from keras_padsafe.facts.operations import (
    BACK_TO_IDS,
    BINS,
    COLUMNS,
    COMPARES,
    LOOKUPS,
)
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.id_sources import changers, sources_of_table, takers
from keras_padsafe.surgery.finding.model_file import IdSpace, ModelFile, add_config
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Unexplained, doubt, leaving


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
    for call, whole in _others(space, model):
        if not whole or model.claims.leaves(call.layer):
            continue
        problem = _other_table(call.layer, tables) or _columns(call.layer, space)
        if problem:
            found[id(call.layer)] = Unexplained(
                call.layer.name,
                f"{problem}, for the ids that enter {space.tables[0].layer.name!r}: "
                "it would not know new ids",
                f"{leaving(call.layer.name)} if new ids never reach it",
            )
    return list(found.values())


def bind_compared(
    space: IdSpace, tables: Mapping[LayerNode, int], model: ModelFile
) -> None:
    """Adds the ids that ids are compared with, and names what else reads them."""
    draft = space.draft
    draft.read_by += [layer.name for layer in changers(space.calls)]
    for call, whole in _others(space, model):
        place, id_ = _compared(call) if whole else ((), None)
        if id_ is None:
            if not _other_table(call.layer, tables):
                draft.read_by.append(call.layer.name)
        elif id_ < draft.size:
            reason = f"{call.layer.name!r} compares ids with it"
            add_config(draft, [ConfigSite(place, id_, "id", reason)])
        else:
            draft.pad_ids.append(id_)
    for chosen in space.over_ids:
        for call in chosen.consumers:
            if call.layer.kind in BACK_TO_IDS:
                readers = [one.layer for one in call.consumers]
                words = [n for n in readers if n.kind in LOOKUPS]
                draft.read_by += [n.name for n in readers if n not in words]


def _others(space: IdSpace, model: ModelFile) -> Iterator[tuple[Call, bool]]:
    """The calls beside its tables that ids of `space` enter, and whether all do."""
    own = set(space.calls)
    for source, enters in sources_of_table(space.calls):
        for call, whole in takers(model.graph, source):
            if call not in own:
                yield call, enters and whole


def _compared(call: Call) -> tuple[ConfigPath, int | None]:
    """The number that a call compares ids with, and where config.json has it.

    A number below 0 is none: no table has a row for it, before or after.
    """
    if call.layer.kind in COMPARES and len(call.inputs) == 1:
        for key, value in call.arguments.items():
            place = call.places[key]
            if isinstance(value, dict) and value.get("class_name") == "__tensor__":
                value, place = value["config"].get("value"), (*place, "config", "value")
            if is_count(value):
                return place, value
    return (), None


def _other_table(layer: LayerNode, tables: Mapping[LayerNode, int]) -> str | None:
    rows = tables.get(layer.original or layer)
    if rows is None:
        return None
    return f"{layer.class_name} {layer.name!r} reads a table of {rows} rows"


def _columns(layer: LayerNode, space: IdSpace) -> str | None:
    key = COLUMNS.get(layer.kind)
    if key is not None and layer.config.get(key) == space.draft.size:
        return (
            f"{layer.class_name} {layer.name!r} makes {space.draft.size} columns "
            f"({key})"
        )
    return None


def find_bins(space: IdSpace, model: ModelFile) -> list[Unexplained]:
    """Bins in front of a table, whose numbers are never new ids."""
    return [
        doubt(
            source,
            f"makes the ids of {space.draft.name!r}, which are bin numbers. No word "
            "ever reaches a new row, and with more bins old words get other ids",
            f"{leaving(source.name)} if other ids reach the table too",
        )
        for source, _ in sources_of_table(space.calls)
        if source.kind in BINS and not model.claims.leaves(source)
    ]
