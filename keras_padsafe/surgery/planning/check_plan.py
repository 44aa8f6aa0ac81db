"""Checks a plan that may have been edited by hand, before anything is made of it."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.packages import SPECIAL, WHOLE
from keras_padsafe.facts.quantisation import RANGES
from keras_padsafe.saved_model.malformed import is_count, shortly
from keras_padsafe.surgery.finding.words import unwritable
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.new_rows import check_fits, read_new_rows
from keras_padsafe.surgery.planning.row_map import RowMap

if TYPE_CHECKING:
    from keras_padsafe.surgery.planning.plan import Plan


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
    for name, ids, expected in (
        ("pad", () if plan.pad is None else (plan.pad,), "a new id, or null"),
        ("spare_ids", plan.spare_ids, "new ids, in order"),
    ):
        known = _are_ids(ids, plan.new_size) and plan.row_map.makes(ids)
        _expect(known, name, expected, getattr(plan, name))
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
    for field in ("encoders", "also", "leave"):
        for name in getattr(plan, field):
            _expect(isinstance(name, str), field, "names", name)
    _expect(isinstance(plan.ask, bool), "ask", "true or false", plan.ask)
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
    change: ArrayChange,
    place: str,
    plan: "Plan",
    weights: Mapping[str, ArrayChange],
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
    _check_quantised(change, place)
    size = plan.old_size - len(change.skips)
    if change.starts:
        _check_starts(change, place, size)
    else:
        size = (size + 1) // 2 if change.is_packed else size
        expected = (*shape[:axis], size, *shape[axis + 1 :])
        _expect(shape == expected, f"{place}.shape", f"{expected}", shape)
    expected = change.sized(plan.row_map).new_shape
    given = change.new_shape
    _expect(given == expected, f"{place}.new_shape", f"{expected}", given)
    is_made_along = change.fill in ("scale", "zero")
    known = (
        change.fill in ("rows", "bias")
        or is_made_along
        or (
            isinstance(change.fill, int | float)
            and not isinstance(change.fill, bool)
            and math.isfinite(change.fill)
        )
    )
    expected = "'rows', 'bias', 'scale', 'zero' or a finite number"
    _expect(known, f"{place}.fill", expected, change.fill)
    if is_made_along:
        other = weights.get(change.like) if isinstance(change.like, str) else None
        made = other.quantised if other is not None else None
        known = made is not None and change.path in (made.scale, made.zero)
        expected = "the path of the array of the plan whose scales they are"
        _expect(known, f"{place}.like", expected, change.like)
    elif change.like is not None:
        _check_like(change, place, weights)


def _check_quantised(change: ArrayChange, place: str) -> None:
    made = change.quantised
    if made is None:
        return
    numbers = (made.length, made.block, 0 if made.packed is None else made.packed)
    known = (
        is_count(made.bits)
        and made.bits in RANGES
        and change.dtype == "int8"
        and all(is_count(number) for number in numbers)
        and isinstance(made.shared, bool)
        and all(isinstance(text, str) for text in (made.dtype, made.scale))
        and made.dtype in ("float16", "bfloat16", "float32", "float64")
        and (made.zero is None or isinstance(made.zero, str))
        and (made.zero is None) == (made.block == 0)
        and change.axis in (0, len(change.shape) - 1)
    )
    if known and made.packed is not None:
        shape = change.shape
        known = len(shape) == 2 and made.packed < 2
        known = known and shape[made.packed] == (made.length + 1) // 2
    _expect(known, f"{place}.quantised", "how its numbers stand for others", made)


def _check_starts(change: ArrayChange, place: str, size: int) -> None:
    """Stretches of `size` entries each lie within the axis, one after another."""
    starts, length = change.starts, change.real_shape[change.axis]
    known = all(is_count(start) for start in starts)
    ends = [0, *(start + size for start in starts)] if known else []
    known = known and all(a <= b for a, b in zip(ends, (*starts, length), strict=True))
    expected = f"where stretches of {size} begin on an axis of {length}"
    _expect(known, f"{place}.starts", expected, starts)


def _check_skips(change: ArrayChange, place: str, plan: "Plan") -> None:
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
    change: ArrayChange, place: str, weights: Mapping[str, ArrayChange]
) -> None:
    """The weight that a moving average follows has the same entries, but for some."""
    wanted = (change.axis, change.starts, _without(change.shape, change.axis))
    other = weights.get(change.like) if isinstance(change.like, str) else None
    known = (
        other is not None
        and (other.axis, other.starts, _without(other.shape, other.axis)) == wanted
    )
    expected = "the path of an array of the plan with that shape, or null"
    _expect(known, f"{place}.like", expected, change.like)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


PADDING = {"mask_zero": bool, "pad_id": int, "mask_token": str | int}
"""Keys that say what is padding, and what they hold."""


def _check_config(change: ConfigChange, place: str) -> None:
    _check_path(change.path, f"{place}.path")
    _expect(isinstance(change.reason, str), f"{place}.reason", "text", change.reason)
    key, both = change.path[-1], (change.old, change.new)
    if key in PADDING:
        fits = [value is None or isinstance(value, PADDING[key]) for value in both]
        expected = f"values of {key}"
        _expect(all(fits), f"{place}", expected, both)
        return
    if key in (WHOLE, SPECIAL):
        for name, value in (("old", change.old), ("new", change.new)):
            known = value is None or (
                isinstance(value, list) and all(isinstance(word, str) for word in value)
            )
            _expect(known, f"{place}.{name}", "a list of words, or null", value)
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


def _check_words(change: WordsChange, place: str) -> None:
    _expect(isinstance(change.layer, str), f"{place}.layer", "a name", change.layer)
    if change.config_path is not None:
        _check_path(change.config_path, f"{place}.config_path")
    if change.weights_path is not None:
        _check_path(change.weights_path, f"{place}.weights_path")
    known = isinstance(change.weight, int | float) and math.isfinite(change.weight)
    _expect(known, f"{place}.weight", "a finite number", change.weight)
    for name in ("assets", "added", "removed"):
        value = getattr(change, name)
        _expect(isinstance(value, tuple), f"{place}.{name}", "a list", value)
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
        dtype = change.quantised.dtype if change.quantised else change.dtype
        check_fits(given, change.path, dtype, change.fill)
    for ids in given.mix or ():
        known = all(is_count(id_) and id_ < plan.old_size for id_ in ids)
        _expect(known, "mix", f"old ids from 0 to {plan.old_size - 1}", ids)
    rows = given.rows
    if rows is None:
        return
    new = plan.row_map.new_count
    known = len(rows) <= new
    _expect(known, "rows", f"at most {new}, the number of new ids", f"{len(rows)} rows")
    for change in plan.arrays:
        if change.axis == 0 and change.fill == "rows":
            width = math.prod(change.real_shape[1:])
            expected = f"{width} numbers a row, as {change.path} has"
            _expect(rows.shape[1] == width, "rows", expected, rows.shape)
