"""Checks a plan that may have been edited by hand, before anything is made of it."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import is_count, shortly
from keras_padsafe.surgery.finding.words import unwritable
from keras_padsafe.surgery.planning.new_rows import check_fits, read_new_rows
from keras_padsafe.surgery.planning.row_map import RowMap

if TYPE_CHECKING:
    from keras_padsafe.surgery.planning.plan import (
        ArrayChange,
        ConfigChange,
        Plan,
        WordsChange,
    )


ZEROS_INITIALIZER = {
    "module": "keras.initializers",
    "class_name": "Zeros",
    "config": {},
    "registered_name": None,
}
"""What takes the place of an initializer that held a whole table of the old shape."""


def check_plan(plan: "Plan") -> None:
    """Refuses a plan whose parts contradict each other, or are not what they must be.

    Raises:
        SurgeryError: naming the part, what was expected and what was received.
    """
    _expect(isinstance(plan.vocabulary, str), "vocabulary", "a name", plan.vocabulary)
    known = isinstance(plan.row_map, RowMap)
    _expect(known, "row_map", "a RowMap", plan.row_map)
    sizes = plan.row_map.old_size, plan.row_map.size
    for name, size in zip(("old_size", "new_size"), sizes, strict=True):
        given = getattr(plan, name)
        known = is_count(given) and given == size
        _expect(known, name, f"{size}, as the row map has it", given)
    known = plan.optimizer in ("keep", "drop")
    _expect(known, "optimizer", "'keep' or 'drop'", plan.optimizer)
    weights = {c.path: c for c in plan.arrays if isinstance(c.path, str)}
    for number, change in enumerate(plan.arrays):
        _check_array(change, f"arrays[{number}]", plan, weights)
    for number, change in enumerate(plan.config):
        _check_config(change, f"config[{number}]")
    for number, change in enumerate(plan.words):
        _check_words(change, f"words[{number}]")
    _check_once("arrays", [change.path for change in plan.arrays])
    _check_once("config", [change.path for change in plan.config])
    _check_once("words", [change.layer for change in plan.words])
    for token, id_ in plan.tokens.items():
        known = _is_word(token) and is_count(id_) and id_ < plan.new_size
        _expect(known, "tokens", "words with ids of the new table", (token, id_))
    known = plan.pad is None or plan.pad in plan.row_map.new_ids.tolist()
    _expect(known, "pad", "a new id, or null", plan.pad)
    new = set(plan.row_map.new_ids.tolist()) if plan.spare_ids else set[int]()
    known = _are_ids(plan.spare_ids, plan.new_size) and new.issuperset(plan.spare_ids)
    _expect(known, "spare_ids", "new ids, in order", plan.spare_ids)
    known = _are_ids(plan.old_spare_ids, plan.old_size)
    _expect(known, "old_spare_ids", "old ids, in order", plan.old_spare_ids)
    for item in plan.left_alone:
        known = (
            isinstance(item, dict)
            and item.keys() == {"path", "shape", "reason"}
            and isinstance(item["path"], str)
            and isinstance(item["reason"], str)
            and isinstance(item["shape"], list | tuple)
            and all(is_count(dim) for dim in item["shape"])
        )
        _expect(known, "left_alone", "arrays with path, shape and reason", item)
    for note in plan.notes:
        _expect(isinstance(note, str), "notes", "texts", note)
    _check_rows(plan)


def _expect(fits: bool, place: str, expected: str, received: Any) -> None:
    if not fits:
        raise SurgeryError(
            f"plan: {place} is {shortly(received)}. Expected: {expected}. The plan was "
            "altered; make it again."
        )


def _check_array(
    change: "ArrayChange",
    place: str,
    plan: "Plan",
    weights: Mapping[str, "ArrayChange"],
) -> None:
    shape, axis = change.shape, change.axis
    for name in ("path", "dtype", "role", "reason"):
        value = getattr(change, name)
        _expect(isinstance(value, str), f"{place}.{name}", "text", value)
    known = bool(shape) and all(is_count(dim) for dim in shape)
    _expect(known, f"{place}.shape", "the dimensions of an array", shape)
    known = is_count(axis) and axis < len(shape)
    _expect(known, f"{place}.axis", f"an axis of shape {shape}", axis)
    _check_skips(change, place, plan)
    sizes = plan.old_size - len(change.skips), plan.new_size - len(change.new_skips)
    for name, size in zip(("shape", "new_shape"), sizes, strict=True):
        expected = (*shape[:axis], size, *shape[axis + 1 :])
        given = getattr(change, name)
        _expect(given == expected, f"{place}.{name}", f"{expected}", given)
    known = change.fill in ("rows", "bias") or (
        isinstance(change.fill, int | float)
        and not isinstance(change.fill, bool)
        and math.isfinite(change.fill)
    )
    _expect(known, f"{place}.fill", "'rows', 'bias' or a finite number", change.fill)
    if change.like is not None:
        _check_like(change, place, weights)


def _check_skips(change: "ArrayChange", place: str, plan: "Plan") -> None:
    sides = (("skips", plan.old_size), ("new_skips", plan.new_size))
    for name, size in sides:
        ids = getattr(change, name)
        known = _are_ids(ids, size)
        expected = f"different ids from 0 to {size - 1}, in order"
        _expect(known, f"{place}.{name}", expected, ids)
    if change.skips or change.new_skips:
        known = plan.row_map.keeps_apart(change.skips, change.new_skips)
        expected = "the new ids of those in skips"
        _expect(known, f"{place}.new_skips", expected, change.new_skips)


def _are_ids(ids: Any, size: int) -> bool:
    known = all(is_count(id_) and id_ < size for id_ in ids)
    return known and list(ids) == sorted(set(ids))


def _check_like(
    change: "ArrayChange", place: str, weights: Mapping[str, "ArrayChange"]
) -> None:
    """The weight that a moving average follows has the same entries, but for some."""
    wanted = (change.axis, _without(change.shape, change.axis))
    other = weights.get(change.like) if isinstance(change.like, str) else None
    known = (
        other is not None and (other.axis, _without(other.shape, other.axis)) == wanted
    )
    expected = "the path of an array of the plan with that shape, or null"
    _expect(known, f"{place}.like", expected, change.like)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


_PADDING = {"mask_zero": bool, "pad_id": int, "mask_token": str | int}
"""Keys that say what is padding, and what they hold."""


def _check_config(change: "ConfigChange", place: str) -> None:
    _check_path(change.path, f"{place}.path")
    _expect(isinstance(change.reason, str), f"{place}.reason", "text", change.reason)
    key, both = change.path[-1], (change.old, change.new)
    if key in _PADDING:
        fits = [value is None or isinstance(value, _PADDING[key]) for value in both]
        expected = f"values of {key}"
        _expect(all(fits), f"{place}", expected, both)
        return
    if change.old is None:
        known = change.new == ZEROS_INITIALIZER and str(change.path[-1]).endswith(
            "_initializer"
        )
        expected = "an initializer of zeros in place of an initializer"
        _expect(known, place, expected, (change.path[-1], change.new))
        return
    for name in ("old", "new"):
        value = getattr(change, name)
        expected = "a number that counts or names ids"
        _expect(is_count(value), f"{place}.{name}", expected, value)


def _check_path(path: Any, place: str) -> None:
    known = bool(path) and all(isinstance(key, str) or is_count(key) for key in path)
    _expect(known, place, "the keys that lead to a value of config.json", path)


def _check_words(change: "WordsChange", place: str) -> None:
    _expect(isinstance(change.layer, str), f"{place}.layer", "a name", change.layer)
    if change.config_path is not None:
        _check_path(change.config_path, f"{place}.config_path")
    known = all(isinstance(name, str) for name in change.assets)
    _expect(known, f"{place}.assets", "names of assets", change.assets)
    for name in ("first_id", "new_first_id", "count", "new_count"):
        value = getattr(change, name)
        _expect(is_count(value), f"{place}.{name}", "a number that counts", value)
    for name in ("added", "removed"):
        for word in getattr(change, name):
            known = _is_word(word) and unwritable(str(word)) is None
            _expect(known, f"{place}.{name}", "words that fit on one line", word)
    total = change.count - len(change.removed) + len(change.added)
    known = change.new_count == total
    _expect(known, f"{place}.new_count", f"{total}", change.new_count)


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _check_once(place: str, keys: list[Any]) -> None:
    doubled = next((key for key, count in Counter(keys).items() if count > 1), None)
    _expect(doubled is None, place, "each place once", doubled)


def _check_rows(plan: "Plan") -> None:
    """Rows written out must fit each array whose axis of ids is the first."""
    given = read_new_rows(plan.new_rows)
    for change in plan.arrays:
        check_fits(given, change.path, change.dtype, change.fill)
    for ids in given.mix or ():
        known = all(is_count(id_) and id_ < plan.old_size for id_ in ids)
        _expect(known, "mix", f"old ids from 0 to {plan.old_size - 1}", ids)
    rows = given.rows
    if rows is None:
        return
    new = len(plan.row_map.new_ids)
    known = len(rows) <= new
    _expect(known, "rows", f"at most {new}, the number of new ids", f"{len(rows)} rows")
    for change in plan.arrays:
        if change.axis == 0 and change.fill == "rows":
            width = math.prod(change.shape[1:])
            expected = f"{width} numbers a row, as {change.path} has"
            _expect(rows.shape[1] == width, "rows", expected, rows.shape)
