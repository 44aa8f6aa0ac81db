"""Compares a plan from elsewhere with what its file holds now."""

from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Any

from keras_padsafe.archive import Archive
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.spare_words import is_spare
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.inventory import read_inventory
from keras_padsafe.surgery.finding.sites import ArraySite, WordsSite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import check_new_words
from keras_padsafe.surgery.planning.build_plan import (
    check_appends,
    check_settled,
    check_tokenizers,
    config_change,
    is_changed,
    word_changes,
)
from keras_padsafe.surgery.planning.change import Change
from keras_padsafe.surgery.planning.changes import ArrayChange, WordsChange
from keras_padsafe.surgery.planning.check_plan import PADDING
from keras_padsafe.surgery.planning.choose_vocabulary import choose_vocabulary
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.reorder import unfixed
from keras_padsafe.surgery.planning.unfit import unfit
from keras_padsafe.surgery.transfer.transfer import check_arrays


def check_fit(plan: Plan, archive: Archive) -> Plan:
    """The plan, if it changes what one made here for the file would, and no more.

    What its maker said of the model (`also`, `leave`) is said again. Old ids, new rows
    and new words are the maker's choice; what belongs to the vocabulary is not.

    Returns:
        The plan, which needs a proof where one made here would.

    Raises:
        SurgeryError: naming the place that differs.
    """
    check_arrays(plan, archive)
    if plan.made_of == archive.state:
        return plan
    found = read_inventory(archive, plan.also, plan.leave, ask=plan.ask)
    vocabulary = choose_vocabulary(found, plan.vocabulary)
    check_settled(found, vocabulary)
    if vocabulary.slot_problem and plan.optimizer == "keep":
        raise SurgeryError(f"{archive.path}: {vocabulary.slot_problem}")
    slots = vocabulary.slots if plan.optimizer == "keep" else ()
    sites = [*vocabulary.arrays, *slots]
    short = {site.path for site in sites if site.only_appends}
    _expect_same(archive, _places(sites, short), _places(plan.arrays, short))
    check_appends(sites, plan.row_map)
    check_tokenizers(vocabulary, plan.row_map, may_cut=True)
    _check_words(plan, vocabulary, archive)
    _check_config(plan, vocabulary, archive)
    due = found.asked or plan.pad is not None or bool(vocabulary.read_by)
    return replace(plan, needs_proof=plan.needs_proof or due)


def _places(
    arrays: Iterable[ArraySite | ArrayChange], short: Container[str]
) -> dict[str, tuple[Any, ...]]:
    return {
        array.path: (
            f"axis {array.axis}",
            array.starts,
            () if array.path in short else array.skips,
            array.like,
            array.quantised,
        )
        for array in arrays
    }


def _check_words(plan: Plan, vocabulary: Vocabulary, archive: Archive) -> None:
    _expect_same(
        archive,
        {s.layer: _list(s, len(s.words)) for s in vocabulary.words},
        {c.layer: _list(c, c.count) for c in plan.words},
        may_lack=True,
    )
    spare = {"spare ids": vocabulary.spare_ids}
    _expect_same(archive, spare, {"spare ids": plan.old_spare_ids})
    made = word_changes(
        vocabulary,
        Change(plan.row_map, (*plan.tokens,), pad=plan.pad, spare_ids=plan.spare_ids),
    )
    if plan.tokens:
        _expect_same(
            archive,
            {c.layer: _words(c) for c in made if is_changed(c, plan.row_map)},
            {c.layer: _words(c) for c in plan.words},
        )
    by_layer = {change.layer: change for change in plan.words}
    ids = plan.row_map.ids
    for site, due in zip(vocabulary.words, made, strict=True):
        change = by_layer.get(site.layer)
        if change is None:
            stays = ids[site.first_id : site.end].tolist()
            if stays != list(range(site.first_id, site.end)):
                raise _differs(archive, site.layer, "other words", None)
            continue
        if change.removed != due.removed:
            raise _differs(archive, site.layer, due.removed, change.removed)
        check_new_words([w for w in change.added if not is_spare(w)], site)


def _words(change: WordsChange) -> tuple[Any, ...]:
    """What has to be the same; the weight of a word is that of another checkpoint."""
    return change.added, change.removed, change.new_first_id, change.new_count


def _list(words: WordsSite | WordsChange, count: int) -> tuple[Any, ...]:
    paths = (words.config_path, words.weights_path, words.assets)
    return (*paths, words.first_id, count)


def _check_config(plan: Plan, vocabulary: Vocabulary, archive: Archive) -> None:
    """A count follows its rows; what is padding may change in bound layers only."""
    pads = any(change.path[-1] in PADDING for change in plan.config)
    change = Change(plan.row_map, pad=plan.pad)
    if not pads:  # One that takes the padding away moves its id.
        unfixed(vocabulary, change)
    counted = {
        site.path: config_change(site, change, 0, vocabulary).new
        for site in vocabulary.config
        if site.follows in ("table", "record", "id", "first")
        if not (pads and site.path[-1] in PADDING)
    }
    free = {site.path for site in vocabulary.config} - counted.keys()
    free |= {*vocabulary.initializers} | _padding_keys(vocabulary, archive)
    received = {change.path: change.new for change in plan.config}
    old = {site.path: site.value for site in vocabulary.config}
    for path, new in received.items():
        if path not in counted and path not in free:
            raise _differs(archive, config_key(path), None, new)
    for path, new in counted.items():
        if received.get(path, old[path]) != new:
            raise _differs(archive, config_key(path), new, received.get(path))


def _padding_keys(vocabulary: Vocabulary, archive: Archive) -> set[ConfigPath]:
    bound = {*vocabulary.layers, *(site.layer for site in vocabulary.words)}
    return {
        (*layer.path, "config", key)
        for layer in read_layer_tree(archive).walk()
        if layer.name in bound
        for key in PADDING
    }


def _expect_same(
    archive: Archive,
    expected: dict[str, Any],
    received: dict[str, Any],
    *,
    may_lack: bool = False,
) -> None:
    for place in [*received, *(() if may_lack else expected)]:
        if received.get(place) != expected.get(place):
            raise _differs(archive, place, expected.get(place), received.get(place))


def _differs(
    archive: Archive, place: str, expected: Any, received: Any
) -> SurgeryError:
    return unfit(archive, place, _told(expected), _told(received))


def _told(value: Any) -> str:
    return "no change" if value is None else f"{value!r:.200}"
