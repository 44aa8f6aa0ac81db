"""Ids that become columns: the weights that take them in are the vocabulary's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.surgery.planning.check_plan import check_plan

from . import zoo
from .reference import assert_same_structure, only_once, save
from .saved import read, same_bits
from .zoo import DIM, SIZE, STEPS, ids, table

WORDS = ["apple", "pear", "plum", "fig"]
pytestmark = pytest.mark.usefixtures("quick_compile")
takes_text = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="models that take text"
)


@pytest.mark.parametrize(
    "build",
    [zoo.encoding_multi_hot, zoo.one_hot_steps_laid_flat, zoo.wide_and_deep],
)
def test_moved_ids_keep_their_outputs(tmp_path: Path, build: zoo.Build) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = save(build, SIZE, source)
    row_map = np.array([3, -1, 1, 0, 7, -1, 12])
    kp.surgery.remap(source, target, row_map=row_map)
    new = np.random.default_rng(0).choice(np.flatnonzero(row_map >= 0), (8, STEPS))
    before, after = model(row_map[new]), keras.models.load_model(target)(new)
    before, after = map(ops.convert_to_numpy, (before, after))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert kp.surgery.verify(source, target).verdict == "proved"


def _character_model(size: int) -> keras.Model:
    """Columns made outside of the model, as in character-level examples."""
    letters = keras.Input((None, size), name="letters")
    h = layers.LSTM(DIM, return_sequences=True, name="lstm")(letters)
    model = keras.Model(letters, layers.Dense(size, name="head")(h))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("claim", ["lstm:0", "layers/lstm/cell/vars/0:0"])
def test_columns_made_outside_grow_once_they_are_said_to_be_ids(
    claim: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = save(_character_model, SIZE, source)
    with pytest.raises(SurgeryError, match=r"(?s)comes close.*'letters' takes 13 col"):
        kp.surgery.grow(source, target, rows=zoo.ADDED)
    report = kp.surgery.grow(source, target, rows=zoo.ADDED, also=claim)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    save(_character_model, SIZE + zoo.ADDED, wanted := tmp_path / "larger.keras")
    assert_same_structure(read(target), read(wanted))
    x = np.eye(SIZE, dtype="float32")[None]
    wide = np.pad(x, ((0, 0), (0, 0), (0, zoo.ADDED)))
    before, after = model(x), keras.models.load_model(target)(wide)
    before, after = map(ops.convert_to_numpy, (before, after))
    np.testing.assert_allclose(after[..., :SIZE], before, atol=1e-6)


def test_columns_made_outside_are_proved_where_ids_go(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model, kept = save(_character_model, SIZE, source), [0, 5, 2, 11]
    kp.surgery.trim(source, target, keep=kept, also="lstm:0")
    assert kp.surgery.verify(source, target).verdict == "proved"
    x = np.eye(SIZE, dtype="float32")[None, sorted(kept)]
    before = ops.convert_to_numpy(model(x))[..., sorted(kept)]
    small = np.eye(len(kept), dtype="float32")[None]
    after = ops.convert_to_numpy(keras.models.load_model(target)(small))
    np.testing.assert_allclose(after, before, atol=1e-6)


def _masked(size: int) -> keras.Model:
    letters = keras.Input((STEPS, size))
    return keras.Model(letters, layers.LSTM(3, name="d")(layers.Masking()(letters)))


def _counted(size: int) -> keras.Model:
    words = keras.Input((size,))
    count = ops.sum(words, axis=-1, keepdims=True)
    x = layers.Concatenate()([layers.Dense(2, name="d")(words), count])
    return keras.Model(words, layers.Dense(1)(x))


def _compared(size: int) -> keras.Model:
    both = [keras.Input((size,), name=name) for name in ("left", "right")]
    dense = layers.Dense(2, name="d")
    return keras.Model(both, layers.Dot(1)([dense(one) for one in both]))


def _by_cells(size: int) -> keras.Model:
    rnn = layers.Bidirectional(layers.RNN(layers.GRUCell(3)), name="d")
    return keras.Model(letters := keras.Input((STEPS, size)), rnn(letters))


@only_once
@pytest.mark.parametrize("build", [_masked, _counted, _compared, _by_cells])
def test_a_claim_on_columns_is_enough_where_zeros_change_nothing(
    build: zoo.Build, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=zoo.ADDED, also="d:0")
    assert kp.surgery.verify(source, target).verdict == "proved"
    save(build, SIZE + zoo.ADDED, source)
    assert_same_structure(read(target), read(source))


def _of_images(size: int) -> keras.Model:
    pixels = keras.Input((3, 3), dtype="int32")
    h = layers.Conv2D(DIM, 3, padding="same")(ops.one_hot(pixels, size))
    return keras.Model(pixels, layers.Conv2D(size, 1, name="head")(h))


def _of_letters(size: int) -> keras.Model:
    columns = ops.one_hot(letters := ids(), size)
    h = layers.Conv1D(DIM, 2, padding="causal")(columns)
    return keras.Model(letters, layers.Conv1D(size, 1, use_bias=False)(h))


@only_once
@pytest.mark.parametrize("build", [_of_images, _of_letters])
def test_convolutions_take_columns_in_and_score(
    build: zoo.Build, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=zoo.ADDED)
    assert kp.surgery.verify(source, target).verdict == "proved"
    save(build, SIZE + zoo.ADDED, source)
    assert_same_structure(read(target), read(source))


@only_once
def test_encodings_before_one_kernel_have_the_same_ids(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        both, dense = [ids("left"), ids("right")], layers.Dense(2)
        made = [dense(layers.CategoryEncoding(size)(one)) for one in both]
        return keras.Model(both, layers.Add()(made))

    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=zoo.ADDED)
    assert kp.surgery.verify(source, target).verdict == "proved"
    save(build, SIZE + zoo.ADDED, source)
    assert_same_structure(read(target), read(source))


@only_once
def test_entries_lie_at_their_stretches_and_come_back(tmp_path: Path) -> None:
    source, target, back = (tmp_path / f"{n}.keras" for n in ("old", "new", "back"))
    save(zoo.encoding_beside_numbers_and_another, SIZE, source)
    plan = kp.surgery.plan(source, rows=2)
    assert [c.starts for c in plan.arrays] == [(0, SIZE + 3)]
    plan = kp.surgery.Plan.from_json(plan.to_json())
    kp.surgery.apply_plan(plan, source, target)
    old, new = (read(path).arrays["layers/dense/vars/0"] for path in (source, target))
    first, numbers, other = np.split(old, [SIZE, SIZE + 3])
    made = [first, *[first.mean(0)] * 2, numbers, other, *[other.mean(0)] * 2]
    np.testing.assert_allclose(new, np.vstack(made), rtol=1e-6)
    kp.surgery.apply_plan(plan.inverse(), target, back)
    assert same_bits(read(back).arrays["layers/dense/vars/0"], old)


@only_once
def test_rows_given_are_those_of_the_table(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(zoo.wide_and_deep, SIZE, source)
    rows = np.arange(DIM, dtype="f4")[None]
    kp.surgery.grow(source, target, rows=1, new_rows=rows)
    made = read(target).arrays
    assert same_bits(made["layers/embedding/vars/0"][SIZE:], rows)
    wide = next(a for a in made.values() if a.shape == (SIZE + 1, 1))
    mean = wide[:SIZE].mean(0, keepdims=True, dtype="f8")
    np.testing.assert_allclose(wide[SIZE:], mean, rtol=1e-6)


def _lookup(mode: str, **options: object) -> layers.Layer:
    return layers.StringLookup(vocabulary=WORDS, output_mode=mode, **options)


def multi_hot() -> keras.Model:
    given = keras.Input((2,), dtype="string")
    return keras.Model(given, layers.Dense(3)(_lookup("multi_hot")(given)))


def tf_idf_listed() -> keras.Model:
    given = keras.Input((2,), dtype="string")
    lookup = _lookup("tf_idf", idf_weights=[1.0, 2.0, 3.0, 5.0])
    return keras.Model(given, layers.Dense(3)(lookup(given)))


def tf_idf_adapted() -> keras.Model:
    lookup = layers.TextVectorization(output_mode="tf_idf")
    lookup.adapt(["apple pear plum", "pear plum", "fig pear"])
    given = keras.Input((), dtype="string")
    return keras.Model(given, layers.Dense(3)(lookup(given)))


def wide_beside_deep() -> keras.Model:
    given = keras.Input((2,), dtype="string")
    deep = table(len(WORDS) + 2)(_lookup("int", mask_token="")(given))
    wide = _lookup("count")(given)
    parts = [wide, layers.GlobalAveragePooling1D()(deep)]
    return keras.Model(given, layers.Dense(1)(layers.Concatenate()(parts)))


TEXT = [multi_hot, tf_idf_listed, tf_idf_adapted, wide_beside_deep]


@takes_text
@pytest.mark.parametrize("build", TEXT)
def test_words_and_their_weights_change_along(
    tmp_path: Path, build: Callable[[], keras.Model]
) -> None:
    source, target, back = (tmp_path / f"{n}.keras" for n in ("old", "new", "back"))
    model = build()
    model.save(source)
    if build is tf_idf_adapted and keras.__version__.startswith(("3.12.", "3.13.")):
        with pytest.raises(ValueError, match=r"has no len\(\)"):
            keras.models.load_model(source)
        pytest.skip("this Keras cannot load what it saves of these weights")
    report = kp.surgery.grow(source, target, tokens=["okapi", "zebra"])
    assert kp.surgery.verify(source, target).verdict == "proved"
    known = np.array([["pear", "fig"], ["lynx", "apple"]], object)
    new = np.array([["okapi", "fig"], ["lynx", "zebra"]], object)
    if build is tf_idf_adapted:
        known, new = (np.array([" ".join(r) for r in x], object) for x in (known, new))
    made = keras.models.load_model(target)
    known, new = map(ops.convert_to_tensor, (known, new))
    np.testing.assert_allclose(made(known), model(known), atol=1e-6)
    assert not np.allclose(made(new), model(new)), "no longer unknown"
    kp.surgery.apply_plan(report.plan.inverse(), target, back)
    for path, array in read(source).arrays.items():
        assert same_bits(read(back).arrays[path], array), path
    assert read(back).config == read(source).config


@takes_text
def test_new_words_weigh_what_unknown_ones_do(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    tf_idf_adapted().save(source)
    kp.surgery.grow(source, target, tokens=["okapi"])
    for path, weights in read(target).arrays.items():
        if path.endswith("idf_weights"):
            np.testing.assert_allclose(weights[-1], weights[0], rtol=1e-6)


@takes_text
def test_columns_of_words_are_added_with_words_only(tmp_path: Path) -> None:
    multi_hot().save(tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=r"Expected: new words, as tokens="):
        kp.surgery.plan(tmp_path / "old.keras", rows=1)


def normalised() -> keras.Model:
    x = layers.LayerNormalization()(layers.CategoryEncoding(SIZE)(given := ids()))
    return keras.Model(given, layers.Dense(2)(x))


def shifted() -> keras.Model:
    x = layers.CategoryEncoding(SIZE)(given := ids())
    return keras.Model(given, [layers.Dense(2)(x), layers.Dense(2)(x + 1.0)])


def bigram() -> keras.Model:
    return keras.Model(given := ids(), layers.Dense(SIZE)(ops.one_hot(given, SIZE)))


def bag_of_words() -> keras.Model:
    x = layers.CategoryEncoding(SIZE)(given := ids())
    return keras.Model(given, layers.Dense(SIZE, name="head")(layers.Dense(2)(x)))


def shared_kernel() -> keras.Model:
    dense, other = layers.Dense(2), keras.Input((SIZE,))
    x = layers.CategoryEncoding(SIZE)(given := ids())
    return keras.Model([given, other], [dense(x), dense(other)])


@only_once
@pytest.mark.parametrize(
    ("build", "says"),
    [
        (normalised, "LayerNormalization .* may not ignore a column of zeros"),
        (shifted, "Add .* may not ignore a column of zeros"),
        (bigram, "runs over the ids along two axes"),
        (bag_of_words, "'head' has 13 units, and it is not shown"),
        (shared_kernel, "is called on the columns .* on other inputs"),
    ],
)
def test_what_new_columns_might_disturb_is_asked_about(
    tmp_path: Path, build: Callable[[], keras.Model], says: str
) -> None:
    build().save(tmp_path / "old.keras")
    with pytest.raises((AmbiguousVocabularyError, SurgeryError), match=f"(?s){says}"):
        kp.surgery.grow(tmp_path / "old.keras", tmp_path / "new.keras", rows=1)


@only_once
@pytest.mark.parametrize("starts", [(1, SIZE), (0, SIZE + 4), ("0",), (SIZE, 0)])
def test_stretches_that_do_not_fit_are_refused(
    tmp_path: Path, starts: tuple[int, ...]
) -> None:
    save(zoo.encoding_beside_numbers_and_another, SIZE, tmp_path / "old.keras")
    plan = kp.surgery.plan(tmp_path / "old.keras", rows=2)
    altered = replace(plan.arrays[0], starts=starts)
    with pytest.raises(SurgeryError, match=r"starts.*Expected"):
        check_plan(replace(plan, arrays=(altered,)))


@only_once
def test_an_initializer_that_two_calls_meet_is_replaced_once(tmp_path: Path) -> None:
    whole = keras.initializers.Constant(np.ones((SIZE, 2)).tolist())
    encode, dense = (
        layers.CategoryEncoding(SIZE),
        layers.Dense(2, kernel_initializer=whole),
    )
    both = [ids("left"), ids("right")]
    keras.Model(both, [dense(encode(x)) for x in both]).save(tmp_path / "old.keras")
    plan = kp.surgery.plan(tmp_path / "old.keras", rows=1)
    assert kp.surgery.Plan.from_json(plan.to_json()) == plan


@only_once
def test_a_shared_kernel_is_as_wide_in_each_description(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        x, inner, dense = ids(), keras.Input((STEPS * size,)), layers.Dense(2)
        tower = keras.Model(inner, dense(inner))
        flat = layers.Flatten()(layers.CategoryEncoding(size, "one_hot")(x))
        return keras.Model(x, [dense(flat), tower(flat)])

    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=3)
    save(build, SIZE + 3, source)
    assert_same_structure(read(target), read(source))


@pytest.mark.parametrize("direction", [layers.LSTM, layers.GRU])
def test_both_directions_were_built_on_the_columns(
    direction: type, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        encoded = layers.CategoryEncoding(size, "one_hot")(x)
        return keras.Model(x, layers.Bidirectional(direction(3))(encoded))

    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=3)
    assert kp.surgery.verify(source, target).verdict == "proved"


@only_once
def test_a_layer_in_the_way_cannot_be_left(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        encoded = layers.CategoryEncoding(size, "multi_hot")(x)
        scaled = layers.LayerNormalization(name="scaled")(encoded)
        return keras.Model(x, [layers.Dense(2)(encoded), layers.Dense(2)(scaled)])

    save(build, SIZE, source)
    with pytest.raises(AmbiguousVocabularyError, match="grow it in Keras"):
        kp.surgery.grow(source, target, rows=3, leave=["scaled"])


@only_once
def test_factors_of_adafactor_follow_the_stretches(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        x, numbers = ids(), keras.Input((4,))
        encoded = layers.CategoryEncoding(size, "count")(x)
        joined = layers.Concatenate()([numbers, encoded, numbers])
        model = keras.Model([x, numbers], layers.Dense(2)(joined))
        model.compile(keras.optimizers.Adafactor(), "mse")
        data = [np.ones((8, STEPS), int), np.ones((8, 4))]
        model.fit(data, np.ones((8, 2)), verbose=0)
        return model

    save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=3)
    old, new = read(source).slots, read(target).slots
    factors = [path for path, slot in old.items() if slot.shape == (SIZE + 8,)]
    assert len(factors) == 1
    kept = np.delete(new[factors[0]], range(SIZE + 4, SIZE + 7))
    np.testing.assert_array_equal(kept, old[factors[0]])
    assert kp.surgery.verify(source, target).verdict == "proved"
