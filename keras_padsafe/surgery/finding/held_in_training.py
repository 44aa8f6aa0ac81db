"""Finds what training alone runs and has for each id, so that no proof can show it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from keras_padsafe.facts.operations import (
    COUNT_UNITS,
    NAME_IDS,
    WEIGH_UNITS,
)
from keras_padsafe.facts.optimizer_layout import MOVES_ALL
from keras_padsafe.saved_model.config_path import (
    ConfigPath,
    config_key,
    is_object,
    lies_in,
    walk_values,
)
from keras_padsafe.saved_model.graph import reached
from keras_padsafe.saved_model.recorded_calls import held_value
from keras_padsafe.surgery.finding.doubt import (
    OF_EACH,
    Doubt,
    adding,
    leaving,
    near,
    settling_list,
)
from keras_padsafe.surgery.finding.logits import judges, passed_on
from keras_padsafe.surgery.finding.may_be_ids import entries_of, may_be_ids
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.training_objects import (
    TrainingObject,
    training_objects,
)
from keras_padsafe.surgery.finding.unknown_layers import is_own_class
from keras_padsafe.surgery.finding.vocabulary import Draft


def find_held_in_training(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds to each vocabulary those that hold a number or a list as large as it is.

    And those that may name an id, and what training would do to spare rows.
    """
    held: dict[int, list[tuple[TrainingObject, Any, ConfigPath]]] = {}
    placed = {
        place
        for output, place, _ in judges(model)
        if not any(
            model.without(call.layer) or is_own_class(call.layer)
            for call in reached([output], passed_on)
        )
    }
    named, groups = list[tuple[str, ConfigPath, Any]](), set[ConfigPath]()
    for one in training_objects(model.root):
        if one.name in model.claims.leave:
            continue
        of_output = lies_in(one.path, placed)
        base = (*one.path, "config")
        own = walk_values(one.config, base, lambda value: not is_object(value))
        for place, given in own:
            value = held_value(given) or given
            if model.leaves_number(place):
                continue
            names_id = not NAME_IDS.isdisjoint(place) and not of_output
            may_name = place != base and (names_id or not one.is_stock)
            if may_name and not lies_in(place, groups):
                named.append((_flag(one, place), place, given))
                groups |= {place} if entries_of(given, place) else set()
            size = None if place == base else _size(one, place, value, of_output)
            if size is None:
                continue
            if one.holder is not None and model.claims.leaves(one.holder):
                continue
            held.setdefault(size, []).append((one, given, place))
    moved = list(_moved_by_optimizer(model))
    for draft in drafts:
        if any(site.role == "head bias" for site in draft.arrays):
            draft.no_spare += moved
        known = {site.path for site in draft.config}
        known |= {site.config_path for site in draft.words if site.config_path}
        # A number of the user's own may count anything.
        far = {*near(draft.size)} - {*near(draft.size, most=1), *draft.counted}
        asked = [
            (one, value, place)
            for size in draft.near_sizes
            for one, value, place in held.get(size, ())
            if not lies_in(place, known)
            if one.is_stock or size not in far
        ]
        draft.unexplained += [_doubt(*one, draft) for one in asked]
        lists = known | {place for _, _, place in asked}
        found = (may_be_ids(*one, partial(lies_in, places=lists)) for one in named)
        draft.may_be_ids += filter(None, found)


def _doubt(one: TrainingObject, value: Any, place: ConfigPath, draft: Draft) -> Doubt:
    flag = _flag(one, place)
    what = f"{config_key(place)}={value}, which may count the ids"
    remedy = f"{adding(flag)} if it does. {leaving(flag)} if it does not, or if "
    remedy += "you replace it before you train"
    if isinstance(value, list | dict):
        what = f"{config_key(place)}, {OF_EACH}"
        remedy = settling_list(flag, value, draft.size)
    return Doubt(
        one.name,
        f"{one.class_name} {one.name!r} holds {what}. Only training runs it, so a "
        "proof could not show it",
        remedy,
    )


def _flag(one: TrainingObject, place: ConfigPath) -> str:
    """How a user names a number of it."""
    return f"{one.name}::{config_key(place[len(one.path) + 1 :])}"


def _moved_by_optimizer(model: ModelFile) -> Iterator[str]:
    """Why the optimizer would not leave the biases of spare rows alone, if so."""
    compiled = model.root.serialized.get("compile_config") or {}
    for _, one in walk_values(compiled.get("optimizer")):
        if isinstance(one, dict) and one.get("class_name") in MOVES_ALL:
            yield (
                f"{one['class_name']} does not move each bias by its own gradient "
                "alone, and that of a spare row is low beyond all others"
            )


def _size(
    one: TrainingObject, place: ConfigPath, value: Any, of_output: bool
) -> int | None:
    """How many ids a value may be for.

    Keras's own weigh units, and count those of an output that is not known.
    """
    counts = not one.is_stock or (place[-1] in COUNT_UNITS and not of_output)
    if isinstance(value, list | dict):
        listed = [*value.values()] if isinstance(value, dict) else value
        weigh = not one.is_stock or place[-1] in WEIGH_UNITS
        numbers = all(type(item) in (int, float) for item in listed)
        return len(listed) if weigh and (numbers or not one.is_stock) else None
    return value if type(value) is int and counts else None
