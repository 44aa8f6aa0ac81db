"""Heads with one unit fewer or more than there are ids: asked about, said, grown."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError

from .reference import assert_old_rows_kept, assert_plan_is_exact, save
from .saved import read
from .test_asked import Configured, grow, saved
from .zoo import ADDED, DIM, GROWN, SIZE, ids, table


@keras.saving.register_keras_serializable("tests.lacking")
class Special(Configured):
    """A table with three rows behind those of the items."""

    def __init__(self, items: int, **options: Any) -> None:
        super().__init__({"items": items}, **options)
        self.table = layers.Embedding(items + 3, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(x)


def _model(size: int, gap: int = -1, steps: bool = True) -> keras.Model:
    h = layers.GRU(DIM, return_sequences=steps)(table(size)(x := ids()))
    model = keras.Model(x, layers.Dense(size + gap, name="scores")(h))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("steps", [True, False])
@pytest.mark.parametrize(("gap", "how"), [(-1, "fewer"), (1, "more")])
def test_a_head_of_nearly_as_many_units_is_asked_about(
    gap: int, how: str, steps: bool, tmp_path: Path
) -> None:
    source = tmp_path / "old.keras"
    _model(SIZE, gap, steps).save(source)
    with pytest.raises(AmbiguousVocabularyError, match=f"one {how} than.*ids") as asked:
        grow(source, rows=ADDED)
    assert ("--also scores:1::ID" in str(asked.value)) == (gap < 0)
    assert "--leave scores" in str(asked.value)
    grow(source, rows=ADDED, leave="scores")
    kernel = read(tmp_path / "new.keras").arrays["layers/dense/vars/0"]
    assert kernel.shape == (DIM, SIZE + gap)


def test_a_head_may_lack_several_ids(tmp_path: Path) -> None:
    size, source = 30, tmp_path / "old.keras"
    _model(size, gap=-2).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="2 fewer than") as asked:
        grow(source, rows=ADDED)
    assert "--also scores:1::ID,ID" in str(asked.value)
    report = grow(source, rows=ADDED, also="scores:1::0,29", proof=True)
    assert report.certificate is not None
    assert report.certificate.passed


def test_another_table_as_large_as_the_head_does_not_hide_it(tmp_path: Path) -> None:
    source, x, user = tmp_path / "old.keras", ids(), ids("user")
    both = table(SIZE)(x) + layers.Embedding(SIZE - 1, DIM, name="users")(user)
    scores = layers.Dense(SIZE - 1, name="scores")(layers.GRU(DIM)(both))
    keras.Model([x, user], scores).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="one fewer than there are ids"):
        grow(source, rows=ADDED, vocabulary="words")


def test_columns_beside_a_table_as_large_as_the_head_may_be_its_ids(
    tmp_path: Path,
) -> None:
    source, x = tmp_path / "old.keras", ids()
    counts = layers.Dense(DIM)(layers.CategoryEncoding(SIZE, name="bag")(x))
    h = layers.Embedding(SIZE - 1, DIM, name="others")(other := ids("beside"))
    scores = layers.Dense(SIZE - 1, name="scores")(h + counts[:, None])
    keras.Model([x, other], scores).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="one fewer than there are ids"):
        grow(source, rows=ADDED, vocabulary="bag")
    with pytest.raises(AmbiguousVocabularyError, match="follows several tables"):
        grow(source, rows=ADDED, vocabulary="others")


def test_as_many_units_as_a_number_that_counts_the_rows_are_asked_about(
    tmp_path: Path,
) -> None:
    source, x = tmp_path / "old.keras", ids()
    scores = layers.Dense(SIZE, name="scores")(Special(SIZE)(x))
    keras.Model(x, scores).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="3 fewer than there are ids"):
        grow(source, rows=ADDED)


def test_few_classes_are_near_no_number_of_ids() -> None:
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(3, DIM), layers.Dense(2)]
    )
    assert kp.surgery.grow(model, rows=1).plan.new_size == 4


@pytest.mark.parametrize("ask", [False, True])
def test_a_head_without_padding_grows_with_its_table(ask: bool, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_model, SIZE, source)
    save(_model, GROWN, tmp_path / "larger.keras")
    report = grow(source, rows=ADDED, also="scores:1::0", ask=ask, proof=True)
    assert_plan_is_exact(report.plan, read(source), read(tmp_path / "larger.keras"))
    assert_old_rows_kept(report.plan, read(source), read(target))


@pytest.mark.parametrize("keep", [[0, 3, 7], [3, 7]])
def test_the_id_without_a_unit_may_go(keep: list[int], tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_model, SIZE, source)
    kp.surgery.trim(source, target, keep=keep, also="scores:1::0", proof=True)
    before, after = (read(path) for path in (source, target))
    kernel = "layers/dense/vars/0"
    assert np.array_equal(after.arrays[kernel], before.arrays[kernel][:, [2, 6]])
    units = [layer["config"].get("units") for layer in after.config["config"]["layers"]]
    assert units[-1] == 2
    slots = {shape for array in after.slots.values() if (shape := array.shape)}
    assert (DIM, 2) in slots


@pytest.mark.parametrize("at", [None, 0, 5])
def test_growth_beside_an_id_without_a_unit_is_undone(
    at: int | None, tmp_path: Path
) -> None:
    source, back = tmp_path / "old.keras", tmp_path / "back.keras"
    save(_model, SIZE, source)
    plan = grow(source, rows=ADDED, at=at, also="scores:1::0", proof=True).plan
    inverse = kp.surgery.Plan.from_json(plan.inverse().to_json())
    kp.surgery.apply_plan(inverse, tmp_path / "new.keras", back, proof=True)
    before, after = read(source).arrays, read(back).arrays
    assert all(np.array_equal(before[path], after[path]) for path in before)


@pytest.mark.parametrize("ask", [False, True])
def test_ids_beside_one_without_a_unit_move(ask: bool, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_model, SIZE, source)
    ids_of = np.random.default_rng(0).permutation(SIZE).tolist()
    kp.surgery.remap(
        source, target, row_map=ids_of, also="scores:1::0", ask=ask, proof=True
    )
    kernel = "layers/dense/vars/0"
    before, after = (read(path).arrays[kernel] for path in (source, target))
    order = [old - 1 for old in ids_of if old]
    assert np.array_equal(after, before[:, order])


@pytest.mark.parametrize("also", ["scores:1::x", "scores:1::", "scores:1::0,"])
def test_ids_without_an_entry_are_numbers(also: str, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    _model(SIZE).save(source)
    with pytest.raises(SurgeryError, match="is not understood"):
        grow(source, rows=ADDED, also=also)


@pytest.mark.parametrize("also", ["scores:1::0,1", f"scores:1::{SIZE}"])
def test_ids_without_an_entry_are_those_that_lack(also: str, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    _model(SIZE).save(source)
    with pytest.raises(SurgeryError, match="all ids of one that have no entry there"):
        grow(source, rows=ADDED, also=also)


def test_what_judges_a_head_without_padding_is_asked_about(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = _model(SIZE)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=6, name="ce")
    model.compile("sgd", loss, metrics=[keras.metrics.MeanIoU(SIZE - 1, name="iou")])
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match="num_classes=12"):
        grow(source, rows=ADDED, also="scores:1::0")
    grow(source, rows=ADDED, also="scores:1::0", leave="iou")
    with pytest.raises(AmbiguousVocabularyError, match="ignore_class=6"):
        kp.surgery.trim(source, target, keep=[3, 7], also="scores:1::0", leave="iou")


def test_two_heads_that_lack_different_ids(tmp_path: Path) -> None:
    source, h = tmp_path / "old.keras", table(SIZE)(x := ids())
    heads = [layers.Dense(SIZE - 1, name=name)(h) for name in ("one", "other")]
    keras.Model(x, heads).save(source)
    also = ["one:1::0", f"other:1::{SIZE - 1}"]
    report = grow(source, rows=ADDED, at=5, also=also, proof=True)
    assert report.certificate is not None
    assert report.certificate.passed


@pytest.mark.parametrize("other", ["scores:1::5", "layers/dense/vars/1:0::5"])
def test_claims_that_contradict_each_other_are_refused(
    other: str, tmp_path: Path
) -> None:
    source = tmp_path / "old.keras"
    _model(SIZE).save(source)
    with pytest.raises(SurgeryError, match="say different things of Dense 'scores'"):
        grow(source, rows=ADDED, also=["scores:1::0", other])


@keras.saving.register_keras_serializable("tests.lacking")
class OwnHead(Configured):
    """Scores by a matrix of its own."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__({"units": units}, **options)

    def build(self, shape: Any) -> None:
        self.matrix = self.add_weight(shape=(DIM, self.own["units"]), name="matrix")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.matrix)


@pytest.mark.parametrize("gap", [-1, 1])
def test_a_head_of_ones_own_that_is_one_off_is_asked_about(
    gap: int, tmp_path: Path
) -> None:
    source, h = tmp_path / "old.keras", table(SIZE)(x := ids())
    keras.Model(x, OwnHead(SIZE + gap, name="own")(h)).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="than there are ids") as asked:
        grow(source, rows=ADDED)
    assert ("--also layers/own_head/vars/0:1::ID" in str(asked.value)) == (gap < 0)
    grow(source, rows=ADDED, leave="own")


def test_a_number_that_was_shown_to_count_lacks_the_id_too(tmp_path: Path) -> None:
    source, h = tmp_path / "old.keras", table(SIZE)(x := ids())
    keras.Model(x, OwnHead(SIZE - 1, name="own")(h)).save(source)
    target = tmp_path / "new.keras"
    kp.surgery.trim(source, target, keep=[3, 7], also="own:1::0", proof=True)
    assert read(target).arrays["layers/own_head/vars/0"].shape == (DIM, 2)


@keras.saving.register_keras_serializable("tests.lacking")
class Cloze(Configured):
    """The last row is that of a mask, which the head does not score."""

    def __init__(self, items: int, **options: Any) -> None:
        super().__init__({"items": items}, **options)
        self.table = layers.Embedding(items + 1, DIM)
        self.head = layers.Dense(items)

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        self.head.build((None, DIM))

    def call(self, x: Any) -> Any:
        return self.head(self.table(ops.where(x < 0, self.own["items"], x)))


def test_new_ids_go_before_a_mask_that_has_no_unit(tmp_path: Path) -> None:
    source, head = saved(Cloze(SIZE), tmp_path / "old.keras"), "layers/cloze/head/vars"
    with pytest.raises(SurgeryError, match=rf"--at {SIZE}\)"):
        grow(source, rows=ADDED)
    with pytest.raises(SurgeryError, match=f"also='{head}/0:1::IDS'"):
        grow(source, rows=ADDED, at=SIZE)
    also = [f"{head}/0:1::{SIZE}", f"{head}/1:0::{SIZE}"]
    report = grow(source, rows=ADDED, at=SIZE, also=also)
    assert report.certificate is not None
    assert report.certificate.passed
    before, after = (read(source).arrays, read(tmp_path / "new.keras").arrays)
    assert np.array_equal(after[f"{head}/0"][:, :SIZE], before[f"{head}/0"])
    mask = after["layers/cloze/table/vars/0"][-1]
    assert np.array_equal(mask, before["layers/cloze/table/vars/0"][-1])
