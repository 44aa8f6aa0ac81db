"""Checks a plan that may have been edited by hand, before anything is made of it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_padsafe.arguments import Word
from keras_padsafe.facts.packages import SPECIAL, WHOLE
from keras_padsafe.facts.quantisation import RANGES
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.saved_model.row_map import NEW, RowMap
from keras_padsafe.saved_model.word_lists import entries_at, has_entries
from keras_padsafe.surgery.finding.sites import Quantised
from keras_padsafe.surgery.finding.words import unwritable
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.new_rows import check_fits, read_new_rows
from keras_padsafe.surgery.planning.read_as import expect, read_as

if TYPE_CHECKING:
    from keras_padsafe.surgery.planning.plan import Plan

ZEROS_INITIALIZER = {
    "module": "keras.initializers",
    "class_name": "Zeros",
    "config": {},
    "registered_name": None,
}
"""What takes the place of an initializer that held a whole table of the old shape."""
PADDING = {"mask_zero": bool, "pad_id": int, "mask_token": Word}
"""Keys that say what is padding, and what they hold."""
_HOLDS: dict[Any, Any] = {**PADDING, WHOLE: tuple[str, ...], SPECIAL: tuple[str, ...]}


def check_plan(plan: "Plan") -> None:
    """Refuses a plan whose parts contradict each other or are not what they must be."""
    plan = read_as(type(plan), plan, "")
    sizes = plan.row_map.old_size, plan.row_map.size
    for name, size in zip(("old_size", "new_size"), sizes, strict=True):
        given = getattr(plan, name)
        expect(given == size, name, f"{size}, as the row map has it", given)
    weights = {change.path: change for change in plan.arrays}
    for number, array in enumerate(plan.arrays):
        _check_array(array, f"arrays[{number}]", plan, weights)
    for number, value in enumerate(plan.config):
        _check_config(value, f"config[{number}]", plan.row_map)
    for number, words in enumerate(plan.words):
        _check_words(words, f"words[{number}]", tuple(plan.tokens))
    _check_once("arrays", [change.path for change in plan.arrays])
    _check_once("config", [change.path for change in plan.config])
    _check_once("words", [change.place for change in plan.words])
    first = plan.row_map.new_ids[: len(plan.tokens)].tolist()
    fits = list(plan.tokens.values()) == first
    expect(fits, "tokens", "words with the new ids, in order", plan.tokens)
    pads = () if plan.pad is None else (plan.pad,)
    for name, ids, expected in (
        ("pad", pads, "a new id, or null"),
        ("spare_ids", plan.spare_ids, "new ids, in order"),
    ):
        fits = _are_ids(ids, plan.new_size) and (plan.row_map.of(ids) == NEW).all()
        expect(bool(fits), name, expected, getattr(plan, name))
    fits = _are_ids(plan.old_spare_ids, plan.old_size)
    expect(fits, "old_spare_ids", "old ids, in order", plan.old_spare_ids)
    check_rows(plan)


def _check_array(
    change: ArrayChange,
    place: str,
    plan: "Plan",
    weights: Mapping[str, ArrayChange],
) -> None:
    shape, axis, how = change.shape, change.axis, change.quantised
    expect(axis < len(shape), f"{place}.axis", f"an axis of shape {shape}", axis)
    for name, size in (("skips", plan.old_size), ("new_skips", plan.new_size)):
        ids = getattr(change, name)
        expected = f"different ids from 0 to {size - 1}, in order"
        expect(_are_ids(ids, size), f"{place}.{name}", expected, ids)
    fits = plan.row_map.keeps_apart(change.skips, change.new_skips)
    expected = "the new ids of those in skips"
    expect(fits, f"{place}.new_skips", expected, change.new_skips)
    if how is not None:
        expected = "how its numbers stand for others"
        expect(_can_stand(how, change), f"{place}.quantised", expected, how)
    size = plan.old_size - len(change.skips)
    if change.starts:
        length = change.real_shape[axis]
        ends = [0, *(start + size for start in change.starts)]
        fits = all(a <= b for a, b in zip(ends, (*change.starts, length), strict=True))
        expected = f"where stretches of {size} begin on an axis of {length}"
        expect(fits, f"{place}.starts", expected, change.starts)
    else:
        size = (size + 1) // 2 if change.is_packed else size
        wanted = (*shape[:axis], size, *shape[axis + 1 :])
        expect(shape == wanted, f"{place}.shape", f"{wanted}", shape)
    wanted, given = change.sized(plan.row_map).new_shape, change.new_shape
    expect(given == wanted, f"{place}.new_shape", f"{wanted}", given)
    other = None if change.like is None else weights.get(change.like)
    if change.fill in ("scale", "zero"):
        made = None if other is None else other.quantised
        fits = made is not None and change.path in (made.scale, made.zero)
        expected = "the path of the array of the plan whose scales they are"
        expect(fits, f"{place}.like", expected, change.like)
    elif change.like is not None:
        # The weight that a moving average follows has the same entries, but for some.
        fits = other is not None and _beside_ids(other) == _beside_ids(change)
        expected = "the path of an array of the plan with that shape, or null"
        expect(fits, f"{place}.like", expected, change.like)


def _beside_ids(change: ArrayChange) -> tuple[Any, ...]:
    rest = change.shape[: change.axis] + change.shape[change.axis + 1 :]
    return change.axis, change.starts, rest


def _can_stand(how: Quantised, change: ArrayChange) -> bool:
    shape = change.shape
    fits = (
        how.bits in RANGES
        and change.dtype == "int8"
        and how.dtype in ("float16", "bfloat16", "float32", "float64")
        and (how.zero is None) == (how.block == 0)
        and change.axis in (0, len(shape) - 1)
    )
    if not fits or how.packed is None:
        return fits
    halves = (how.length + 1) // 2
    return len(shape) == 2 and how.packed < 2 and shape[how.packed] == halves


def _are_ids(ids: Sequence[int], size: int) -> bool:
    return all(id_ < size for id_ in ids) and list(ids) == sorted(set(ids))


def _check_config(change: ConfigChange, place: str, row_map: RowMap) -> None:
    _check_path(change.path, f"{place}.path")
    both = (change.old, row_map.old_size), (change.new, row_map.size)
    if all(has_entries(*one) for one in both):
        new, old = (ids.tolist() for ids in row_map.kept)
        fits = entries_at(change.new, new) == entries_at(change.old, old)
        expect(fits, f"{place}.new", "the old entries of kept ids", change.new)
        return
    key = change.path[-1]
    if key not in _HOLDS and change.old is None:
        fits = change.new == ZEROS_INITIALIZER and str(key).endswith("_initializer")
        expected = "an initializer of zeros in place of an initializer"
        expect(fits, place, expected, (key, change.new))
        return
    kind = _HOLDS[key] | None if key in _HOLDS else int
    read_as(kind, change.old, f"{place}.old")
    read_as(kind, change.new, f"{place}.new")


def _check_path(path: Sequence[str | int], place: str) -> None:
    fits = bool(path) and all(isinstance(key, str) or is_count(key) for key in path)
    expect(fits, place, "the keys that lead to a value of config.json", path)


def _check_words(change: WordsChange, place: str, tokens: tuple[Word, ...]) -> None:
    for name in ("config_path", "weights_path"):
        if (path := getattr(change, name)) is not None:
            _check_path(path, f"{place}.{name}")
    for name in ("added", "removed"):
        for word in getattr(change, name):
            fits = unwritable(str(word)) is None
            expect(fits, f"{place}.{name}", "words that fit on one line", word)
    fits = change.added[: len(tokens)] in ((), tokens)
    expect(fits, f"{place}.added", "the words of tokens first", change.added)
    total = change.count - len(change.removed) + len(change.added)
    expect(
        change.new_count == total, f"{place}.new_count", f"{total}", change.new_count
    )


def _check_once(place: str, keys: list[Any]) -> None:
    doubled = next((key for key, count in Counter(keys).items() if count > 1), None)
    expect(doubled is None, place, "each place once", doubled)


def check_rows(plan: "Plan") -> None:
    """Refuses rows that do not fit each array whose axis of ids is the first."""
    given = read_new_rows(plan.new_rows)
    for change in plan.arrays:
        dtype = change.quantised.dtype if change.quantised else change.dtype
        check_fits(given, change.path, dtype, change.fill)
    for ids in given.mix or ():
        fits = all(id_ < plan.old_size for id_ in ids)
        expect(fits, "mix", f"old ids from 0 to {plan.old_size - 1}", ids)
    if given.rows is None:
        return
    (count, width), new = given.rows.shape, plan.row_map.new_count
    expected = f"at most {new}, the number of new ids"
    expect(count <= new, "rows", expected, f"{count} rows")
    for change in plan.arrays:
        if change.takes_rows:
            needed = math.prod(change.real_shape[1:])
            expected = f"{needed} numbers a row, as {change.path} has"
            expect(width == needed, "rows", expected, given.rows.shape)
