"""Words whose ids a TextVectorization can never give: told by the layer itself."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp

from .reference import save
from .zoo import DIM

pytest.importorskip("tensorflow")  # Keras computes lookups with it

TOKENS = ["zebra", "Zebra", "Éclair", "New York", "ok!", "é", "x", "---"]
RULES: list[dict[str, Any]] = [
    {},
    {"standardize": None},
    {"standardize": "lower"},
    {"standardize": "strip_punctuation", "split": None},
    {"standardize": None, "split": "character"},
    {"ngrams": 2, "standardize": "lower"},
]


def _build(rule: dict[str, Any]) -> keras.Model:
    text = layers.TextVectorization(name="text", output_sequence_length=4, **rule)
    text.set_vocabulary(["ant", "bee"])
    x = keras.Input((1,), dtype="string", name="sentence")
    return keras.Model(x, layers.Embedding(4, DIM + 1)(text(x)))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_note_names_what_the_layer_never_gives(
    rule: dict[str, Any], tmp_path: Path
) -> None:
    """A word is named if and only if the layer, given it, does not give its id."""
    source = tmp_path / "old.keras"
    save(lambda _: _build(rule), 4, source)
    for token in TOKENS:
        plan = kp.surgery.plan(source, tokens=[token])
        layer = layers.TextVectorization(output_sequence_length=4, **rule)
        layer.set_vocabulary(["ant", "bee", token])
        given = np.asarray(layer([[token]])).ravel().tolist()
        named = [note for note in plan.notes if "will never give" in note]
        assert bool(named) == (plan.tokens[token] not in given), (token, named)
        assert all(repr(token) in note for note in named)


def test_note_counts_many_and_says_why(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(lambda _: _build({}), 4, source)
    plan = kp.surgery.plan(source, tokens=["Ant", "New York", "ok!", "Bee", "zebra"])
    assert plan.notes == (
        "TextVectorization 'text' will never give the ids of 4 of the new words: "
        "'Ant' becomes 'ant' by standardize='lower_and_strip_punctuation'; 'New York' "
        "becomes 'new york' by standardize='lower_and_strip_punctuation'; 'ok!' "
        "becomes 'ok' by standardize='lower_and_strip_punctuation'; and 1 more. Add "
        "them in the form that the layer produces.",
    )


def test_no_note_where_the_rule_is_not_known(tmp_path: Path) -> None:
    source, other = tmp_path / "old.keras", tmp_path / "new"
    save(lambda _: _build({}), 4, source)
    with zipfile.ZipFile(source) as archive:
        archive.extractall(other)
    config = json.loads((other / "config.json").read_text())
    text = config["config"]["layers"][1]["config"]
    text["standardize"] = {"class_name": "function", "config": "own"}
    (other / "config.json").write_text(json.dumps(config))
    assert kp.surgery.plan(other, tokens=["Zebra"]).notes == ()
