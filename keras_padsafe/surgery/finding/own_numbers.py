"""Numbers and lists that may be of the ids, though nothing in the file follows them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from keras_padsafe.facts.operations import MOVES_IDS, SELECTS_IDS
from keras_padsafe.saved_model.config_path import (
    ConfigPath,
    config_key,
    is_object,
    lies_in,
    value_at,
    walk_values,
)
from keras_padsafe.saved_model.graph import reached
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.saved_model.recorded_calls import held_value
from keras_padsafe.saved_model.word_lists import words_in
from keras_padsafe.surgery.finding.counting_numbers import is_count_key
from keras_padsafe.surgery.finding.doubt import (
    OF_EACH,
    Doubt,
    adding,
    doubt_of,
    how_near,
    near,
    settling,
    settling_list,
)
from keras_padsafe.surgery.finding.id_sources import fed
from keras_padsafe.surgery.finding.may_be_ids import may_be_ids
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.training_objects import training_objects
from keras_padsafe.surgery.finding.unknown_layers import is_own_class
from keras_padsafe.surgery.finding.vocabulary import Draft

_NEARLY = 4  # Beside the rows of words there are some for padding and unknown ones.
_FEW = 16  # So many numbers in a list are rather data than counts.
_Values = Iterator[tuple[LayerNode, ConfigPath, Any]]


def look_at_own_numbers(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds to each vocabulary what may be its ids or words, and stays.

    What may count the ids is asked about, where Keras shows that it moves nothing else.
    """
    known = {site.path for draft in drafts for site in draft.config}
    known |= {s.config_path for d in drafts for s in d.words if s.config_path}
    names = Counter(layer.name for layer in model.layers)

    def settled(place: ConfigPath) -> bool:
        return place in known or model.leaves_number(place)

    for draft in drafts:
        lists, groups = set[ConfigPath](), set[ConfigPath]()
        doubtful = dict[ConfigPath, tuple[LayerNode, int]]()
        for layer, place, value in _of_own_classes(model, known):
            flag = _flag(layer, place, names)
            if lies_in(place, lists):
                continue
            given = value_at(model.root.serialized, place)  # Arrays may be held whole.
            is_list = isinstance(value, list | dict)
            if is_list and _has_one_for_each(value, draft.size):
                lists.add(place)
                if not model.leaves_number(place):
                    what = f"holds {config_key(place)}, {OF_EACH}"
                    remedy = settling_list(flag, given, draft.size)
                    draft.unexplained.append(doubt_of(layer, what, remedy))
                continue
            if is_count(value) and value in near(draft.size):
                doubtful[place] = layer, value
            if not lies_in(place, groups):
                found = may_be_ids(flag, place, given, settled)
                draft.may_be_ids += [found] if found else []
                groups |= {place} if found and is_list else set()
        for layer, place, value in _before_tables(draft, known):
            if is_count(value) and value in near(draft.size, most=1):
                doubtful[place] = layer, value
        for place, (layer, value) in doubtful.items():
            flag = _flag(layer, place, names)
            draft.unexplained += _asked(model, draft.size, layer, place, value, flag)


def _has_one_for_each(value: Any, size: int) -> bool:
    """Whether a list, or a dictionary, may have an entry for each id or word."""
    listed = words_in(value)
    if listed is not None and isinstance(listed.words[0], str):
        return size - _NEARLY <= len(value) <= size
    return len(value) in near(size)


def _flag(layer: LayerNode, place: ConfigPath, names: Mapping[str, int]) -> str:
    """How a user names a number: by its key in the layer, if that is but one."""
    base = (*layer.path, "config")
    is_own = names[layer.name] == 1 and place[: len(base)] == base
    return f"{layer.name}::{config_key(place[len(base) :] if is_own else place)}"


def _asked(
    model: ModelFile,
    size: int,
    layer: LayerNode,
    place: ConfigPath,
    value: int,
    flag: str,
) -> Iterator[Doubt]:
    asking = model.asking
    if asking is None or model.leaves_number(place):
        return
    found = asking.vary((place,))
    if found.shows:
        return
    why = "nothing in the file follows it"
    if found.problem:
        why = f"Keras builds nothing larger with it alone ({found.problem})"
    problem = (
        f"holds {config_key(place)}={value}, {how_near(value, size)}, and {why}, so "
        "nothing shows whether it counts them"
    )
    remedy = settling(flag, flag)
    if value < size:
        remedy = (
            f"{adding(flag)} if it does, --also {flag}:id if it names one of them, "
            f"--leave {flag} if neither"
        )
    yield replace(doubt_of(layer, problem, remedy), counts=True)


def _of_own_classes(model: ModelFile, known: Collection[ConfigPath]) -> _Values:
    in_training = {one.path for one in training_objects(model.root)}
    for layer in filter(is_own_class, model.layers):
        if layer.path in in_training:
            continue
        if model.asking is None and model.claims.leaves(layer):
            continue
        for key, held in layer.config.items():
            for place, value in _values(held, (*layer.path, "config", key), known):
                yield layer, place, value


def _values(
    value: Any, place: ConfigPath, known: Collection[ConfigPath]
) -> Iterator[tuple[ConfigPath, Any]]:
    """The values there, but for what is known, in a list of words, or in an object."""
    if place in known or not is_count_key(place[-1]):
        return
    if is_object(value):
        if (held := held_value(value)) is not None:
            yield place, held
        return
    yield place, value
    is_long = isinstance(value, list) or words_in(value) is not None
    if isinstance(value, dict | list) and not (is_long and len(value) > _FEW):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _values(inner, (*place, key), known)


def _before_tables(draft: Draft, known: Collection[ConfigPath]) -> _Values:
    """Those of what changes ids on their way to the tables."""
    for call in reached(fed(draft.calls), lambda call: call.inputs):
        layer = call.layer
        if layer.kind in MOVES_IDS | SELECTS_IDS:
            continue
        if not (layer.is_operation or is_own_class(layer)):
            continue
        held = [((*layer.path, "config"), layer.config)]
        held += [(call.places[key], value) for key, value in call.arguments.items()]
        for start, values in held:
            for place, value in walk_values(values, start, _is_no_tensor):
                if place not in known and place[-1] != "axis":
                    yield layer, place, value


def _is_no_tensor(value: Any) -> bool:
    return not (is_object(value) and value["class_name"] == "__keras_tensor__")
