"""Refuses changes that a vocabulary cannot take, or of which something is not known."""

import numpy as np

from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.saved_model.row_map import RowMap
from keras_padsafe.surgery.finding.inventory import Inventory
from keras_padsafe.surgery.finding.may_be_ids import MayBeIds
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.changes import Change


def check_change(
    vocabulary: Vocabulary, change: Change, sites: list[ArraySite]
) -> None:
    """Refuses a change that something bound to the vocabulary cannot follow."""
    problem = None if change.pad is None else _no_padding(vocabulary, change)
    if problem:
        raise SurgeryError(f"pad: {problem}")
    _check_promised(vocabulary, change)
    if not change.unpads and not takes_mask_token(vocabulary, change):
        _check_fixed(vocabulary, change)
    _check_words_once(vocabulary, change)
    _check_pad_ids(vocabulary, change)
    _check_appends(vocabulary, change, sites)
    _check_tokenizers(vocabulary, change)


def check_settled(
    inventory: Inventory, vocabulary: Vocabulary, row_map: RowMap | None = None
) -> None:
    """Refuses a vocabulary of which something is not known.

    What only counts its ids does not matter where it keeps its size, and what only
    concerns new ids where there are none.

    Raises:
        AmbiguousVocabularyError: listing what has to be settled by the user first.
    """
    resizes = row_map is None or row_map.size != row_map.old_size
    adds = row_map is None or row_map.new_count > 0
    doubts = [
        doubt
        for doubt in vocabulary.unexplained
        if (resizes or not doubt.counts) and (adds or not doubt.of_new)
    ]
    if doubts:
        listed = "\n".join(f"  - {item}" for item in doubts)
        can_decide = any("--" in item.remedy for item in doubts)
        ask = "Please decide each point" if can_decide else "What stands in the way"
        raise AmbiguousVocabularyError(
            f"{inventory.path}: it is not known what belongs to vocabulary "
            f"{vocabulary.name!r}, and nothing is guessed. {ask}:\n{listed}"
        )


def fixed_ids(vocabulary: Vocabulary) -> list[int]:
    """Ids whose numbers no configuration can change: padding and unknown words."""
    fixed = {0} if vocabulary.masks_zero else set()
    for site in vocabulary.words:
        fixed |= set(range(site.first_real))
    return sorted(id_ for id_ in fixed if 0 <= id_ < vocabulary.size)


def takes_mask_token(vocabulary: Vocabulary, change: Change) -> bool:
    """Whether lookup layers call the padding by a word of its own, which has id 0."""
    return change.pad == 0 and any(s.class_name in LOOKUPS for s in vocabulary.words)


def _no_padding(vocabulary: Vocabulary, change: Change) -> str | None:
    """Why the tables or the lookups cannot be told what is padding."""
    name = vocabulary.name
    follows = [site.follows for site in vocabulary.config]
    if vocabulary.pad_ids:
        return (
            f"id {vocabulary.pad_ids[0]} of vocabulary {name!r} already means "
            "padding. Expected: a vocabulary without padding."
        )
    if vocabulary.maskless:
        return (
            f"table {vocabulary.maskless[0]!r} of vocabulary {name!r} has no "
            "configuration key that says what is padding. Grow without pad, and mask "
            "the new id in its class."
        )
    if {"mask_zero", "pad_id"} <= set(follows):
        return (
            f"some tables of vocabulary {name!r} name a pad id, and others can mask id "
            "0 only. Expected: tables of one class."
        )
    if change.pad != 0 and "mask_zero" in follows:
        return (
            f"the table of vocabulary {name!r} can mask only id 0, and the new id is "
            f"{change.pad}. Expected: at=0 (--at 0)."
        )
    lookups = [site for site in vocabulary.words if site.class_name in LOOKUPS]
    if change.pad != 0 or not lookups:
        return None
    free = [
        s for s in vocabulary.config if s.follows == "mask_token" and s.value is None
    ]
    if len(free) < len({site.layer for site in lookups}):
        return (
            f"{lookups[0].class_name} {lookups[0].layer!r} already gives id 0 to "
            "padding, but the table does not mask it. Expected: a table with "
            "mask_zero=True. Set it in Keras; no new id is needed."
        )
    return None


def _check_promised(vocabulary: Vocabulary, change: Change) -> None:
    """Refuses spare rows where a head would give them probability."""
    if not change.spare_ids:
        return
    groups = {
        site.path.rpartition("/")[0]
        for site in vocabulary.arrays
        if site.role == "head bias"
    }
    bare = [
        f"{site.path} scores the ids without a bias"
        for site in vocabulary.arrays
        if site.role == "head kernel" and site.path.rpartition("/")[0] not in groups
    ]
    reasons = [*vocabulary.no_spare, *bare]
    if reasons:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: {reasons[0]}, so spare rows would "
            "change its answers. Expected: a head with a bias for each id, which its "
            "own gradient alone moves. Build it so in Keras (a bias of zeros changes "
            "no answer), or grow without capacity and evict nothing."
        )


def check_named(inventory: Inventory, vocabulary: Vocabulary, change: Change) -> None:
    """Refuses to move an id that a number of config.json may name.

    It names none if Keras shows that something follows it, or cannot build the model
    with a larger one, with more ids either.
    """
    row_map, asking = change.row_map, inventory.asking

    def counts(one: MayBeIds) -> bool:
        if asking is None or one.place[0] == "compile_config":
            return False
        places = [place for place, _ in one.entries]
        found = asking.vary(places)
        if found.problem and vocabulary.numbers:
            return asking.vary([*vocabulary.numbers, *places]).problem is not None
        return found.shows

    moved = [
        one
        for one in vocabulary.may_be_ids
        if max(one.ids) < vocabulary.size  # A head may be the table itself.
        if any(id_ >= row_map.size or row_map.ids[id_] != id_ for id_ in one.ids)
        if not counts(one)
    ]
    if moved:
        listed = "\n".join(
            f"  - {config_key(one.place)}={_told(one)}: --also {one.flag}:id if it "
            f"names ids, --leave {one.flag} if not, or if you set it anew in Keras"
            for one in moved
        )
        raise AmbiguousVocabularyError(
            f"Vocabulary {vocabulary.name!r}: ids would move or go, and numbers of the "
            f"model may name them. Please decide each:\n{listed}"
        )


def _told(one: MayBeIds) -> str:
    is_alone = one.entries[0][0] == one.place
    return shortly(one.ids[0] if is_alone else one.ids)


def _check_fixed(vocabulary: Vocabulary, change: Change) -> None:
    """Refuses to move an id that a layer knows by its number."""
    ids = change.row_map.ids
    moved = [id_ for id_ in fixed_ids(vocabulary) if id_ >= len(ids) or ids[id_] != id_]
    if moved:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: id {moved[0]} would move, but a layer "
            "uses its number for padding or unknown words. Expected: ids "
            f"{fixed_ids(vocabulary)} where they are."
        )


def _check_words_once(vocabulary: Vocabulary, change: Change) -> None:
    """A lookup layer gives each word one id, so no id with a word can be doubled."""
    new, old = change.row_map.kept
    counts = np.bincount(old, minlength=vocabulary.size)
    for site in vocabulary.words:
        doubled = site.first_id + np.flatnonzero(counts[site.first_id : site.end] > 1)
        if doubled.size:
            id_ = int(doubled[0])
            word = site.words[id_ - site.first_id]
            raise SurgeryError(
                f"row_map: old id {id_} goes to new ids {new[old == id_].tolist()}, "
                f"and {site.class_name} {site.layer!r} has its word {word!r} once. "
                "Expected: each id that has a word once, or -1 for a new row."
            )


def _check_pad_ids(vocabulary: Vocabulary, change: Change) -> None:
    """Refuses to make a row for an id that meant padding and read no row."""
    size = change.row_map.size
    taken = [id_ for id_ in vocabulary.pad_ids if vocabulary.size <= id_ < size]
    if taken:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: id {taken[0]} means padding and has no "
            f"row. With {size} ids, it would get the row of a word. Expected: a pad id "
            "outside the new table, such as -1. Set `pad_id` in Keras, save, and "
            "then grow."
        )


def _check_appends(
    vocabulary: Vocabulary, change: Change, sites: list[ArraySite]
) -> None:
    """Refuses to move ids where an array does not say which of them it has."""
    short = next((site for site in sites if site.only_appends), None)
    row_map = change.row_map
    appends = row_map.is_append or (change.undoes and row_map.inverse().is_append)
    if short is not None and not appends:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: array {short.path} has {short.size} "
            f"entries for {vocabulary.size} ids, and the file does not say which "
            "entry belongs to which id. Expected: new ids at the end, and every old "
            f"id kept; or also='{short.path}:{short.axis}::IDS' (--also ...) with the "
            "ids that have no entry there."
        )


def _check_tokenizers(vocabulary: Vocabulary, change: Change) -> None:
    """Refuses to move the ids of words that a tokenizer could not give others."""
    row_map = change.row_map
    fixed = [
        *((f"{name}, so", vocabulary.size) for name in vocabulary.closed_words),
        *((f"{s.layer!r}:", s.end) for s in vocabulary.words if s.only_appends),
    ]
    for layer, last in fixed:
        end = min(last, row_map.size) if change.undoes else last
        if not np.array_equal(row_map.ids[:end], np.arange(end)):
            raise SurgeryError(
                f"Vocabulary {vocabulary.name!r}: old ids would move or disappear, but "
                f"words would still be given them: {layer} its words keep their ids. "
                "Expected: every id kept, and new ones at the end. If you change its "
                "words yourself, pass its name as leave=NAME (--leave NAME)."
            )
