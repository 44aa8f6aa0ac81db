"""Finds what takes the same ids as a table, and would not know the new ones."""

from collections.abc import Iterator

from keras_padsafe.facts.operations import BINS, COLUMNS, COMPARES
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.id_sources import sources_of_table, takers
from keras_padsafe.surgery.finding.model_file import IdSpace, ModelFile, add_config
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Unexplained


def find_other_takers(
    space: IdSpace, spaces: list[IdSpace], model: ModelFile
) -> list[Unexplained]:
    """Other tables and one-hot encodings that ids of `space` enter."""
    found: dict[int, Unexplained] = {}
    for call, whole in _others(space, model):
        if not whole or model.claims.leaves(call.layer):
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


def bind_compared(space: IdSpace, spaces: list[IdSpace], model: ModelFile) -> None:
    """Adds the ids that ids are compared with, and names what else reads them."""
    draft = space.draft
    for call, whole in _others(space, model):
        place, id_ = _compared(call) if whole else ((), None)
        if id_ is None:
            if not _other_table(call.layer, spaces):
                draft.read_by.append(call.layer.name)
        elif id_ < draft.size:
            reason = f"{call.layer.name!r} compares ids with it"
            add_config(draft, [ConfigSite(place, id_, "id", reason)])
        else:
            draft.pad_ids.append(id_)


def _others(space: IdSpace, model: ModelFile) -> Iterator[tuple[Call, bool]]:
    """The calls beside its tables that ids of `space` enter, and whether all do."""
    for source, enters in sources_of_table(space.calls):
        for call, whole in takers(model.graph, source):
            if call not in space.calls:
                yield call, enters and whole


def _compared(call: Call) -> tuple[ConfigPath, int | None]:
    """The number that a call compares ids with, and where config.json has it.

    A number below 0 is none: no table has a row for it, before or after.
    """
    if call.layer.class_name in COMPARES and len(call.inputs) == 1:
        for key, value in call.arguments.items():
            place = call.places[key]
            if isinstance(value, dict) and value.get("class_name") == "__tensor__":
                value, place = value["config"].get("value"), (*place, "config", "value")
            if is_count(value):
                return place, value
    return (), None


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
