"""A number of units that equals the number of ids proves nothing by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError

from .reference import only_once
from .zoo import ADDED, DIM, SIZE, STEPS, ids, table

pytestmark = [only_once, pytest.mark.usefixtures("quick_compile")]

Build = Callable[[], keras.Model]


def _head(x: keras.KerasTensor, **options: object) -> keras.KerasTensor:
    return layers.Dense(SIZE, name="head", **options)(x)


def forecast() -> keras.Model:
    x, series = ids(), keras.Input((5, 2))
    known = layers.Concatenate()([table(SIZE)(x), series])
    return keras.Model([x, series], _head(layers.LSTM(DIM)(known)))


def topics() -> keras.Model:
    x = ids()
    both = layers.Bidirectional(layers.LSTM(3))(table(SIZE)(x))
    return keras.Model(x, _head(both, activation="softmax"))


def first_step() -> keras.Model:
    x = ids()
    return keras.Model(x, _head(table(SIZE)(x)[:, 0]))


def trained_to_come_near() -> keras.Model:
    x = ids()
    model = keras.Model(x, _head(layers.LSTM(DIM)(table(SIZE)(x))))
    model.compile("adam", "mse")
    return model


def last_state() -> keras.Model:
    x = ids()
    return keras.Model(x, _head(layers.LSTM(DIM)(table(SIZE)(x))))


def one_id_in_a_row() -> keras.Model:
    x = keras.Input((1,), dtype="int32")
    return keras.Model(x, _head(layers.Flatten()(table(SIZE)(x))))


def one_id_alone() -> keras.Model:
    x, features = keras.Input((), dtype="int32"), keras.Input((2,))
    return keras.Model(
        [x, features], _head(layers.Concatenate()([table(SIZE)(x), features]))
    )


def square() -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Embedding(SIZE, SIZE, name="embedding")(x))


def bigram() -> keras.Model:
    model = square()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def slopes() -> keras.Model:
    x = ids()
    return keras.Model(x, layers.PReLU(shared_axes=[1])(_head(table(SIZE)(x))))


def plus_other_units() -> keras.Model:
    x, features = ids(), keras.Input((5, 3))
    other = layers.Dense(SIZE, name="other")(features)
    return keras.Model([x, features], layers.Add()([_head(table(SIZE)(x)), other]))


def plus_constant() -> keras.Model:
    x = ids()
    return keras.Model(x, _head(table(SIZE)(x)) + np.ones(SIZE, "float32"))


def some_units() -> keras.Model:
    x = ids()
    return keras.Model(x, _head(table(SIZE)(x))[:, :, 1:])


def two_sizes() -> keras.Model:
    x = ids()
    other = layers.Embedding(SIZE + 2, DIM, name="longer")(x)
    return keras.Model(x, [table(SIZE)(x), other])


def two_sizes_by_two_ways() -> keras.Model:
    """Ids as a whole by one way, and by another a part of them."""
    x = ids()
    both = layers.Concatenate()([layers.Reshape((STEPS,))(x), x[:, :2]])
    other = layers.Embedding(SIZE + 2, DIM, name="longer")(both)
    return keras.Model(x, [table(SIZE)(x), other])


def columns() -> keras.Model:
    x = ids()
    wide = layers.Softmax()(ops.one_hot(x, SIZE))
    return keras.Model(x, [table(SIZE)(x), wide])


@pytest.mark.parametrize(
    ("build", "asks"),
    [
        (forecast, "head.* not shown that they are"),
        (topics, "head.* not shown that they are"),
        (first_step, "head.* not shown that they are"),
        (trained_to_come_near, "head.* not shown that they are"),
        (one_id_in_a_row, "head.* not shown that they are"),
        (one_id_alone, "head.* not shown that they are"),
        (last_state, "head.* not shown that they are.*--also head:1.*--leave head"),
        (bigram, f"rows of {SIZE} numbers .*--also layers/embedding/vars/0:0 .* not"),
        (slopes, "PReLU"),
        (plus_other_units, "combines .* the output of 'other'"),
        (plus_constant, rf"holds an array of shape \({SIZE},\)"),
        (some_units, "GetItem"),
        (two_sizes, f"table of {SIZE + 2} rows"),
        (two_sizes_by_two_ways, f"table of {SIZE + 2} rows"),
        (columns, f"makes {SIZE} columns"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_is_asked_about(tmp_path: Path, build: Build, asks: str) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    build().save(source)
    name = kp.surgery.inspect(source).vocabularies[0].name
    with pytest.raises(AmbiguousVocabularyError, match=f"(?s){asks}"):
        kp.surgery.grow(source, target, rows=ADDED, vocabulary=name)
    assert not target.exists()


def test_doubts_come_in_the_order_of_the_calls(tmp_path: Path) -> None:
    x, features = ids(), keras.Input((STEPS, 3))
    units, names = _head(table(SIZE)(x)), [f"plus_{n}" for n in range(20)]
    for name in names:
        other = layers.Dense(SIZE)(features)
        units = layers.Add(name=name)([units, other])
    keras.Model([x, features], units).save(tmp_path / "old.keras")
    found = kp.surgery.inspect(tmp_path / "old.keras").vocabularies[0].unexplained
    assert [one.place for one in found if one.place in names] == names


def test_a_square_table_without_a_loss_is_said_in_a_note(tmp_path: Path) -> None:
    square().save(tmp_path / "old.keras")
    (note,) = kp.surgery.plan(tmp_path / "old.keras", rows=ADDED).notes
    assert "they may be scores of the ids. They keep that length" in note


def test_a_square_table_grows_along_its_rows_if_that_is_said(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    bigram().save(source)
    report = kp.surgery.grow(source, target, rows=ADDED, also=["embedding:0"])
    assert [c.new_shape for c in report.plan.arrays] == [(SIZE + ADDED, SIZE)]
    with pytest.raises(AmbiguousVocabularyError, match="over the ids along two axes"):
        kp.surgery.grow(source, target, rows=ADDED, also=["embedding:1"])


def last_step_chosen() -> keras.Model:
    x = ids()
    return keras.Model(x, _head(table(SIZE)(x))[:, -1, :])


def test_a_step_chosen_of_all_scores_is_one_of_a_head(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    last_step_chosen().save(source)
    kp.surgery.grow(source, target, rows=ADDED)
    assert kp.surgery.verify(source, target).passed
    assert keras.models.load_model(target).output_shape[-1] == SIZE + ADDED


@pytest.mark.parametrize(
    "around",
    [layers.TimeDistributed, lambda head, name: keras.Sequential([head], name=name)],
    ids=["a wrapper", "a model"],
)
def test_what_lies_in_a_layer_that_is_left_alone_stays(
    tmp_path: Path, around: Any
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = ids()
    keras.Model(x, around(layers.Dense(SIZE), name="tags")(table(SIZE)(x))).save(source)
    kp.surgery.grow(source, target, rows=ADDED, leave="tags")
    assert keras.models.load_model(target).output_shape[-1] == SIZE


def test_a_model_that_is_left_alone_keeps_its_table_in_the_vocabulary(
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = ids()
    backbone = keras.Sequential([table(SIZE)], name="backbone")
    keras.Model(x, _head(backbone(x)), name="whole").save(source)
    kp.surgery.grow(source, target, rows=ADDED, leave=["backbone", "whole"])
    assert keras.models.load_model(target).output_shape[-1] == SIZE + ADDED


def test_metrics_of_another_output_stay(tmp_path: Path) -> None:
    x, features = ids(), keras.Input((3,))
    other = layers.Dense(SIZE, name="other")(features)
    model = keras.Model([x, features], {"head": _head(table(SIZE)(x)), "other": other})
    metrics = {
        name: [keras.metrics.MeanIoU(num_classes=SIZE)] for name in ("head", "other")
    }
    model.compile("adam", {"head": "mse", "other": "mse"}, metrics=metrics)
    source = tmp_path / "old.keras"
    model.save(source)
    changed = [c.path for c in kp.surgery.plan(source, rows=ADDED).config]
    counts = [path for path in changed if path[-1] == "num_classes"]
    assert [path[2] for path in counts] == ["head"]


def test_fresh_optimizer_is_verified(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = last_state()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.ones((2, 5), "int32"), np.ones(2, "int32"), verbose=0)
    model.save(source)
    kp.surgery.grow(source, target, rows=ADDED, also="head:1", optimizer="drop")
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        keras.models.load_model(target)
    certificate = kp.surgery.verify(source, target)
    assert certificate.passed
    assert certificate["optimizer goes on"].status == "does not apply"


def test_an_optimizer_that_never_ran_is_no_fault(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = last_state()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(source)
    kp.surgery.grow(source, target, rows=ADDED, also="head:1")
    assert kp.surgery.verify(source, target).passed


def test_drop_without_an_optimizer(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    last_state().save(source)
    kp.surgery.grow(source, target, rows=ADDED, also="head:1", optimizer="drop")
    assert kp.surgery.verify(source, target).passed


def test_nothing_kept_is_not_passed_as_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Sequential([ids(), table(SIZE)]).save(source)
    kp.surgery.remap(source, target, row_map=[-1] * SIZE)
    certificate = kp.surgery.verify(source, target)
    assert certificate["kept rows identical"].status == "does not apply"
