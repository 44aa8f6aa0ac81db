"""Sorts the tables of a model into id spaces, with the words that name the ids."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.facts.packages import SIZE_KEYS
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.bind_claimed import (
    on_two_axes,
)
from keras_padsafe.surgery.finding.bind_tokenizers import bind_tokenizer
from keras_padsafe.surgery.finding.columns import takers_of
from keras_padsafe.surgery.finding.doubt import Doubt, doubt_of, leaving
from keras_padsafe.surgery.finding.encodings import (
    counting_key,
    is_lookup,
    word_weights,
)
from keras_padsafe.surgery.finding.fixed_rows import id_sites, pad_ids, padding_sites
from keras_padsafe.surgery.finding.id_sources import (
    changed_lookups,
    inputs_behind,
    sources_of_table,
)
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import Holding
from keras_padsafe.surgery.finding.tables import Table
from keras_padsafe.surgery.finding.unknown_layers import is_imported_unasked
from keras_padsafe.surgery.finding.vocabulary import Draft
from keras_padsafe.surgery.finding.which_tables import own_and_shared_tables
from keras_padsafe.surgery.finding.words import lookup_words


def find_id_spaces(model: ModelFile) -> list[Draft]:
    """Every id space of the model, each with its tables and words."""
    named = Counter(layer.name for layer in model.layers)
    tables, claimed = own_and_shared_tables(model)
    groups = (_meant(group, model) for group in _group(tables, model))
    drafts = [_start(group, model, named) for group in groups]
    _tell_apart(drafts)
    with_ids = {table.arrays[0].path for table in tables}
    for draft in drafts:
        own = {site.path for site in draft.arrays}
        for table in () if draft.is_made_inside else claimed:
            if table.size == draft.size and table.arrays[0].path not in own:
                _share(draft, table, model, with_ids)
    tokenizers = [
        layer
        for layer in model.layers
        if layer.class_name.endswith("Tokenizer") and not model.claims.leaves(layer)
    ]
    _mark_main(drafts, model)
    for draft in drafts:
        _add_words(draft, model)
        if len(drafts) == 1 or draft.is_main:
            for layer in tokenizers:
                bind_tokenizer(draft, layer, model)
    return drafts


def add_holding(vocabulary: Draft, holding: Holding) -> None:
    """Adds what one layer holds for each id."""
    known = {site.path: (site.axis, site.skips) for site in vocabulary.arrays}
    vocabulary.arrays += [s for s in holding.arrays if s.path not in known]
    vocabulary.add_config(holding.config)
    for site in holding.arrays:
        mine = (site.axis, site.skips)
        if known.get(site.path, mine) != mine:
            vocabulary.unexplained.append(on_two_axes(holding.layer, site.path))
    vocabulary.layers += holding.layer.names
    vocabulary.initializers += _whole_table_initializers(holding.layer)


def add_head(vocabulary: Draft, head: Holding) -> None:
    """Adds a head; what else sees its biases or scores takes them as numbers."""
    for key in ("bias_regularizer", "activity_regularizer", "bias_constraint"):
        if head.layer.config.get(key):
            vocabulary.no_spare.append(
                f"{key} of head {head.layer.name!r} is made for ordinary numbers, and "
                "the bias of a spare row is low beyond all others"
            )
    add_holding(vocabulary, head)


def add_head_of_steps(vocabulary: Draft, head: Holding) -> None:
    """Adds a head for which only its place speaks: a unit for each id at each step.

    A tagger with as many tags looks no different in a file, so a note says what to do.
    """
    add_head(vocabulary, head)
    layer = head.layer
    if layer.is_stock and not any(map(is_imported_unasked, layer.outwards())):
        vocabulary.notes.append(
            f"{layer.title} has {head.size} units at each step, "
            "and they are taken as scores of the ids. "
            f"{leaving(layer.name)} if they are tags or classes."
        )


def _meant(tables: list[Table], model: ModelFile) -> list[Table]:
    """Some tables without those in layers that are left alone, if any others remain."""
    leave = set(model.claims.leave)
    others = [
        table
        for table in tables
        if leave.isdisjoint((table.layer.name, table.layer.weights_path))
    ]
    return others or tables


def _group(tables: list[Table], model: ModelFile) -> list[list[Table]]:
    """Tables of one size that share an array or take ids from one source."""
    leads = list(range(len(tables)))  # to another table of the group

    def first_of(number: int) -> int:
        while leads[number] != number:
            leads[number] = number = leads[leads[number]]
        return number

    bearing: dict[tuple[int, Any], int] = {}  # which table bears a mark
    for number, table in enumerate(tables):
        marks: set[Any] = {site.path for site in table.config}
        # Beside a stretch, others may have entries in the same weights.
        marks |= {site.path for site in table.arrays if not site.starts}
        for mark in marks | _sources(table, model):
            other = bearing.setdefault((table.size, mark), number)
            one, two = sorted((first_of(number), first_of(other)))
            leads[two] = one
    groups: dict[int, list[Table]] = {}
    for number, table in enumerate(tables):
        groups.setdefault(first_of(number), []).append(table)
    return list(groups.values())


def _sources(table: Table, model: ModelFile) -> set[Any]:
    """What two tables have in common if the same ids enter both."""
    own = {site.path for site in table.arrays}
    marks: set[Any] = set()
    if table.name is not None and model.asking is not None:
        # A table inside a class: which of the layer's inputs enters it, Keras knows.
        inside = model.asking.inside
        marks |= {group for group in inside.together if group & own}
        if not own & inside.direct:
            return marks
    calls = model.graph.calls_of(table.layer)
    whole = {source for source, whole in sources_of_table(calls) if whole}
    twin = {table.twin} if table.twin else set()
    return marks | {id(source) for source in whole | twin}


def _start(tables: list[Table], model: ModelFile, named: Counter[str]) -> Draft:
    layer = tables[0].layer
    name = tables[0].name or layer.name
    group = layer.weights_path if named[name] > 1 else None
    if group:
        name = layer.names[-1]
    calls = [call for t in tables for call in model.graph.calls_of(t.layer)]
    draft = Draft(name, tables[0].size, tables, list(dict.fromkeys(calls)))
    _bind_encodings([t for t in tables if t.is_encoding], draft, model)
    for table in tables:
        _add_table(draft, table)
    if model.asking is not None:
        inside = model.asking.inside
        paths = {site.path for site in draft.arrays} & inside.tables.keys()
        of_places = bool(paths) and paths <= inside.positions
        draft.is_made_inside = of_places and not draft.words
    draft.layers += [group] if group else []  # Older plans call it so.
    return draft


def _add_table(draft: Draft, table: Table) -> None:
    if not table.is_encoding:
        add_holding(draft, table)
    draft.add_config(table.config)
    draft.layers += table.layer.names
    draft.words += table.words
    draft.layers += table.other_names
    draft.pad_ids += pad_ids(table.layer)
    draft.masks_zero |= table.layer.config.get("mask_zero") is True
    draft.add_config(id_sites(table.layer, draft.size))
    padding = [] if table.name else padding_sites(table.layer)
    draft.add_config(padding)
    if not padding:
        draft.maskless.append(table.name or table.layer.name)


def _share(
    draft: Draft, table: Table, model: ModelFile, with_ids: Collection[str]
) -> None:
    """Adds a table of which the user says that it takes the same ids.

    One among those `with_ids` of their own goes by its name there alone.
    """
    names = list(draft.layers)
    draft.tables.append(table)
    draft.calls += model.graph.calls_of(table.layer)
    _add_table(draft, table)
    if table.arrays[0].path in with_ids:
        draft.layers = names


def _bind_encodings(encoders: list[Table], vocabulary: Draft, model: ModelFile) -> None:
    """Adds the weights that take in the columns of encodings, and their records."""
    kinds: dict[tuple[int, int], list[LayerNode]] = {}
    for table in encoders:
        columns = table.config[0].value
        kinds.setdefault((columns, table.shift), []).append(table.layer)
    for (columns, shift), layers in kinds.items():
        takers = takers_of(model, layers, columns)
        spare = range(shift + columns, vocabulary.size)
        skips = (*range(shift), *spare)
        add_holding(
            vocabulary,
            Holding(
                layers[0],
                columns,
                [replace(site, skips=skips) for site in takers.kernels],
                takers.config,
            ),
        )
        vocabulary.unexplained += takers.unexplained
        if spare:
            vocabulary.unexplained.append(_spare(layers[0], vocabulary, columns))
        for layer in takers.layers:
            vocabulary.initializers += _whole_table_initializers(layer)
    for table in encoders:
        if not is_lookup(table.layer) and table.layer.kind != "InputLayer":
            vocabulary.encoders.append(table.layer.weights_path or table.layer.name)


def _spare(layer: LayerNode, vocabulary: Draft, columns: int) -> Doubt:
    return doubt_of(
        layer,
        f"makes {columns} columns of the words that enter {vocabulary.name!r}. The "
        "table has spare rows, but there are no spare columns",
        f"{leaving(layer.name)} to grow the table alone",
    )


def bind_inverse_lookups(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds the lookup layers that turn the ids which a head chose back into words."""
    chosen = model.graph.spread((draft, draft.logits) for draft in drafts)
    for call in model.graph.calls:
        layer = call.layer
        if layer.config.get("invert") is True and layer.kind in LOOKUPS:
            for draft in chosen(call):
                _add_lookup(draft, layer, model, "names the ids chosen")


def _add_lookup(
    vocabulary: Draft,
    layer: LayerNode,
    model: ModelFile,
    reason: str,
    shift: int = 0,
) -> None:
    found = lookup_words(layer, model.archive, reason)
    known = {(site.config_path, site.assets) for site in vocabulary.words}
    if found is not None and (found[0].config_path, found[0].assets) not in known:
        is_counted = (
            is_lookup(layer) and counting_key(layer, model) == "vocabulary_size"
        )
        is_alone, unknown = model.lookup_names[layer.name] == 1, found[0].unknown_id
        words = replace(
            found[0],
            layer=layer.name if is_alone else layer.names[-1],
            first_id=found[0].first_id + shift,
            unknown_id=None if unknown is None else unknown + shift,
            is_counted=is_counted,
        )
        vocabulary.words.append(words)
        vocabulary.add_config(
            replace(site, lookup=words.layer) if site.lookup else site
            for site in found[1]
        )
        skips = tuple(range(shift))
        weights = word_weights(layer, found[0])
        vocabulary.arrays += [replace(site, skips=skips) for site in weights]
        vocabulary.layers += [layer.name, words.layer]


def _mark_main(drafts: list[Draft], model: ModelFile) -> None:
    """Marks the ids of text of a model of KerasHub, if all other tables are its too."""
    of_package = [
        draft
        for draft in drafts
        if any(map(is_imported_unasked, draft.tables[0].layer.outwards()))
    ]
    for draft in of_package if len(of_package) == len(drafts) else ():
        draft.is_main = any(
            place[-1] in SIZE_KEYS and is_imported_unasked(next(model.around(place)))
            for place in draft.numbers
        )


def _tell_apart(drafts: list[Draft]) -> None:
    """Names the vocabularies of one layer by the configuration keys that count them."""
    names = Counter(draft.name for draft in drafts)
    for draft in drafts:
        config = draft.tables[0].config
        if names[draft.name] > 1 and config:
            draft.name += f".{config[0].path[-1]}"


def _add_words(draft: Draft, model: ModelFile) -> None:
    reason = f"its ids enter {draft.tables[0].layer.name!r}"
    whole = {s: 0 for s, _ in sources_of_table(draft.calls) if s.kind in LOOKUPS}
    for source, shift in (changed_lookups(draft.calls) | whole).items():
        if model.claims.leaves(source):
            continue
        if shift is None:
            why = f"{source.title} makes ids that are changed before they enter a table"
            draft.closed_words.append(why)
        else:
            _add_lookup(draft, source, model, reason, shift)
    if draft.words:
        names = inputs_behind(draft.calls)
        draft.fed_by += [name for name in names if name not in model.claims.leave]
    for table in draft.tables:
        if table.is_encoding and is_lookup(table.layer):
            mode = table.layer.config["output_mode"]
            reason = f"makes a column of each word, output_mode={mode!r}"
            _add_lookup(draft, table.layer, model, reason, table.shift)


def _whole_table_initializers(layer: LayerNode) -> list[ConfigPath]:
    """Initializers that hold an array, and so make one shape only."""
    found: list[ConfigPath] = []
    for key, value in layer.config.items():
        if not key.endswith("_initializer") or not isinstance(value, dict):
            continue
        config = value.get("config") or {}
        holds_array = value.get("class_name") == "Constant" and not isinstance(
            config.get("value"), int | float
        )
        if holds_array or value.get("class_name") == "ConcatenatedRows":
            found.append((*layer.path, "config", key))
    return found
