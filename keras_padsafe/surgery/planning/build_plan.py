"""Turns a vocabulary and what the user asks for into a plan."""

from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np

from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.facts.spare_words import spare_word
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.surgery.finding.fixed_rows import check_pad_ids
from keras_padsafe.surgery.finding.inventory import Inventory
from keras_padsafe.surgery.finding.sites import (
    ArrayOverIds,
    ArraySite,
    ConfigSite,
    WordsSite,
)
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.change import Change
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.check_plan import ZEROS_INITIALIZER
from keras_padsafe.surgery.planning.mixes import settle_names
from keras_padsafe.surgery.planning.new_rows import (
    NewRows,
    check_fits,
    read_new_rows,
)
from keras_padsafe.surgery.planning.notes import notes_on
from keras_padsafe.surgery.planning.padding import takes_mask_token
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.row_map import RowMap
from keras_padsafe.surgery.planning.spare import check_promised


def build_plan(
    inventory: Inventory,
    vocabulary: Vocabulary,
    change: Change,
    *,
    new_rows: Any = "mean",
    optimizer: Literal["keep", "drop"] = "keep",
) -> Plan:
    """The plan that carries out `change` on everything bound to `vocabulary`.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by the user first.
        SurgeryError: if what is asked for cannot be done.
    """
    check_settled(inventory, vocabulary)
    if vocabulary.slot_problem and optimizer == "keep":
        raise AmbiguousVocabularyError(f"{inventory.path}: {vocabulary.slot_problem}")
    rows = settle_names(read_new_rows(new_rows), vocabulary, change)
    new_ids = change.row_map.new_ids
    check_promised(vocabulary, change)
    most = change.row_map.new_count - len(change.spare_ids)
    _check_given_rows(rows, vocabulary, len(change.words) or most, most)
    size = change.row_map.size
    check_pad_ids(vocabulary.name, vocabulary.pad_ids, vocabulary.size, size)
    words = word_changes(vocabulary, change)
    end = words[0].new_first_id + words[0].new_count if words else 0
    padded = _padded_tables(vocabulary, change)
    slots = vocabulary.slots if optimizer == "keep" else ()
    check_appends([*vocabulary.arrays, *slots], change.row_map)
    check_tokenizers(vocabulary, change.row_map)
    plan = Plan(
        vocabulary=vocabulary.name,
        old_size=vocabulary.size,
        new_size=size,
        row_map=change.row_map,
        new_rows=rows,
        arrays=tuple(
            _array(_for_given(site, vocabulary, rows), change, padded)
            for site in [*vocabulary.arrays, *slots]
        ),
        config=tuple(
            change
            for change in [
                *(config_change(s, change, end, vocabulary) for s in vocabulary.config),
                *(_initializer(path) for path in vocabulary.initializers),
            ]
            if change.old != change.new
        ),
        words=tuple(w for w in words if is_changed(w, change.row_map)),
        tokens=dict(zip(change.words, new_ids.tolist(), strict=False)),
        optimizer=optimizer,
        left_alone=tuple(vars(item) for item in vocabulary.left_alone),
        notes=(*inventory.notes, *notes_on(vocabulary, change, rows)),
        needs_proof=inventory.asked
        or change.pad is not None
        or bool(vocabulary.read_by),
        pad=change.pad,
        spare_ids=change.spare_ids,
        old_spare_ids=vocabulary.spare_ids,
        encoders=vocabulary.encoders,
        also=inventory.also,
        leave=inventory.leave,
        ask=inventory.ask,
        made_of=inventory.state,
        old_words={**dict(enumerate(change.old_words)), **_known_words(vocabulary)},
    )
    for site in plan.arrays:
        dtype = site.quantised.dtype if site.quantised else site.dtype
        check_fits(rows, site.path, dtype, site.fill)
    return plan


def check_settled(inventory: Inventory, vocabulary: Vocabulary) -> None:
    """Refuses a vocabulary of which something is not known.

    Raises:
        AmbiguousVocabularyError: listing what has to be settled by the user first.
    """
    if vocabulary.unexplained:
        listed = "\n".join(
            f"  - {item.problem}. {item.remedy}." for item in vocabulary.unexplained
        )
        raise AmbiguousVocabularyError(
            f"{inventory.path}: it is not known what belongs to vocabulary "
            f"{vocabulary.name!r}, and nothing is guessed. Please decide each "
            f"point:\n{listed}"
        )


def _check_given_rows(
    rows: NewRows, vocabulary: Vocabulary, wanted: int, most: int
) -> None:
    if rows.rows is None:
        return
    tables = [site for site in vocabulary.arrays if _is_table(site)]
    looked_up = [site for site in tables if not _is_encoding(site)]
    dims = {site.real_shape[1] for site in looked_up or tables}
    count, dim = rows.rows.shape
    if not wanted <= count <= most or dims != {dim}:
        raise SurgeryError(
            f"new_rows: received rows of shape {rows.rows.shape}. Expected: "
            f"({wanted}, {', '.join(str(d) for d in sorted(dims))}), a row for each "
            "new id and a column for each of the table."
        )


def _known_words(vocabulary: Vocabulary) -> dict[int, str | int]:
    return {id_: word for word, id_ in vocabulary.word_ids.items()}


def _is_table(site: ArraySite) -> bool:
    return site.axis == 0 and len(site.shape) == 2 and site.fill == "rows"


def _is_encoding(site: ArraySite) -> bool:
    return site.role == "encoding kernel"


def _for_given(site: ArraySite, vocabulary: Vocabulary, rows: NewRows) -> ArraySite:
    """The site, which takes the mean where the rows given are those of a table."""
    has_table = any(_is_table(s) and not _is_encoding(s) for s in vocabulary.arrays)
    kernels = {s.path for s in vocabulary.arrays if _is_encoding(s)}
    is_theirs = (site.like or site.path) in kernels and site.fill == "rows"
    if rows.rows is None or not has_table or not is_theirs:
        return site
    return replace(site, fill="bias")


def check_appends(sites: list[ArraySite], row_map: RowMap) -> None:
    """Refuses to move ids where an array does not say which of them it has."""
    short = next((site for site in sites if site.only_appends), None)
    if short is not None and not row_map.is_append:
        raise SurgeryError(
            f"row_map: array {short.path} has {short.size} entries for "
            f"{row_map.old_size} ids, and the file does not say which entry belongs "
            "to which id. Expected: new ids at the end, and every old id kept."
        )


def check_tokenizers(
    vocabulary: Vocabulary, row_map: RowMap, *, may_cut: bool = False
) -> None:
    """Refuses to move the ids of words that a tokenizer could not give others.

    The last of them may go where a plan undoes what added them (`may_cut`).
    """
    fixed = [
        *((f"{name}, so", vocabulary.size) for name in vocabulary.closed_tokenizers),
        *((f"{s.layer!r}:", s.end) for s in vocabulary.words if s.only_appends),
    ]
    for tokenizer, last in fixed:
        end = min(last, row_map.size) if may_cut else last
        if not np.array_equal(row_map.ids[:end], np.arange(end)):
            raise SurgeryError(
                "row_map: old ids would move or disappear, but a tokenizer would "
                f"still give them: {tokenizer} its words keep their ids. Expected: "
                "every id kept, and new ones at the end. If you change the tokenizer "
                "yourself, pass its name as leave=NAME (--leave NAME)."
            )


def _padded_tables(vocabulary: Vocabulary, change: Change) -> frozenset[str]:
    """The tables that get a row of zeros for padding."""
    if change.pad is None:
        return frozenset()
    tables = (site for site in vocabulary.arrays if site.role == "embedding table")
    return frozenset(site.path for site in tables)


def _array(site: ArraySite, change: Change, padded: frozenset[str]) -> ArrayChange:
    row_map, skips = change.row_map, site.skips
    if site.only_appends:
        skips = tuple(range(row_map.old_size - site.size))
    new_skips = np.flatnonzero(np.isin(row_map.ids, skips)).tolist() if skips else ()
    is_padded = (site.like or site.path) in padded and site.fill not in (
        "scale",
        "zero",
    )
    same = {field.name: getattr(site, field.name) for field in fields(ArrayOverIds)}
    made = ArrayChange(**same, new_shape=site.shape, new_skips=tuple(new_skips))
    fill = 0.0 if is_padded else site.fill
    return replace(made, skips=skips, fill=fill).sized(row_map)


def config_change(
    site: ConfigSite, change: Change, end: int, vocabulary: Vocabulary
) -> ConfigChange:
    """What a change makes of a value of config.json; `end` follows its last word."""
    row_map, pad, new = change.row_map, change.pad, site.value
    match site.follows:
        case "table" | "record":
            new = site.value + site.times * (row_map.size - row_map.old_size)
        case "tokens":
            new = site.value + end - vocabulary.words[0].end
        case "cap":
            new = max(site.value, end)
        case "id":
            new = _new_id(site, row_map)
        case "first":
            new = _new_count(site, row_map)
        case "whole" if change.words:
            new = [*(new or site.default), *change.words]
        case "cut" if cut := [w for w in change.words if site.default.why_lost(w)]:
            new = [*(new or ()), *cut]
        case "mask_zero" if pad is not None:
            new = True
        case "pad_id" if pad is not None:
            new = pad
        case "mask_token" if pad == 0:
            new = change.words[0]
    return ConfigChange(site.path, site.value, new, site.reason)


def _new_id(site: ConfigSite, row_map: RowMap) -> int:
    places = np.flatnonzero(row_map.ids == site.value)
    if len(places) != 1:
        raise SurgeryError(
            f"row_map: old id {site.value} goes to {len(places)} new ids, and "
            f"{config_key(site.path)} names it. Expected: one new id for it."
        )
    return int(places[0])


def _new_count(site: ConfigSite, row_map: RowMap) -> int:
    new, old = row_map.kept
    places = new[old < site.value]
    if not np.array_equal(places, np.arange(len(places))):
        raise SurgeryError(
            f"row_map: the first {site.value} old ids, which {config_key(site.path)} "
            "counts, would not be the first new ids. Expected: the kept ones at the "
            "front, in any order."
        )
    return len(places)


def _initializer(path: ConfigPath) -> ConfigChange:
    return ConfigChange(
        path,
        None,
        ZEROS_INITIALIZER,
        "held a whole table of the old shape; the saved weights take its place",
    )


def word_changes(vocabulary: Vocabulary, change: Change) -> list[WordsChange]:
    """What a change makes of each list of words, changed or not."""
    masks = takes_mask_token(vocabulary, change)
    return [_words_change(site, change, masks) for site in vocabulary.words]


def _words_change(site: WordsSite, change: Change, masks: bool) -> WordsChange:
    # A list without the words for padding and unknown words gets none for padding.
    unlisted = masks and site.first_id > 0
    integer = site.class_name == "IntegerLookup"
    spare = (spare_word(id_, integer=integer) for id_ in change.spare_ids)
    added = () if unlisted else (*change.words, *spare)
    kept = set(change.row_map.kept[1].tolist())
    removed = tuple(
        word
        for number, word in enumerate(site.words)
        if site.first_id + number not in kept
    )
    return WordsChange(
        layer=site.layer,
        config_path=site.config_path,
        assets=site.assets,
        first_id=site.first_id,
        new_first_id=site.first_id + unlisted,
        count=len(site.words),
        new_count=len(site.words) - len(removed) + len(added),
        added=added,
        removed=removed,
        reason=site.reason,
        weights_path=site.weights_path,
        weight=site.weight,
    )


def is_changed(change: WordsChange, row_map: RowMap) -> bool:
    """Whether a list of words becomes another one."""
    if change.added or change.removed or change.new_first_id != change.first_id:
        return True
    first, end = change.first_id, change.first_id + change.count
    return not np.array_equal(row_map.ids[first:end], np.arange(first, end))
