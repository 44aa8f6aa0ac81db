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
from keras_padsafe.saved_model.recorded_calls import held_value
from keras_padsafe.surgery.finding.columns import takers_of
from keras_padsafe.surgery.finding.doubt import Doubt, adding, doubt_of, leaving
from keras_padsafe.surgery.finding.encodings import is_lookup, twin_shift
from keras_padsafe.surgery.finding.id_sources import changers, sources_of_table, uses_of
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.tables import Table
from keras_padsafe.surgery.finding.vocabulary import Draft


def bind_other_uses(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds the ids that ids are compared with, and names what else takes them in."""
    first: dict[LayerNode, Table] = {}  # that a layer is, or holds
    for draft in drafts:
        for table in draft.tables:
            for node in table.layer.outwards():
                first.setdefault(node.original or node, table)
    for draft in drafts:
        if not draft.is_made_inside:
            _bind(draft, first, model)


def _bind(draft: Draft, tables: Mapping[LayerNode, Table], model: ModelFile) -> None:
    draft.read_by += [layer.name for layer in changers(draft.calls)]
    first = draft.tables[0].layer.name
    unsettled: dict[LayerNode, Doubt] = {}
    for call, whole in _others(draft, model):
        layer = call.layer
        what, size = layer.title, draft.size
        other, key = tables.get(layer), COLUMNS.get(layer.kind)
        place, id_ = _compared(call) if whole else ((), None)
        if id_ is not None and id_ < size:
            reason = f"{layer.name!r} compares ids with it"
            draft.add_config([ConfigSite(place, id_, "id", reason)])
        elif id_ is not None:
            draft.pad_ids.append(id_)
        elif other is None:
            draft.read_by.append(layer.name)
        remedy = "If they do, it cannot be grown in the file: grow it in Keras"
        if other is not None:
            problem = f"{what} reads a table of {other.size} rows"
            if other.size == size:
                site = other.arrays[0]
                remedy = f"{adding(f'{site.path}:{site.axis}')} if they do"
        elif key is not None and layer.config.get(key) == size:
            problem = f"{what} makes {size} columns ({key})"
            for reader in takers_of(model, [layer], size).unexplained[:1]:
                remedy = f"If they do, it cannot be grown: {reader.problem}"
        else:
            continue
        if whole and not model.claims.leaves(layer):
            unsettled[layer] = Doubt(
                layer.name,
                f"{problem}, for the ids that enter {first!r}: it would not know new "
                "ids",
                f"{leaving(layer.name)} if new ids never reach it. {remedy}",
            )
    draft.unexplained += [*unsettled.values(), *_bins(draft, model)]
    draft.unexplained += _wide(draft, model)
    for chosen in draft.over_ids:
        for call in chosen.consumers:
            by = call.consumers if call.layer.kind in BACK_TO_IDS else []
            draft.read_by += [x.layer.name for x in by if x.layer.kind not in LOOKUPS]


def _others(draft: Draft, model: ModelFile) -> Iterator[tuple[Call, bool]]:
    """The calls beside its tables that its ids enter, and whether all of them do."""
    own = set(draft.calls)
    for source, enters in sources_of_table(draft.calls):
        for call, whole in uses_of(model.graph, source):
            if call not in own:
                yield call, enters and whole


def _compared(call: Call) -> tuple[ConfigPath, int | None]:
    """The number that a call compares ids with, and where config.json has it.

    A number below 0 is none: no table has a row for it, before or after.
    """
    if call.layer.kind in COMPARES and len(call.inputs) == 1:
        for key, value in call.arguments.items():
            place = call.places[key]
            if (held := held_value(value)) is not None:
                value, place = held, (*place, "config", "value")
            if is_count(value):
                return place, value
    return (), None


def _wide(draft: Draft, model: ModelFile) -> Iterator[Doubt]:
    """Columns of the same words, of which it is not known what takes them in."""
    tables = {table.layer for table in draft.tables}
    sources = [s for s, _ in sources_of_table(draft.calls) if s.kind in LOOKUPS]
    for layer in model.layers:
        if layer in tables or not is_lookup(layer) or model.claims.leaves(layer):
            continue
        if any(twin_shift(layer, source, model) is not None for source in sources):
            fails = layer.config.get("num_oov_indices") == 0
            yield doubt_of(
                layer,
                f"makes columns of the same words that enter {draft.name!r}, and it is "
                "not known which weights take them in. "
                + ("It fails on" if fails else "It knows no")
                + " new words",
                f"{leaving(layer.name)} if that is meant. If not, it cannot be grown "
                "in the file: grow it in Keras",
            )


def _bins(draft: Draft, model: ModelFile) -> Iterator[Doubt]:
    """Bins in front of a table, whose numbers are never new ids."""
    for source, _ in sources_of_table(draft.calls):
        if source.kind in BINS and not model.claims.leaves(source):
            yield doubt_of(
                source,
                f"makes the ids of {draft.name!r}, which are bin numbers. No word "
                "ever reaches a new row, and with more bins old words get other ids",
                f"{leaving(source.name)} if other ids reach the table too",
            )
