"""Asks about numbers that may count the ids, and that nothing in the file follows."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from keras_padsafe.facts.operations import MOVES_IDS, SELECTS_IDS
from keras_padsafe.saved_model.config_path import ConfigPath, config_key, walk_values
from keras_padsafe.saved_model.graph import reached
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.explain_rest import own_values
from keras_padsafe.surgery.finding.id_sources import fed
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.unknown_layers import is_own_class
from keras_padsafe.surgery.finding.vocabulary import (
    Draft,
    doubt_of,
    how_near,
    near,
    settling,
)

_Numbers = Iterator[tuple[LayerNode, ConfigPath, int]]


def ask_about_numbers(model: ModelFile, asking: Asking, drafts: list[Draft]) -> None:
    """Adds to each vocabulary those that Keras can raise without any other change.

    They stand in classes of the user's own, or in what changes ids before a table.
    """
    counts = {place for draft in drafts for place in draft.numbers}
    for draft in drafts:
        known = {*counts, *(site.path for site in draft.config)}
        asked = {p: (layer, n) for layer, p, n in _own(model, draft, known)}
        for layer, place, value in _before_tables(draft, known):
            if value in near(draft.size, most=1):
                asked[place] = layer, value
            elif layer.is_operation and value < draft.size:
                draft.own_numbers.append((place, value))
        for place, (layer, value) in asked.items():
            claims, found = model.claims, asking.vary((place,))
            if claims.leaves(layer) or claims.leaves_number(place, model.root):
                continue
            if found.problem or found.changed or found.counters or found.outputs:
                continue
            flag = f"{layer.name}::{asking.flag_key(place, layer)}"
            problem = (
                f"holds {config_key(place)}={value}, {how_near(value, draft.size)}, "
                "and nothing in the file follows it, so nothing shows whether it "
                "counts them"
            )
            doubt = doubt_of(layer, problem, settling(flag, flag))
            draft.unexplained.append(replace(doubt, counts=True))


def _own(model: ModelFile, draft: Draft, known: Collection[ConfigPath]) -> _Numbers:
    """Those of the user's own classes that are as large as the vocabulary."""
    for layer in filter(is_own_class, model.layers):
        for key, held in layer.config.items():
            for place, value in own_values(held, (*layer.path, "config", key), known):
                if type(value) is int and value == draft.size:
                    yield layer, place, value


def _before_tables(draft: Draft, known: Collection[ConfigPath]) -> _Numbers:
    """Those of what changes ids on their way, which may name one as well."""
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
                if type(value) is int and place not in known:
                    yield layer, place, value


def _is_no_tensor(value: Any) -> bool:
    is_dict = isinstance(value, dict)
    return not (is_dict and value.get("class_name") == "__keras_tensor__")
