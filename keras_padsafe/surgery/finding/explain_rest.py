"""Accounts for every other array with an axis of the vocabulary's size."""

from collections.abc import Collection
from typing import Any, NamedTuple

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.recorded_calls import held_value
from keras_padsafe.saved_model.word_lists import words_in
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.counting_numbers import equal_numbers
from keras_padsafe.surgery.finding.doubt import (
    IN_KERAS,
    Doubt,
    adding,
    doubt_of,
    leaving,
    settling,
)
from keras_padsafe.surgery.finding.heads import head_of
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.quantised import is_quantised
from keras_padsafe.surgery.finding.shown_tables import unbuilt
from keras_padsafe.surgery.finding.unknown_layers import is_imported_unasked
from keras_padsafe.surgery.finding.vocabulary import Draft, LeftAlone


class _Counted(NamedTuple):
    """Entries of an array that a number counts: `each` of them for one."""

    place: ConfigPath
    axis: int
    each: int


def explain_rest(model: ModelFile, vocabularies: list[Draft]) -> None:
    """Lists the arrays left alone with the reason, and those without one.

    What is bound to any of the vocabularies is explained.
    """
    bound = {site.path for other in vocabularies for site in other.arrays}
    rest: dict[int, list[tuple[LayerNode, StoredArray]]] = {}
    for layer, array in model.arrays:
        for size in set(array.shape) if array.path not in bound else ():
            rest.setdefault(size, []).append((layer, array))
    constants = _constants(model)
    for vocabulary in vocabularies:
        size = vocabulary.size
        _explain(model, vocabulary, rest.get(size, []), bound)
        held = (_held(call, shape, size) for call, shape in constants.get(size, ()))
        vocabulary.unexplained += held
        _refuse_quantised(vocabulary)


def _explain(
    model: ModelFile,
    vocabulary: Draft,
    rest: list[tuple[LayerNode, StoredArray]],
    bound: Collection[str],
) -> None:
    """Sorts the arrays that have an axis of the vocabulary's size.

    Units that a number of that size counts are asked about, however many they are.
    """
    units = _unread_units(model, vocabulary)
    asked = {found.place for found in vocabulary.unexplained}
    asking, unbound = model.asking, units.keys() - bound
    vocabulary.unexplained += [
        _unread(asking, layer, array, units[array.path], vocabulary)
        for layer, array in (model.arrays if unbound else ())
        if asking and array.path in unbound and layer.name not in asked
        if not model.claims.leaves(layer, array.path)
    ]
    for layer, array in rest:
        if layer.name in asked and layer.is_stock:
            continue
        if array.path in units and not model.claims.leaves(layer, array.path):
            continue
        reason = _reason(layer, array, model, vocabulary)
        if reason is not None:
            left = LeftAlone(array.path, array.shape, reason)
            vocabulary.left_alone.append(left)
            continue
        if model.asking and model.asking.lacks(array.path):
            vocabulary.unexplained.append(unbuilt(model.asking, array.path))
            continue
        axis = array.shape.index(vocabulary.size)
        place = layer.name if len(layer.arrays) == 1 else array.path
        vocabulary.unexplained.append(
            Doubt(
                array.path,
                f"array {array.path} of shape {array.shape} in layer {layer.name!r} "
                f"of class {layer.key} has an axis of {vocabulary.size}, and no rule "
                "says what that axis is",
                settling(place, f"{place}:{axis}"),
            )
        )


def _constants(model: ModelFile) -> dict[int, list[tuple[Call, tuple[int, ...]]]]:
    """Arrays that operations hold, by the sizes of their axes."""
    found: dict[int, list[tuple[Call, tuple[int, ...]]]] = {}
    for call in model.graph.calls:
        for value in call.arguments.values():
            shape = _constant_shape(value)
            for size in set(shape):
                if not model.claims.leaves(call.layer):
                    found.setdefault(size, []).append((call, shape))
    return found


def _held(call: Call, shape: tuple[int, ...], size: int) -> Doubt:
    """An array that may be what a weight was when the model was made."""
    return doubt_of(
        call.layer,
        f"holds an array of shape {shape} in config.json, and {size} of its numbers "
        "may belong to the ids",
        f"{leaving(call.layer.name)} if they do not. If they do, build the model "
        "with a layer that holds them, and load the weights into it",
    )


def _constant_shape(value: Any) -> tuple[int, ...]:
    value, shape = held_value(value), list[int]()
    while isinstance(value, list) and value:
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _unread_units(model: ModelFile, vocabulary: Draft) -> dict[str, _Counted]:
    """Arrays whose entries another number counts, as large as the vocabulary.

    A width of the model moves the inputs of some layer too; units that score ids, or
    classes, move nothing but themselves.
    """
    asking = model.asking
    if asking is None or not vocabulary.numbers:
        return {}
    units: dict[str, _Counted] = {}
    for place in equal_numbers(asking, vocabulary.size):
        # KerasHub's own models name classes and ids apart.
        if place in vocabulary.numbers or is_imported_unasked(
            next(model.around(place))
        ):
            continue
        found = asking.vary((place,)).units()
        for path, (axis, each) in found.items():
            rank = len(asking.skeleton.shapes[path])
            if rank > 1 and path not in asking.unlike:
                units.setdefault(path, _Counted(place, axis, each))
    return units


def _unread(
    asking: Asking,
    layer: LayerNode,
    array: StoredArray,
    its: _Counted,
    vocabulary: Draft,
) -> Doubt:
    place, axis, each = its
    is_list = words_in(asking.value(place)) is not None
    key = "" if is_list else f":{asking.flag_key(place, layer)}"
    are_units = axis == len(array.shape) - 1
    what = "units" if are_units else f"entries along axis {axis}"
    may_be = "they may be scores of the ids, or classes"
    counted = f"counted by {config_key(place)}"
    if each > 1:
        counted += f", {each} for each"
    elif array.shape[axis] != vocabulary.size:
        counted += f", which is {vocabulary.size},"
    remedy = (
        f"{adding(f'{array.path}:{axis}{key}')} if they belong to the "
        f"ids, --leave {array.path} (leave='{array.path}') if not"
        if each == 1
        else f"{leaving(array.path)} if they do not belong to the ids. If they do, it "
        "cannot be grown in the file"
    )
    return Doubt(
        array.path,
        f"array {array.path} of shape {array.shape} has {array.shape[axis]} {what}, "
        f"{counted} and read by no other array: "
        f"{may_be if are_units else 'they may belong to the ids'}",
        remedy,
    )


def _reason(
    layer: LayerNode, array: StoredArray, model: ModelFile, vocabulary: Draft
) -> str | None:
    if model.claims.leaves(layer, array.path):
        return "left alone as asked"
    if is_quantised(layer):
        return "part of how the weights of its layer are quantised"
    if layer.is_stock and layer.name not in vocabulary.layers:
        head = head_of(layer)
        if head is not None and head.size == vocabulary.size:
            return "taken for hidden units, and not for scores of the ids"
        return f"class {layer.key.replace('>', '.')}: not a number of ids"
    if model.asking is not None and array.path not in model.asking.unlike:
        keys = ", ".join(config_key(place) for place in vocabulary.numbers)
        return f"shown: it does not follow {keys}"
    return None


def _refuse_quantised(vocabulary: Draft) -> None:
    for site in vocabulary.arrays:
        is_made = site.quantised is not None or site.fill in ("scale", "zero")
        if is_made or site.dtype.startswith(("float", "bfloat")):
            continue
        problem = (
            f"array {site.path} is quantised ({site.dtype}), and its numbers "
            "cannot be assigned to ids: ids share scales, or the form of the "
            "scales is not known"
        )
        remedy = "Grow the model before it is quantised"
        of_new = not site.dtype.startswith(("int4", "int8"))
        if of_new:
            problem = (
                f"array {site.path} has a value of type {site.dtype} for each id, and "
                "it is not known what that of a new id is"
            )
            remedy = IN_KERAS
        doubt = Doubt(site.path, problem, remedy, of_new=of_new)
        vocabulary.unexplained.append(doubt)
