"""Sorts the tables of a model into id spaces, with the words that name the ids."""

from collections import Counter
from dataclasses import replace
from typing import Any

from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.facts.packages import SIZE_KEYS
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import numbers_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.bind_claimed import claimed_site
from keras_padsafe.surgery.finding.bind_tokenizers import bind_tokenizer
from keras_padsafe.surgery.finding.encodings import (
    counting_key,
    is_lookup,
    join_twins,
    known_encodings,
    takers_of,
    word_weights,
)
from keras_padsafe.surgery.finding.fixed_rows import id_sites, pad_ids, padding_sites
from keras_padsafe.surgery.finding.heads import Head, regularized
from keras_padsafe.surgery.finding.id_sources import sources_of_table
from keras_padsafe.surgery.finding.model_file import (
    IdSpace,
    ModelFile,
    add_config,
    holder_of,
)
from keras_padsafe.surgery.finding.shown_tables import shown_tables
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.tables import Table, known_tables
from keras_padsafe.surgery.finding.unknown_layers import is_imported_unasked
from keras_padsafe.surgery.finding.vocabulary import Draft, Unexplained, doubt, leaving
from keras_padsafe.surgery.finding.words import lookup_words


def find_id_spaces(model: ModelFile) -> list[IdSpace]:
    """Every id space of the model, each with its tables and words."""
    groups = _group(_tables(model), model)
    spaces = [_start(tables, model) for tables in groups]
    _tell_apart(spaces)
    tokenizers = [
        layer
        for layer in model.layers
        if layer.class_name.endswith("Tokenizer") and not model.claims.leaves(layer)
    ]
    for space in spaces:
        _add_words(space, model)
        if len(spaces) == 1 or space.draft.is_main:
            for layer in tokenizers:
                bind_tokenizer(space.draft, layer, model)
    return spaces


def add_holding(vocabulary: Draft, holding: Table | Head) -> None:
    """Adds what one layer holds for each id."""
    known = {site.path: (site.axis, site.skips) for site in vocabulary.arrays}
    vocabulary.arrays += [s for s in holding.arrays if s.path not in known]
    if isinstance(holding, Head) and (key := regularized(holding)):
        vocabulary.no_spare.append(
            f"{key} of head {holding.layer.name!r} adds the low score of a spare row "
            "to the loss"
        )
    add_config(vocabulary, holding.config)
    for site in holding.arrays:
        mine = (site.axis, site.skips)
        if known.get(site.path, mine) != mine:
            vocabulary.unexplained.append(_square(holding.layer, site))
    for name in names_of(holding.layer):
        if name not in vocabulary.layers:
            vocabulary.layers.append(name)
    for path in _whole_table_initializers(holding.layer):
        if path not in vocabulary.initializers:
            vocabulary.initializers.append(path)


def add_head_of_steps(vocabulary: Draft, head: Head) -> None:
    """Adds a head for which only its place speaks: a unit for each id at each step.

    A tagger with as many tags looks no different in a file, so a note says what to do.
    """
    add_holding(vocabulary, head)
    layer = head.layer
    if layer.is_stock and not any(map(is_imported_unasked, layer.outwards())):
        vocabulary.notes.append(
            f"{layer.class_name} {layer.name!r} has {head.size} units at each step, "
            "and they are taken as scores of the ids. "
            f"{leaving(layer.name)} if they are tags or classes."
        )


def _square(layer: LayerNode, site: ArraySite) -> Unexplained:
    return doubt(
        layer,
        f"holds {site.path}, which runs over the ids along two axes, for example "
        "from a column for each id to a score for each id",
        "It cannot be grown in the file: grow it in Keras",
    )


def names_of(layer: LayerNode) -> list[str]:
    """A layer's name, and with those of the models around it: `tower/lookup`."""
    around = [node.name for node in layer.outwards() if node.parent is not None]
    return list(dict.fromkeys(filter(None, [layer.name, "/".join(reversed(around))])))


def _tables(model: ModelFile) -> list[Table]:
    """The proved tables, and those of other sizes that the user vouches for."""
    tables = [
        table
        for table in _found(model)
        if not model.claims.leaves(table.layer, table.arrays[0].path)
    ]
    tables = _unclaimed(tables, model)
    sizes = {table.size for table in tables}
    for layer, array in model.arrays:
        claims = model.claims.on(layer, array)
        if claims and not any(array.shape[claim.axis] in sizes for claim in claims):
            site = claimed_site(array, claims[0])
            tables.append(Table(layer, site.size, arrays=[site]))
            sizes.add(site.size)
    return tables


def _unclaimed(tables: list[Table], model: ModelFile) -> list[Table]:
    """All but the shown tables that the user says belong to another one."""
    claimed = {
        array.path for layer, array in model.arrays if model.claims.on(layer, array)
    }
    free = {t.size for t in tables if t.arrays[0].path not in claimed}
    return [t for t in tables if t.arrays[0].path not in claimed or t.size not in free]


def _found(model: ModelFile) -> list[Table]:
    known = [*known_tables(model.root), *known_encodings(model)]
    join_twins(known, model)
    if model.asking is None:
        return known
    arrays = {array.path: array for _, array in model.arrays}
    shown, _ = shown_tables(model.asking, arrays, known)
    own = {site.path for table in shown for site in table.arrays}
    return [t for t in known if own.isdisjoint(s.path for s in t.arrays)] + shown


def _group(tables: list[Table], model: ModelFile) -> list[list[Table]]:
    """Tables of one size that share an array or take ids from one source."""
    groups: dict[int, list[Table]] = {}
    bearing: dict[tuple[int, Any], int] = {}  # which group bears a mark
    marks_of: dict[int, list[tuple[int, Any]]] = {}
    latest: dict[int, int] = {}
    for number, table in enumerate(tables):
        marks: set[Any] = {site.path for site in table.config}
        if not table.is_encoding:  # Others may have entries in the same weights.
            marks |= {site.path for site in table.arrays}
        own = [(table.size, mark) for mark in marks | _sources(table, model)]
        met = {bearing[mark] for mark in own if mark in bearing}
        met = sorted(met, key=lambda group: latest[group], reverse=True)
        # The group of most marks takes the others in, so that no mark moves often.
        into = max(met, key=lambda group: len(marks_of[group]), default=number)
        for group in met:
            if group != into:
                own += marks_of.pop(group)
        if met != [into]:
            groups[into] = [t for group in met for t in groups.pop(group)]
        groups[into].append(table)
        marks_of.setdefault(into, []).extend(own)
        bearing |= dict.fromkeys(own, into)
        latest[into] = number
    return [groups[group] for group in sorted(groups, key=lambda g: latest[g])]


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


def _start(tables: list[Table], model: ModelFile) -> IdSpace:
    layer = tables[0].layer
    name = tables[0].name or layer.name
    if model.named[name] > 1 and layer.weights_path:
        name = layer.weights_path
    vocabulary = Draft(name, tables[0].size)
    _bind_encodings([t for t in tables if t.is_encoding], vocabulary, model)
    for table in tables:
        if not table.is_encoding:
            add_holding(vocabulary, table)
        add_config(vocabulary, table.config)
        vocabulary.layers += names_of(table.layer)
        vocabulary.words += table.words
        vocabulary.layers += table.other_names
        vocabulary.pad_ids += pad_ids(table.layer)
        vocabulary.masks_zero |= table.layer.config.get("mask_zero") is True
        add_config(vocabulary, id_sites(table.layer, vocabulary.size))
        padding = [] if table.name else padding_sites(table.layer)
        add_config(vocabulary, padding)
        if not padding:
            vocabulary.maskless.append(table.name or table.layer.name)
    if model.asking is not None:
        paths = {
            s.path for s in vocabulary.arrays if s.path in model.asking.inside.tables
        }
        inside = model.asking.inside.positions
        vocabulary.is_made_inside = bool(paths) and paths <= inside
    calls = [call for t in tables for call in model.graph.calls_of(t.layer)]
    return IdSpace(vocabulary, tables, list(dict.fromkeys(calls)))


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
            Table(
                layers[0],
                columns,
                arrays=[replace(site, skips=skips) for site in takers.kernels],
                config=takers.config,
            ),
        )
        vocabulary.unexplained += takers.unexplained
        if spare:
            vocabulary.unexplained.append(_spare(layers[0], vocabulary, columns))
        for layer in takers.layers:
            vocabulary.initializers += _whole_table_initializers(layer)
    for table in encoders:
        if not is_lookup(table.layer):
            vocabulary.encoders.append(table.layer.weights_path or table.layer.name)


def _spare(layer: LayerNode, vocabulary: Draft, columns: int) -> Unexplained:
    return doubt(
        layer,
        f"makes {columns} columns of the words that enter {vocabulary.name!r}. The "
        "table has spare rows, but there are no spare columns",
        f"{leaving(layer.name)} to grow the table alone",
    )


def bind_inverse_lookups(model: ModelFile, spaces: list[IdSpace]) -> None:
    """Adds the lookup layers that turn the ids which a head chose back into words."""
    chosen = model.graph.spread(space.logits for space in spaces)
    for call, bits in chosen.items():
        layer = call.layer
        if layer.config.get("invert") is True and layer.kind in LOOKUPS:
            for number in numbers_of(bits):
                vocabulary = spaces[number].draft
                _add_lookup(vocabulary, layer, model, "names the ids chosen")


def _add_lookup(
    vocabulary: Draft,
    layer: LayerNode,
    model: ModelFile,
    reason: str,
    shift: int = 0,
) -> None:
    found = lookup_words(layer, model.archive, reason)
    known = {site.layer for site in vocabulary.words}
    if found is not None and layer.name not in known:
        words = replace(found[0], first_id=found[0].first_id + shift)
        is_counted = (
            is_lookup(layer) and counting_key(layer, model) == "vocabulary_size"
        )
        vocabulary.words.append(words.counted() if is_counted else words)
        add_config(vocabulary, found[1])
        skips = tuple(range(shift))
        weights = word_weights(layer, found[0])
        vocabulary.arrays += [replace(site, skips=skips) for site in weights]
        vocabulary.layers.append(layer.name)


def _tell_apart(spaces: list[IdSpace]) -> None:
    """Names the vocabularies of one layer by the configuration keys that count them."""
    names = Counter(space.draft.name for space in spaces)
    for space in spaces:
        config = space.tables[0].config
        if names[space.draft.name] > 1 and config:
            space.draft.name += f".{config[0].path[-1]}"


def _add_words(space: IdSpace, model: ModelFile) -> None:
    vocabulary = space.draft
    for source, _ in sources_of_table(space.calls):
        if source.kind in LOOKUPS:
            reason = f"its ids enter {space.tables[0].layer.name!r}"
            _add_lookup(vocabulary, source, model, reason)
    for table in space.tables:
        if table.is_encoding and is_lookup(table.layer):
            mode = table.layer.config["output_mode"]
            reason = f"makes a column of each word, output_mode={mode!r}"
            _add_lookup(vocabulary, table.layer, model, reason, table.shift)
    vocabulary.is_main = any(
        _counts_text(place, model) for place in space.draft.numbers
    )


def _counts_text(place: ConfigPath, model: ModelFile) -> bool:
    """Whether a number is the one by which KerasHub counts the ids of text."""
    return place[-1] in SIZE_KEYS and is_imported_unasked(holder_of(place, model))


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
