"""What `verify` says of whole files: proved, wrong or not proved, and never more."""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import message_of

from ..surgery.reference import run_python
from .models import ADDED, DIM, SIZE, STEPS, ids, serializable, table

OLD = "old ids keep their outputs"
NEW = "new rows as planned"
BACKEND = keras.backend.backend()


def language_model() -> keras.Model:
    x = ids()
    h = layers.Dense(SIZE, name="head")(table(SIZE)(x))
    model = keras.Model(x, h)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    generator = np.random.default_rng(0)
    for variable in [*model.optimizer.variables[2:], *model.trainable_variables]:
        variable.assign(generator.uniform(0.5, 1, variable.shape))
    model.optimizer.iterations.assign(7)
    return model


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, kp.surgery.Plan]:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    language_model().save(source)
    report = kp.surgery.grow(source, target, rows=ADDED)
    return source, target, report.plan


def test_a_grown_file_is_proved(files: Any) -> None:
    source, target, _ = files
    certificate = kp.surgery.verify(source, target)
    assert (certificate.verdict, certificate.passed) == ("proved", True)
    assert {check.status for check in certificate.checks} == {"passed"}
    assert certificate["optimizer goes on"].value == 7
    assert certificate.to_json()["verdict"] == "proved"


def _shift_an_old_row(model: Any) -> None:
    values = keras.ops.convert_to_numpy(model.get_layer("words").embeddings).copy()
    values[3] += 1e-3
    model.get_layer("words").embeddings.assign(values)


def _lose_a_new_row(model: Any) -> None:
    values = keras.ops.convert_to_numpy(model.get_layer("words").embeddings).copy()
    values[-1] = np.nan
    model.get_layer("words").embeddings.assign(values)


def _move_a_new_row(model: Any) -> None:
    values = keras.ops.convert_to_numpy(model.get_layer("words").embeddings).copy()
    values[-1] += 0.1
    model.get_layer("words").embeddings.assign(values)


def _move_a_new_slot(model: Any) -> None:
    slot = model.optimizer.variables[2]
    values = keras.ops.convert_to_numpy(slot).copy()
    values[-1] = -1.0
    slot.assign(values)


def _forget_the_bias(model: Any) -> None:
    bias = model.get_layer("head").bias
    bias.assign(np.zeros(bias.shape))


def _reset_a_slot(model: Any) -> None:
    slot = model.optimizer.variables[2]
    slot.assign(np.zeros(slot.shape))


SPOILED: list[tuple[Callable[[Any], None], set[str]]] = [
    (_shift_an_old_row, {"kept rows identical", OLD}),
    (_lose_a_new_row, {"new rows finite", NEW, "new ids give finite outputs"}),
    (_move_a_new_row, {NEW}),
    (_move_a_new_slot, {NEW}),
    (_forget_the_bias, {"kept rows identical", NEW, OLD}),
    (_reset_a_slot, {"kept rows identical"}),
]


@pytest.mark.parametrize(
    ("spoil", "wrong"), SPOILED, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_spoiled_file_is_wrong(
    spoil: Callable[[Any], None], wrong: set[str], files: Any, tmp_path: Path
) -> None:
    source, target, plan = files
    model = keras.models.load_model(target)
    spoil(model)
    model.save(tmp_path / "spoiled.keras")
    certificate = kp.surgery.verify(source, tmp_path / "spoiled.keras", plan)
    assert certificate.verdict == "wrong"
    assert wrong <= {c.name for c in certificate.checks if c.status == "failed"}


@pytest.mark.parametrize("spoil", [_move_a_new_row, _move_a_new_slot])
def test_new_entries_are_looked_at_however_they_were_made(
    spoil: Callable[[Any], None], files: Any, tmp_path: Path
) -> None:
    source, target, _ = files
    for is_named, new_rows in ((True, "like:3"), (False, np.ones((ADDED, DIM)))):
        kp.surgery.grow(source, target, rows=ADDED, new_rows=new_rows, overwrite=True)
        record = kp.surgery.verify(source, target)
        assert record.verdict == ("proved" if is_named else "not proved")
        _overwrite(target, spoil)
        found = kp.surgery.verify(source, target)
        is_seen = is_named or spoil is _move_a_new_slot
        assert found.verdict == ("wrong" if is_seen else "not proved")
        assert found[NEW].status == ("failed" if is_seen else "skipped")


def _overwrite(path: Path, spoil: Callable[[Any], None]) -> None:
    """Changes a file, which keeps the record of its plan."""
    model = keras.models.load_model(path)
    spoil(model)
    model.save(other := path.with_name("spoiled.keras"))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other) as new:
        members = {name: old.read(name) for name in old.namelist()}
        members["model.weights.h5"] = new.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as written:
        for name, data in members.items():
            written.writestr(name, data)


def test_a_plan_that_the_old_file_does_not_ask_for_is_wrong(files: Any) -> None:
    source, target, plan = files
    document = plan.to_json()
    document["arrays"] = document["arrays"][:-1]
    certificate = kp.surgery.verify(source, target, kp.surgery.Plan.from_json(document))
    assert certificate["plan fits the old file"].status == "failed"


def test_a_head_that_did_not_grow_is_wrong(files: Any, tmp_path: Path) -> None:
    source, _, plan = files
    other = tmp_path / "other.keras"
    left = kp.surgery.plan(source, rows=ADDED, leave=["head"])
    kp.surgery.apply_plan(left, source, other)
    certificate = kp.surgery.verify(source, other, plan)
    assert certificate.verdict == "wrong"
    assert certificate["kept rows identical"].status == "failed"
    assert kp.surgery.verify(source, other).verdict == "proved"


def test_a_file_that_keras_cannot_load_is_wrong(files: Any, tmp_path: Path) -> None:
    """The units of the head were forgotten, so that its arrays do not fit."""
    source, _, plan = files
    kept = tuple(change for change in plan.config if change.path[-1] != "units")
    broken = dataclasses.replace(plan, config=kept)
    kp.surgery.apply_plan(broken, source, tmp_path / "broken.keras")
    certificate = kp.surgery.verify(source, tmp_path / "broken.keras")
    assert certificate.verdict == "wrong"
    assert certificate["loads in Keras"].status == "failed"


def test_a_class_that_keras_does_not_know(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    run_python(
        """
        import sys
        import keras
        class Odd(keras.layers.Layer):
            def call(self, x):
                return x
        x = keras.Input((4,), dtype="int32")
        h = Odd()(keras.layers.Embedding(9, 4)(x))
        keras.Model(x, keras.layers.Dense(2)(h)).save(sys.argv[1])
        """,
        source,
    )
    kp.surgery.grow(source, target, rows=ADDED)
    certificate = kp.surgery.verify(source, target)
    assert (certificate.verdict, certificate.passed) == ("not proved", False)
    loads = certificate["loads in Keras"]
    assert loads.status == "skipped"
    assert "'Odd'" in loads.detail
    assert "--import MODULE" in loads.detail
    assert "the decorator is run" in loads.detail  # All but the configuration.
    assert "batch_shape" not in loads.detail


@pytest.mark.filterwarnings("ignore:The `lambda`:UserWarning")
def test_a_lambda_that_keras_refuses(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = ids()
    h = layers.Lambda(lambda x: 2 * x, output_shape=(STEPS, DIM))(table(SIZE)(x))
    keras.Model(x, layers.Dense(2)(layers.Flatten()(h))).save(source)
    kp.surgery.grow(source, target, rows=ADDED)
    certificate = kp.surgery.verify(source, target)
    assert certificate.verdict == "not proved"
    assert "enable_unsafe_deserialization" in certificate["loads in Keras"].detail


def two_lookups() -> keras.Model:
    parts, inputs = [], []
    for name, count in (("user", 7), ("movie", 9)):
        x = keras.Input((1,), dtype="string", name=name)
        words = [f"{name}{number}" for number in range(count)]
        number = layers.StringLookup(vocabulary=words, name=f"{name}_lookup")(x)
        h = layers.Embedding(count + 1, DIM, name=f"{name}_table")(number)
        parts.append(layers.Flatten()(h))
        inputs.append(x)
    return keras.Model(inputs, layers.Dot(axes=1)(parts))


def test_two_lookups_of_text(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    two_lookups().save(source)
    kp.surgery.grow(source, target, tokens=["movie9"], vocabulary="movie_table")
    certificate = kp.surgery.verify(source, target)
    if BACKEND == "tensorflow":
        assert certificate.verdict == "proved"
        assert (
            "1 new ids looked up" in certificate["new ids give finite outputs"].detail
        )
    else:
        assert certificate.verdict in ("proved", "not proved")
        if certificate.verdict == "not proved":
            assert "KERAS_BACKEND=tensorflow" in certificate[OLD].detail


def test_the_order_of_words(tmp_path: Path) -> None:
    """A lookup, a table and a lookup back, with a word removed and one added."""
    if BACKEND != "tensorflow":
        pytest.skip("Keras runs text on TensorFlow")
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = keras.Input((STEPS,), dtype="string")
    words = [f"w{number}" for number in range(SIZE - 1)]
    number = layers.StringLookup(vocabulary=words, name="lookup")(x)
    h = layers.Embedding(SIZE, DIM, name="words")(number)
    keras.Model(x, layers.Dense(2)(layers.Reshape((STEPS * DIM,))(h))).save(source)
    kept = [0, *range(SIZE - 1, 2, -1)]
    kp.surgery.remap(source, target, row_map=kept)
    assert kp.surgery.verify(source, target).verdict == "proved"


@serializable
class Odd(layers.Layer):
    """Does not take what it was saved with."""

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x: Any) -> Any:
        raise ValueError("never\nin two lines")


def test_a_model_that_never_runs_is_not_proved(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(x := ids(), Odd()(table(SIZE)(x))).save(source)
    kp.surgery.grow(source, target, rows=ADDED, proof=False)
    certificate = kp.surgery.verify(source, target)
    assert certificate.verdict == "not proved"
    assert "in two lines" in certificate[OLD].detail


def _lookup(name: str, words: list[str]) -> Any:
    return layers.StringLookup(vocabulary=words, name=name)


def _text(name: str, words: list[str]) -> Any:
    return layers.TextVectorization(
        vocabulary=words, output_sequence_length=1, name=name
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow runs text")
@pytest.mark.parametrize("other", [_lookup, _text])
def test_two_lookups_eat_the_same_words(other: Any, tmp_path: Path) -> None:
    """A word that is new to one is one that the other does not know, or knew before."""
    words = ["ant", "bee", "cat", "dog"]
    x = keras.Input((1,), dtype="string")
    first = layers.Embedding(6, DIM, name="first")(other("one", words)(x))
    second = layers.Embedding(3, DIM, name="second")(_lookup("two", words[:2])(x))
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(x, [first, second]).save(source)
    for vocabulary, left in (("first", "second"), ("second", "first")):
        asked: dict[str, Any] = {"tokens": ["eel", "fox"], "vocabulary": vocabulary}
        message = f"layer '{left}' also tells ids apart by something beside"
        with pytest.raises(kp.errors.NotProvedError, match=message):
            kp.surgery.grow(source, target, proof=True, **asked)
        report = kp.surgery.grow(source, target, proof=True, leave=[left], **asked)
        assert report.certificate is not None
        assert report.certificate.verdict == "proved"
        target.unlink()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow runs text")
def test_words_move_behind_two_ids_of_unknown_ones(tmp_path: Path) -> None:
    x = keras.Input((2,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=2)
    model = keras.Model(x, layers.Embedding(5, DIM)(lookup(x)))
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model.save(source)
    new = ["[UNK]", "[UNK]", "c", "d", "a"]
    kp.surgery.remap(
        source, target, old_vocabulary=lookup.get_vocabulary(), new_vocabulary=new
    )
    assert kp.surgery.verify(source, target).verdict == "proved"
    after = keras.models.load_model(target)
    assert after.layers[1].get_vocabulary() == new
    batch = keras.ops.convert_to_tensor([["a", "c"], ["nobody", "nothing"]])
    np.testing.assert_array_equal(model(batch), after(batch))


@serializable
class Beside(layers.Layer):
    """Takes two vectors for each picture, and the place of each of those."""

    def compute_output_spec(self, h: Any, pictures: Any, places: Any) -> Any:
        return keras.KerasTensor(h.shape, h.dtype)

    def call(self, h: Any, pictures: Any, places: Any) -> Any:
        if places.shape[1] != 2 * pictures.shape[1]:
            raise ValueError("a place for each vector")
        return h + keras.ops.sum(pictures, axis=1, keepdims=True)


def test_pictures_beside_text_may_be_left_out(tmp_path: Path) -> None:
    """No lengths go together but none: the proof says what it was made without."""
    x, places = (keras.Input((None,), dtype="int32") for _ in range(2))
    pictures = keras.Input((None, DIM), name="pictures")
    h = Beside()(layers.Embedding(SIZE, DIM)(x), pictures, places)
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model([x, pictures, places], layers.Dense(2)(h)).save(source)
    report = kp.surgery.grow(source, target, rows=ADDED, proof=True)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    assert "pictures" in report.certificate[OLD].detail
    assert "left empty" in report.certificate[OLD].detail


def test_what_keras_raised_is_told_without_the_numbers_of_a_variable() -> None:
    with pytest.raises(ValueError, match="Target variable") as raised:
        keras.Variable([[0.25, 0.5]]).assign([[0.25, 0.5], [0.75, 1.0]])
    told = message_of(raised.value)
    assert "variable.shape=(1, 2)" in told
    assert "0.25" not in told


def test_a_plan_of_another_file_is_wrong_and_no_fault(
    files: Any, tmp_path: Path
) -> None:
    _, target, plan = files
    other = tmp_path / "other.keras"
    x = ids()
    keras.Model(x, table(SIZE)(x)).save(other)
    assert kp.surgery.verify(other, target, plan).verdict == "wrong"


def test_a_file_that_keras_saved_again_is_proved_by_its_plan(
    files: Any, tmp_path: Path
) -> None:
    old, new, plan = files
    keras.models.load_model(new).save(again := tmp_path / "again.keras")
    assert kp.surgery.verify(old, again, plan).verdict == "proved"


def test_a_file_whose_input_has_another_rank_is_wrong(tmp_path: Path) -> None:
    old, other = tmp_path / "old.keras", tmp_path / "other.keras"
    x = keras.Input((None, 11))
    keras.Model(x, keras.layers.LSTM(4)(x)).save(old)
    x = keras.Input((5, 2, 11))
    h = keras.layers.LSTM(4)(keras.layers.Reshape((10, 11))(x))
    keras.Model(x, h).save(other)
    plan = kp.surgery.plan(old, rows=2, also="layers/lstm/cell/vars/0:0")
    assert kp.surgery.verify(old, other, plan).verdict == "wrong"


def test_a_number_that_is_no_number_stays_what_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    given = keras.Input((STEPS, 2))
    masked = layers.Masking(mask_value=float("nan"))(given)
    outputs = layers.Dense(2)(layers.Concatenate()([table(SIZE)(x := ids()), masked]))
    keras.Model([x, given], outputs).save(source)
    kp.surgery.grow(source, target, rows=ADDED)
    assert (
        kp.surgery.verify(source, target)["configuration as planned"].status == "passed"
    )
