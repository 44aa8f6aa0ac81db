"""Compares a plan from elsewhere with what its file holds now."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from keras_padsafe.archive import Archive
from keras_padsafe.facts.spare_words import is_spare
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.word_lists import has_entries
from keras_padsafe.surgery.finding.inventory import read_inventory
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import check_new_words
from keras_padsafe.surgery.planning.build_plan import (
    build_plan,
    config_change,
    is_changed,
    word_changes,
)
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    Change,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.check_plan import PADDING
from keras_padsafe.surgery.planning.choose_vocabulary import choose_vocabulary
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.unfit import unfit
from keras_padsafe.surgery.transfer.transfer import check_fits_arrays


def check_fit(plan: Plan, archive: Archive) -> Plan:
    """The plan, if it changes what one made here for the file would, and no more.

    What its maker said of the model (`also`, `leave`) is said again. Old ids, new rows
    and new words are the maker's choice; what belongs to the vocabulary is not. The
    plan needs a proof where one made here would.
    """
    check_fits_arrays(plan, archive)
    if plan.made_of == archive.state:
        return plan
    found = read_inventory(archive, plan.also, plan.leave, ask=plan.ask)
    vocabulary = choose_vocabulary(found, plan.vocabulary)
    change = Change(
        plan.row_map,
        (*plan.tokens,),
        pad=plan.pad,
        spare_ids=plan.spare_ids,
        undoes=True,
        unpads=any(one.path[-1] in PADDING for one in plan.config),
    )
    made = build_plan(
        found, vocabulary, change, new_rows=plan.new_rows, optimizer=plan.optimizer
    )
    _expect_same(archive, *(_places(one.arrays, change) for one in (made, plan)))
    spare = {"spare ids": made.old_spare_ids}
    _expect_same(archive, spare, {"spare ids": plan.old_spare_ids})
    goes_by_words = plan.new_rows.mix or not plan.row_map.is_append
    if goes_by_words and plan.words_digest not in (None, made.words_digest):
        raise unfit(archive, "words", "ids of other ones", "its own")
    words = word_changes(vocabulary, change)
    _check_words(plan, words, vocabulary, archive)
    _check_config(plan, [*made.config], words, vocabulary, change, archive)
    return replace(plan, needs_proof=plan.needs_proof or made.needs_proof)


def _places(arrays: Iterable[ArrayChange], change: Change) -> dict[str, str]:
    """What follows from the file for each array; a number in new entries does too.

    But 0, which stands in the place of means where padding comes back, and the weight
    of a word, which is that of another checkpoint.
    """
    makes = change.row_map.new_count

    def told(array: ArrayChange) -> str:
        is_number = not isinstance(array.fill, str) and array.role != "word weights"
        parts = {
            "axis": str(array.axis),
            "new entries": array.fill if makes and is_number else None,
            "stretches from": array.starts,
            "without": array.skips,
            "as": array.like,
            "quantised": array.quantised,
        }
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value)

    return {array.path: told(array) for array in arrays}


def _check_words(
    plan: Plan, made: list[WordsChange], vocabulary: Vocabulary, archive: Archive
) -> None:
    """Words that a plan brings back are in it alone; all else follows from the map.

    The weight of a word is that of another checkpoint.
    """
    due = {words.place: words for words in made}
    compared = ["config_path", "weights_path", "assets", "first_id", "count", "removed"]
    if plan.tokens:
        compared += ["added", "new_first_id", "new_count"]
    given = {words.place: words for words in plan.words}
    changed = {place for place in due if is_changed(due[place], plan.row_map)}
    told = "a change of words"
    missing, unknown = changed - given.keys(), given.keys() - due.keys()
    _expect_same(archive, dict.fromkeys(missing, told), dict.fromkeys(unknown, told))
    due, received = (
        {
            f"{place}, {name}": getattr(one[place], name)
            for place in given
            for name in compared
        }
        for one in (due, given)
    )
    _expect_same(archive, due, received)
    for site in vocabulary.words:
        if site.place in given:
            added = given[site.place].added
            check_new_words([word for word in added if not is_spare(word)], site)


def _check_config(
    plan: Plan,
    made: list[ConfigChange],
    words: list[WordsChange],
    vocabulary: Vocabulary,
    change: Change,
    archive: Archive,
) -> None:
    """Numbers follow from the row map, and those of words from the plan's words."""
    counts = {one.path: one for one in vocabulary.config if one.follows == "tokens"}
    ends = {one.layer: one.ends for one in [*words, *plan.words]}
    expected = [
        *(one for one in made if one.path not in counts),
        *(config_change(one, change, ends) for one in counts.values()),
    ]
    expected = [one for one in expected if one.old != one.new]
    free = _free_places(vocabulary, change)
    changes = [
        {config_key(one.path): one.new for one in config if one.path not in free}
        for config in (expected, plan.config)
    ]
    _expect_same(archive, *changes)
    given = {one.path: one.new for one in plan.config}
    for site in vocabulary.config:
        entries = given.get(site.path, site.value)
        if site.follows == "entries" and not has_entries(entries, plan.new_size):
            place, due = config_key(site.path), "an entry for each id"
            raise unfit(archive, place, f"{entries!r:.200}", due, "needs")


def _free_places(vocabulary: Vocabulary, change: Change) -> set[ConfigPath]:
    """Places of config.json that do not follow from the row map and the words alone.

    They are lists and caps of words, and what is padding in the bound layers.
    """
    follow = {
        site.path
        for site in vocabulary.config
        if site.follows in ("table", "record", "tokens", "id", "first")
        if not (change.unpads and site.path[-1] in PADDING)
    }
    known = {*vocabulary.initializers, *(s.path for s in vocabulary.config)}
    return known - follow


def _expect_same(
    archive: Archive, expected: dict[str, Any], received: dict[str, Any]
) -> None:
    for place in [*received, *expected]:
        due, given = (
            (one[place],) if place in one else () for one in (expected, received)
        )
        if given != due:
            raise unfit(archive, place, _told(given), _told(due), "needs")


def _told(change: tuple[Any, ...]) -> str:
    return f"{change[0]!r:.200}" if change else "no change"
