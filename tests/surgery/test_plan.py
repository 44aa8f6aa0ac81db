"""A plan is plain data: saved, read, undone, replayed, and refused elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery import Plan

from .reference import only_once, save
from .saved import read, same_bits
from .zoo import ADDED, DIM, SIZE, ids, table

pytestmark = only_once

WORDS = [f"w{number}" for number in range(SIZE - 1)]


def _build(size: int) -> keras.Model:
    pytest.importorskip("tensorflow")
    x = keras.Input((4,), dtype="string", name="text")
    lookup = layers.StringLookup(name="lookup")
    lookup.set_vocabulary(WORDS)
    h = layers.Dense(DIM)(table(size)(lookup(x)))
    model = keras.Model(x, layers.Dense(size, name="head")(h))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "old.keras"
    save(_build, SIZE, path)
    return path


@pytest.mark.parametrize("new_rows", ["mean", "normal:3", 0.5, np.ones((2, DIM))])
def test_json_holds_the_whole_plan(
    new_rows: object, source: Path, tmp_path: Path
) -> None:
    plan = kp.surgery.plan(source, tokens=["new", "neu"], new_rows=new_rows)
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == plan.to_json()
    kp.surgery.apply_plan(plan, source, tmp_path / "one.keras")
    kp.surgery.apply_plan(again, source, tmp_path / "two.keras")
    one, two = read(tmp_path / "one.keras"), read(tmp_path / "two.keras")
    assert one.config == two.config
    assert one.assets == two.assets
    assert all(same_bits(one.arrays[path], two.arrays[path]) for path in one.arrays)


def test_plan_and_grow_agree(source: Path, tmp_path: Path) -> None:
    plan = kp.surgery.plan(source, tokens=["new"])
    report = kp.surgery.grow(source, tmp_path / "new.keras", tokens=["new"])
    assert report.plan.to_json() == plan.to_json()
    recorded = read(tmp_path / "new.keras").metadata["keras_padsafe"]["plan"]
    assert Plan.from_json(recorded).to_json() == plan.to_json()
    assert json.dumps(report.to_json())


@pytest.mark.parametrize("request_", [{"rows": ADDED}, {"tokens": ["new", "neu"]}])
def test_inverse_restores_every_bit(
    request_: dict, source: Path, tmp_path: Path
) -> None:
    grown, back = tmp_path / "grown.keras", tmp_path / "back.keras"
    plan = kp.surgery.grow(source, grown, **request_).plan
    kp.surgery.apply_plan(plan.inverse(), grown, back)
    old, restored = read(source), read(back)
    assert restored.config == old.config
    assert restored.assets == old.assets
    assert restored.arrays.keys() == old.arrays.keys()
    assert all(same_bits(restored.arrays[p], old.arrays[p]) for p in old.arrays)


def test_replays_on_a_second_checkpoint(source: Path, tmp_path: Path) -> None:
    second, target = tmp_path / "second.keras", tmp_path / "new.keras"
    model = save(_build, SIZE, second, seed=99)
    plan = kp.surgery.plan(source, tokens=["new"])
    kp.surgery.apply_plan(plan, second, target)
    rows = read(target).arrays["layers/embedding/vars/0"]
    words = np.asarray(model.get_layer("words").embeddings)
    np.testing.assert_array_equal(rows[:SIZE], words)
    np.testing.assert_allclose(rows[SIZE], words.mean(0), atol=1e-7)


def test_is_refused_for_another_model(source: Path, tmp_path: Path) -> None:
    plan = kp.surgery.plan(source, tokens=["new"])
    target = tmp_path / "new.keras"

    def wider(size: int) -> keras.Model:
        x = ids()
        return keras.Model(x, layers.Embedding(size, DIM + 1)(x))

    save(wider, SIZE, tmp_path / "wider.keras")
    with pytest.raises(
        SurgeryError,
        match=r"(?s)plan does not fit this file. Array layers/embedding/vars/0: "
        r"the plan has float32 of shape \(13, 4\), and the file has float32 of shape "
        r"\(13, 5\)"
        r".*Make a plan for this file",
    ):
        kp.surgery.apply_plan(plan, tmp_path / "wider.keras", target)
    kp.surgery.apply_plan(plan, source, target)
    with pytest.raises(SurgeryError, match="does not fit"):
        kp.surgery.apply_plan(plan, target, tmp_path / "twice.keras")
    assert not (tmp_path / "twice.keras").exists()


def test_rows_that_are_named_by_words_are_those_of_the_words(
    source: Path, tmp_path: Path
) -> None:
    plan = kp.surgery.plan(source, tokens=["new"], new_rows=f"like:{WORDS[0]}")
    plan.save(tmp_path / "plan.json")
    plan = Plan.load(tmp_path / "plan.json")

    def ordered(size: int) -> keras.Model:
        model = _build(size)
        model.get_layer("lookup").set_vocabulary(WORDS[::-1])
        return model

    save(ordered, SIZE, second := tmp_path / "second.keras")
    with pytest.raises(SurgeryError, match="words: the plan has ids of other ones"):
        kp.surgery.apply_plan(plan, second, tmp_path / "new.keras")
    plan = replace(plan, new_rows=kp.surgery.NewRows())
    kp.surgery.apply_plan(plan, second, tmp_path / "new.keras")


def test_is_refused_where_the_words_differ_in_number(
    source: Path, tmp_path: Path
) -> None:
    plan = kp.surgery.plan(source, tokens=["new"])

    def fewer(size: int) -> keras.Model:
        model = _build(size)
        model.get_layer("lookup").set_vocabulary(WORDS[:-1])
        return model

    save(fewer, SIZE, tmp_path / "fewer.keras")
    with pytest.raises(SurgeryError, match=r"does not fit this file"):
        kp.surgery.apply_plan(plan, tmp_path / "fewer.keras", tmp_path / "n.keras")
    assert not (tmp_path / "n.keras").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no plan could be read"),
        ("[]", "no plan could be read.*must hold a JSON object"),
        ('{"format": "other"}', "received format 'other'"),
        ('{"format": "keras_padsafe.plan/1"}', "incomplete or altered"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(SurgeryError, match=message):
        Plan.load(tmp_path / "plan.json")
