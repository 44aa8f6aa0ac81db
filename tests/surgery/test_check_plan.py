"""A plan edited by hand is carried out as it says, or refused; nothing in between."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery import Plan

from .reference import only_once, save
from .saved import Place
from .zoo import ADDED, DIM, SIZE, ids, table

pytestmark = only_once


def _build(size: int) -> keras.Model:
    x = ids()
    model = keras.Model(x, layers.Dense(size, name="head")(table(size)(x)))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "old.keras"
    save(_build, SIZE, path)
    return path


@pytest.fixture(scope="module")
def document(source: Path) -> dict[str, Any]:
    rows = np.ones((ADDED, DIM))
    return kp.surgery.plan(source, rows=ADDED, new_rows=rows).to_json()


EDITS: dict[str, tuple[Place, Any, str]] = {
    "axis_too_high": (("arrays", 0, "axis"), 9, r"arrays\[0\]\.axis is 9"),
    "axis_negative": (("arrays", 0, "axis"), -1, r"arrays\[0\]\.axis is -1"),
    "skips": (("arrays", 0, "skips"), [99], r"skips is \(99,\).* 0 to 12"),
    "like": (("arrays", 0, "like"), "nope", r"like is 'nope'"),
    "fill": (("arrays", 0, "fill"), "banana", r"fill is 'banana'.*'rows', 'bias'"),
    "fill_nan": (("arrays", 0, "fill"), float("nan"), r"fill is nan"),
    "new_shape": (
        ("arrays", 0, "new_shape"),
        "ab",
        r"new_shape is 'ab'. Expected: a list",
    ),
    "other_shape": (("arrays", 0, "new_shape"), [99, 4], r"new_shape is \(99, 4\)"),
    "map_of_triples": (("row_map",), [[0, 5, 6]], r"\[0, 5, 6\] is not understood"),
    "map_of_flags": (("row_map",), [[False, 13]], r"\[False, 13\] is not understood"),
    "map_of_none": (("row_map",), [], "at least one id"),
    "map_too_long": (("row_map",), [[0, 10**13]], "at most 268435456"),
    "map_of_new": (("row_map",), [[-1, 10**13]], "at most 268435456"),
    "map_text": (("row_map",), "ab", "not understood"),
    "map_of_many_new": (
        ("row_map",),
        [[0, 13], [-1, 1 << 28]],
        "at most 268435456|at most 8 for each",
    ),
    "digest": (("words_digest",), 5, "words_digest is 5. Expected: text"),
    "mix_unused": (("mix",), [[0]], "mix is .* null beside other"),
    "unknown_field": (("optimiser",), "drop", "optimiser is 'drop'. Expected: no such"),
    "class_name": (("config", 0, "new"), "Evil", "config.* is 'Evil'.*number"),
    "no_old": (("config", 0, "old"), None, "initializer of zeros"),
    "left_alone": (("left_alone",), [{"path": 5}], "left_alone is"),
    "left_alone_text": (("left_alone",), ["x"], "left_alone is"),
    "old_size": (("old_size",), 99, "old_size|shape"),
    "new_size": (("new_size",), 99, "new_size is 99. Expected: 16"),
    "optimizer": (("optimizer",), "zap", "optimizer is 'zap'"),
    "rows_flat": (("rows",), [1, 2], "expected a matrix of numbers"),
    "rows_texts": (("rows",), [["a"]], "expected a matrix of numbers"),
    "rows_ragged": (("rows",), [[1, 2], [1]], "all rows equally long"),
    "rows_nan": (("rows",), [[float("nan")] * DIM], "NaN"),
    "rows_narrow": (("rows",), [[1.0]], "4 numbers a row"),
    "rows_many": (("rows",), [[1.0] * DIM] * 9, "at most 3"),
    "rows_unused": (("new_rows",), "mean", "rows are given"),
    "kind": (("new_rows",), 5, "new_rows is 5"),
    "path": (("config", 0, "path"), [], r"config\[0\]\.path is \(\)"),
    "path_negative": (("config", 0, "path"), ["config", -1], r"config\[0\]\.path"),
    "tokens": (("tokens",), [["a", 99]], "tokens is"),
    "token": (("tokens",), [[["a"], 1]], "incomplete or altered"),
    "notes": (("notes",), [5], "notes is 5"),
    "pad": (("pad",), 3, "pad is 3. Expected: a new id"),
    "array": (("arrays", 0), 5, "incomplete or altered"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_is_refused(name: str, document: dict[str, Any]) -> None:
    place, value, message = EDITS[name]
    edited = copy.deepcopy(document)
    holder: Any = edited
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    with pytest.raises(SurgeryError, match=f"(?s){message}"):
        Plan.from_json(edited)


def test_array_named_twice(document: dict[str, Any]) -> None:
    edited = {**document, "arrays": [*document["arrays"], document["arrays"][0]]}
    with pytest.raises(SurgeryError, match="arrays is 'layers/embedding/vars/0'"):
        Plan.from_json(edited)


def _without(part: str, number: int) -> Callable[[dict[str, Any]], object]:
    return lambda document: document[part].pop(number)


def _with(part: str, **changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document[part].append({**document[part][0], **changes})


ELSEWHERE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a_place_that_is_none": (
        _with("config", path=["config", "layers", 99]),
        r"config\.layers\[99\]: the plan has 16, and the file needs no change",
    ),
    "another_number": (
        _with("config", path=["config", "layers", 1, "config", "output_dim"]),
        r"output_dim: the plan has 16, and the file needs no change",
    ),
    "a_count_of_its_own": (
        lambda document: document["config"][0].update(new=17),
        "the plan has 17, and the file needs 16",
    ),
    "padding_of_another_layer": (
        _with(
            "config", path=["config", "layers", 0, "config", "pad_id"], old=None, new=1
        ),
        "pad_id: the plan has 1, and the file needs no change",
    ),
    "no_padding_in_another_layer": (
        _with(
            "config", path=["config", "layers", 0, "config", "pad_id"], old=1, new=None
        ),
        "pad_id: the plan has None, and the file needs no change",
    ),
    "a_table_alone": (
        _without("arrays", 1),
        "dense/vars/0.* the plan has no change, and the file needs",
    ),
    "another_axis": (
        lambda document: document["arrays"][1].update(
            axis=0, shape=[SIZE, DIM], new_shape=[SIZE + ADDED, DIM]
        ),
        "does not fit this file",
    ),
    "a_count_that_stays": (
        _without("config", 0),
        "the plan has no change, and the file needs 16",
    ),
    "a_number_in_new_entries": (
        lambda document: document["arrays"][-1].update(fill=-1.0),
        "new entries -1.0",
    ),
    "words_of_no_layer": (
        lambda document: document["words"].append(WORDS),
        "stranger, config.name: the plan has .*needs no change",
    ),
    "what_its_maker_said": (
        lambda document: document.update(also=["nowhere:0"]),
        "no layer or array is called 'nowhere'",
    ),
}
WORDS = {
    "layer": "stranger",
    "config_path": ["config", "name"],
    "assets": [],
    "first_id": 0,
    "count": 0,
    "new_count": 1,
    "added": ["x"],
    "removed": [],
    "reason": "",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_plan_from_elsewhere_changes_what_one_made_here_would(
    name: str, document: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    edit, message = ELSEWHERE[name]
    edited = copy.deepcopy(document)
    edit(edited)
    plan = Plan.from_json(edited)
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.apply_plan(plan, source, tmp_path / "new.keras")
    assert not (tmp_path / "new.keras").exists()


OTHER_WORDS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another_word": (lambda document: document["words"][0].update(added=["b"]), "'b'"),
    "another_id": (
        lambda document: document.update(tokens=[["a", 0]]),
        "tokens is .* in order",
    ),
    "other_tokens": (
        lambda document: document.update(tokens=[["b", 13]]),
        r"words\[0\].added is .* the words of tokens first",
    ),
    "a_count": (
        lambda document: next(
            c for c in document["config"] if c["path"][-1] == "vocabulary_size"
        ).update(new=99),
        "vocabulary_size: the plan has 99, and the file needs 14",
    ),
    "no_word": (lambda document: document.update(words=[]), "the plan has no change"),
    "letters": (lambda document: document["words"][0].update(added="a"), "a list"),
    "no_list": (lambda document: document["words"][0].update(assets=None), "a list"),
    "spare_ids": (lambda document: document.update(old_spare_ids=[1]), "spare ids"),
}


@pytest.mark.parametrize("name", OTHER_WORDS)
def test_words_from_elsewhere_are_those_of_the_new_ids(
    name: str, tmp_path: Path
) -> None:
    def build(size: int) -> keras.Model:
        words = [f"w{number}" for number in range(size - 1)]
        x = keras.Input((4,), dtype="string")
        return keras.Model(x, table(size)(layers.StringLookup(vocabulary=words)(x)))

    source = tmp_path / "old.keras"
    save(build, SIZE, source)
    document = kp.surgery.plan(source, tokens=["a"]).to_json()
    kp.surgery.apply_plan(Plan.from_json(document), source, tmp_path / "new.keras")
    edit, message = OTHER_WORDS[name]
    edited = json.loads(json.dumps(document))
    edit(edited)
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.apply_plan(Plan.from_json(edited), source, tmp_path / "other.keras")
    assert not (tmp_path / "other.keras").exists()


def test_a_plan_fits_a_second_checkpoint(tmp_path: Path) -> None:
    """Words weigh there what that one says."""
    words = ["a", "b", "c"]

    def made(weights: list[float]) -> Path:
        lookup = layers.StringLookup(
            vocabulary=words, idf_weights=weights, output_mode="tf_idf", name="words"
        )
        x = keras.Input((4,), dtype="string")
        path = tmp_path / f"{weights[0]}.keras"
        keras.Model(x, layers.Dense(2)(lookup(x))).save(path)
        return path

    first, second = made([0.5, 0.7, 0.9]), made([1.5, 1.7, 1.9])
    plan = Plan.from_json(kp.surgery.plan(first, tokens=["d"]).to_json())
    kp.surgery.apply_plan(plan, second, tmp_path / "new.keras", proof=False)
    assert kp.surgery.inspect(tmp_path / "new.keras").vocabularies[0].size == 5


def test_a_plan_that_hides_its_need_of_a_proof(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(lambda size: keras.Model(x := ids(), table(size)(x * 1)), SIZE, source)
    plan = kp.surgery.plan(source, rows=ADDED)
    assert plan.needs_proof
    hiding = Plan.from_json({**plan.to_json(), "needs_proof": False})
    assert kp.surgery.apply_plan(hiding, source, target).certificate is not None


def test_record_without_its_rows(source: Path, tmp_path: Path) -> None:
    """The record in a file can be read and verified, and not applied again."""
    plan = kp.surgery.plan(source, rows=ADDED, new_rows=np.ones((ADDED, DIM)))
    record = Plan.from_json(plan.to_json(with_rows=False))
    with pytest.raises(SurgeryError, match="rows of your own, and they are missing"):
        kp.surgery.apply_plan(record, source, tmp_path / "new.keras")


def test_inverse_does_not_give_the_new_rows_to_old_ids(source: Path) -> None:
    rows = np.ones((1, DIM))
    row_map = [*range(1, SIZE), -1]
    plan = kp.surgery.plan(source, row_map=row_map, new_rows=rows)
    assert str(plan.inverse().new_rows) == "mean"
    assert Plan.from_json(plan.inverse().to_json()).to_json()


def test_file_name_in_place_of_a_plan(source: Path, tmp_path: Path) -> None:
    name: Any = "plan.json"
    with pytest.raises(SurgeryError, match=r"received 'plan\.json'.*Plan\.load"):
        kp.surgery.apply_plan(name, source, tmp_path / "new.keras")


@pytest.mark.parametrize("name", ["", "no/plan.json", "a\0b"])
def test_save_to_no_file(name: str, document: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan.from_json(json.loads(json.dumps(document)))
    with pytest.raises(SurgeryError, match=r"plan could not be written|path: expected"):
        plan.save(tmp_path / name)


@pytest.mark.parametrize("word", ["a\rb", "a\x0bb", "\ud800", "a\nb"])
def test_a_word_that_fits_on_no_line(word: str, tmp_path: Path) -> None:
    words = keras.Input((2,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a"])
    keras.Model(words, layers.Embedding(2, DIM)(lookup(words))).save(
        tmp_path / "old.keras"
    )
    plan = kp.surgery.plan(tmp_path / "old.keras", tokens=["b"]).to_json()
    plan["words"][0]["added"] = [word]
    with pytest.raises(SurgeryError, match="words that fit on one line"):
        Plan.from_json(plan)


def test_an_old_id_that_is_not_there(source: Path) -> None:
    plan = kp.surgery.plan(source, rows=1, new_rows={SIZE: 3}).to_json()
    plan["mix"] = [[SIZE]]
    with pytest.raises(SurgeryError, match=f"old ids from 0 to {SIZE - 1}"):
        Plan.from_json(plan)
