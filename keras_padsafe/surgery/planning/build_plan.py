"""Turns a vocabulary and what the user asks for into a plan."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any, Literal

import numpy as np

from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.facts.spare_words import spare_word
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.saved_model.row_map import NEW, RowMap
from keras_padsafe.saved_model.word_lists import entries_at, with_entries
from keras_padsafe.surgery.finding.inventory import Inventory
from keras_padsafe.surgery.finding.sites import (
    NO_ENTRY,
    ArrayOverIds,
    ArraySite,
    ConfigSite,
    ListedWords,
    WordsSite,
)
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import unwritable
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    Change,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.check_change import (
    check_change,
    check_named,
    check_settled,
    takes_mask_token,
)
from keras_padsafe.surgery.planning.check_plan import (
    PADDING,
    ZEROS_INITIALIZER,
    check_rows,
)
from keras_padsafe.surgery.planning.mixes import settle_names
from keras_padsafe.surgery.planning.new_rows import NewRows, read_new_rows
from keras_padsafe.surgery.planning.notes import notes_on
from keras_padsafe.surgery.planning.plan import Plan

_LARGEST = 1 << 63
_ENCODING = "encoding kernel"
_WHOLE_TABLE = "held a whole table of the old shape; the saved weights take its place"


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
    check_settled(inventory, vocabulary, change.row_map)
    if vocabulary.slot_problem and optimizer == "keep":
        raise AmbiguousVocabularyError(f"{inventory.path}: {vocabulary.slot_problem}")
    rows = settle_names(read_new_rows(new_rows), vocabulary, change)
    new_ids = change.row_map.new_ids
    most = change.row_map.new_count - len(change.spare_ids)
    _check_given_rows(rows, vocabulary, len(change.words) or most, most)
    size = change.row_map.size
    words, known = word_changes(vocabulary, change), vocabulary.known_words
    ends = {one.layer: one.ends for one in words}
    slots = vocabulary.slots if optimizer == "keep" else ()
    sites = [*vocabulary.arrays, *slots]
    check_change(vocabulary, change, sites)
    check_named(inventory, vocabulary, change)
    config = [
        *(config_change(site, change, ends) for site in vocabulary.config),
        *(
            ConfigChange(path, None, ZEROS_INITIALIZER, _WHOLE_TABLE)
            for path in vocabulary.initializers
        ),
    ]
    plan = Plan(
        vocabulary=vocabulary.name,
        old_size=vocabulary.size,
        new_size=size,
        row_map=change.row_map,
        new_rows=rows,
        arrays=tuple(
            _array(site, change, _fill(site, vocabulary, change, rows))
            for site in sites
        ),
        config=tuple(c for c in config if c.old != c.new),
        words=tuple(w for w in words if is_changed(w, change.row_map)),
        tokens=dict(zip(change.words, new_ids.tolist(), strict=False)),
        optimizer=optimizer,
        left_alone=vocabulary.left_alone,
        notes=(
            *inventory.notes,
            *notes_on(vocabulary, change, rows),
            *_as_large(inventory, vocabulary),
        ),
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
        words_digest=_digest(known),
        made_of=inventory.state,
        old_words={**dict(enumerate(change.old_words)), **known},
    )
    check_rows(plan)
    return plan


def _as_large(inventory: Inventory, vocabulary: Vocabulary) -> Iterator[str]:
    """What to know of tables that may be of the same ids, and stay."""
    others = [v for v in inventory.vocabularies if v.size == vocabulary.size]
    others = [other for other in others if other is not vocabulary]
    for other in others[:1]:
        more = f" So have {len(others) - 1} more." if len(others) > 1 else ""
        place = f"{other.arrays[0].path}:{other.arrays[0].axis}"
        yield (
            f"Vocabulary {other.name!r} has {other.size} ids too, and stays as it is. "
            f"If they are the same ids, add --also {place} (also='{place}').{more}"
        )


def _digest(words: dict[int, str | int]) -> str | None:
    """What tells whether another file gives the same ids to the same words."""
    known = sorted(words.items())
    return sha256(json.dumps(known).encode()).hexdigest() if known else None


def _check_given_rows(
    rows: NewRows, vocabulary: Vocabulary, wanted: int, most: int
) -> None:
    if rows.rows is None:
        return
    tables = [site for site in vocabulary.arrays if _is_table(site)]
    looked_up = [site for site in tables if site.role != _ENCODING]
    dims = {site.real_shape[1] for site in looked_up or tables}
    count, dim = rows.rows.shape
    if not wanted <= count <= most or dims != {dim}:
        raise SurgeryError(
            f"new_rows: received rows of shape {rows.rows.shape}. Expected: "
            f"({wanted}, {', '.join(str(d) for d in sorted(dims))}), a row for each "
            "new id and a column for each of the table."
        )


def _is_table(site: ArraySite) -> bool:
    return site.axis == 0 and len(site.shape) == 2 and site.fill == "rows"


def _fill(
    site: ArraySite, vocabulary: Vocabulary, change: Change, rows: NewRows
) -> Any:
    """How new entries are made: zeros for padding, the mean beside rows of a table."""
    roles = {s.path: s.role for s in vocabulary.arrays}
    role = roles.get(site.like or site.path)
    if change.pad is not None and role == "embedding table":
        return site.fill if site.fill in ("scale", "zero") else 0.0
    has_table = any(_is_table(s) and s.role != _ENCODING for s in vocabulary.arrays)
    is_beside = rows.rows is not None and has_table and role == _ENCODING
    return "mean" if is_beside and site.fill == "rows" else site.fill


def _array(site: ArraySite, change: Change, fill: Any) -> ArrayChange:
    row_map, skips = change.row_map, site.skips
    if site.only_appends:
        skips = tuple(range(row_map.old_size - site.size))
    new_skips = np.flatnonzero(np.isin(row_map.ids, skips)).tolist() if skips else ()
    same = {field.name: getattr(site, field.name) for field in fields(ArrayOverIds)}
    made = ArrayChange(**same, new_shape=site.shape, new_skips=tuple(new_skips))
    return replace(made, skips=skips, fill=fill).sized(row_map)


def config_change(
    site: ConfigSite, change: Change, ends: Mapping[str, tuple[int, int]]
) -> ConfigChange:
    """What a change makes of a value of config.json.

    `ends` are the ids after the last word of each lookup, before and after.
    """
    row_map, pad, new = change.row_map, change.pad, site.value
    match site.follows:
        case "table" | "record":
            gone = np.setdiff1d(site.skips, row_map.ids)  # It did not count them.
            more = row_map.size - row_map.old_size + len(gone)
            new = site.value + site.times * more
        case "tokens":
            end, new_end = ends[site.lookup]
            new = site.value + new_end - end
        case "cap":
            end, new_end = ends[site.lookup]
            new = new_end if site.value == end else max(site.value, new_end)
        case "id" if not (change.unpads and site.path[-1] in PADDING):
            new = _new_id(site, row_map)
        case "first":
            new = _new_count(site, row_map)
        case "entries":
            new = _new_entries(site, change)
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
            f"{config_key(site.path)} names old id {site.value}, which goes to "
            f"{len(places)} new ids. Expected: one new id for it."
        )
    return int(places[0])


def _new_entries(site: ConfigSite, change: Change) -> Any:
    """The entries of the new ids, as a list or by their ids.

    Those that another plan took away are in the one that undoes it.
    """
    row_map, entry = change.row_map, site.default
    old = entries_at(site.value, range(row_map.old_size))
    is_there = change.undoes and entry is NO_ENTRY
    if row_map.new_count and not is_there and _kind(entry) not in map(_kind, old):
        received = "none" if entry is NO_ENTRY else shortly(entry)
        raise SurgeryError(
            f"{config_key(site.path)} has an entry for each id, as {shortly(old[0])}. "
            f"Expected: one like it for new ids, as also='NAME::KEY=ENTRY' (--also "
            f"NAME::KEY=ENTRY); received {received}."
        )
    new = [entry if id_ == NEW else old[id_] for id_ in row_map.ids.tolist()]
    return with_entries(site.value, new)


def _kind(entry: Any) -> Any:
    """What two entries have in common that can stand for each other."""
    if type(entry) in (int, float):
        return "a number" if abs(entry) < _LARGEST else "beyond all numbers"
    if isinstance(entry, list):
        return tuple(map(_kind, entry))
    if isinstance(entry, dict):
        return frozenset((key, _kind(one)) for key, one in entry.items())
    is_word = isinstance(entry, str) and unwritable(entry) is None
    return "a word" if is_word else type(entry)


def _new_count(site: ConfigSite, row_map: RowMap) -> int:
    new, old = row_map.kept
    places = new[old < site.value]
    if not np.array_equal(places, np.arange(len(places))):
        raise SurgeryError(
            f"{config_key(site.path)} counts the first {site.value} old ids, which "
            "would not be the first new ids. Expected: the kept ones at the front, in "
            "any order."
        )
    return len(places)


def word_changes(vocabulary: Vocabulary, change: Change) -> list[WordsChange]:
    """What a change makes of each list of words, changed or not."""
    masks = takes_mask_token(vocabulary, change)
    return [_words_change(site, change, masks) for site in vocabulary.words]


def _words_change(site: WordsSite, change: Change, masks: bool) -> WordsChange:
    # A list without the words for padding and unknown words gets none for padding.
    unlisted = masks and site.first_id > 0
    integer = site.has_integers
    spare = (spare_word(id_, integer=integer) for id_ in change.spare_ids)
    added = () if unlisted else (*change.words, *spare)
    kept = set(change.row_map.kept[1].tolist())
    removed = tuple(
        word
        for number, word in enumerate(site.words)
        if site.first_id + number not in kept
    )
    same = {field.name: getattr(site, field.name) for field in fields(ListedWords)}
    return WordsChange(
        **same,
        new_first_id=site.first_id + unlisted,
        count=len(site.words),
        new_count=len(site.words) - len(removed) + len(added),
        added=added,
        removed=removed,
    )


def is_changed(change: WordsChange, row_map: RowMap) -> bool:
    """Whether a list of words becomes another one."""
    if change.added or change.removed or change.new_first_id != change.first_id:
        return True
    first, end = change.first_id, change.first_id + change.count
    return not np.array_equal(row_map.ids[first:end], np.arange(first, end))
