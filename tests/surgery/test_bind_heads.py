"""What only might belong to a vocabulary is asked for, never guessed."""

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError

from .reference import assert_old_rows_kept, assert_plan_is_exact, only_once, save
from .saved import digest, read
from .zoo import ADDED, DIM, GROWN, SIZE, Build, ids, table

pytestmark = only_once


def _refused(source: Path, match: str, **options: object) -> None:
    before = digest(source)
    target = source.with_name("refused.keras")
    with pytest.raises(AmbiguousVocabularyError, match=f"(?s){match}"):
        kp.surgery.grow(source, target, rows=ADDED, **options)  # type: ignore[arg-type]
    assert not target.exists()
    assert digest(source) == before


def _settled(build: Build, source: Path, **options: object) -> keras.Model:
    target, larger = source.with_name("new.keras"), source.with_name("larger.keras")
    save(build, GROWN, larger)
    plan = kp.surgery.grow(source, target, rows=ADDED, **options).plan  # type: ignore[arg-type]
    assert_plan_is_exact(plan, read(source), read(larger))
    assert_old_rows_kept(plan, read(source), read(target))
    return keras.models.load_model(target)


def _translator(size: int, target_size: int = SIZE) -> keras.Model:
    source, target = ids("source"), ids("target")
    memory = layers.GRU(DIM)(table(size, "source_words")(source))
    h = layers.GRU(DIM, return_sequences=True)(
        table(target_size, "target_words")(target), initial_state=memory
    )
    head = layers.Dense(target_size, name="next_word")(h)
    return keras.Model([source, target], head)


def test_head_after_two_equal_tables(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_translator, SIZE, source)
    _refused(source, "2 vocabularies.*vocabulary=NAME.*source_words.*target_words")
    _refused(
        source,
        "next_word.*follows several tables: source_words.*, target_words"
        ".*--also next_word:1.*--leave next_word",
        vocabulary="target_words",
    )
    _settled(_translator, source, vocabulary="source_words", leave=["next_word"])


def test_head_after_two_equal_tables_claimed(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_translator, SIZE, source)

    def build(size: int) -> keras.Model:
        return _translator(SIZE, size)

    options = {"vocabulary": "target_words", "also": ["next_word:1"]}
    grown = _settled(build, source, **options)
    assert grown.get_layer("source_words").input_dim == SIZE


def test_as_many_classes_as_ids(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        h = layers.GlobalAveragePooling1D()(table(size)(x))
        return keras.Model(x, layers.Dense(SIZE, name="classes")(h))

    save(build, SIZE, source)
    _refused(
        source,
        "classes.*13 units.*not shown that they are for each step of the ids"
        ".*--also classes:1.*--leave classes",
    )
    _settled(build, source, leave=["classes"])


def test_as_many_tags_as_ids(tmp_path: Path) -> None:
    """A tagger is no different from a language model in its file: a note says so."""
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        return keras.Model(x := ids(), layers.Dense(SIZE, name="tags")(table(size)(x)))

    save(build, SIZE, source)
    (note,) = kp.surgery.inspect(source).vocabularies[0].notes
    assert "13 units at each step" in note
    assert "--leave tags" in note
    _settled(build, source, leave=["tags"])


def test_a_head_of_two_sequences_is_spoken_of_once(tmp_path: Path) -> None:
    source, head = tmp_path / "old.keras", layers.Dense(SIZE, name="head")
    left, right, words = ids("left"), ids("right"), table(SIZE)
    keras.Model([left, right], [head(words(left)), head(words(right))]).save(source)
    notes = kp.surgery.plan(source, rows=1).notes
    assert len([note for note in notes if "'head' has" in note]) == 1
    late = layers.Dense(SIZE, name="late")
    scores = [late(layers.LSTM(2)(words(x))) for x in (left, right)]
    keras.Model([left, right], scores).save(source)
    found = kp.surgery.inspect(source).vocabularies[0].unexplained
    assert len([one for one in found if one.place == "late"]) == 1


def test_bag_of_words_head_by_also(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        h = layers.GlobalAveragePooling1D()(table(size)(x))
        return keras.Model(x, layers.Dense(size, name="scores")(h))

    save(build, SIZE, source)
    _refused(source, "not shown that they are")
    _settled(build, source, also=["scores:1"])


@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization(name="mixer"),
        layers.BatchNormalization(name="mixer"),
        layers.Dense(3, name="mixer"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layer_that_mixes_the_units(layer: keras.Layer, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        head = layers.Dense(size, name="head")
        logits = head(table(size)(x))
        return keras.Model(
            x, [logits, type(layer).from_config(layer.get_config())(logits)]
        )

    save(build, SIZE, source)
    _refused(source, "mixer.*13")


@pytest.mark.parametrize(
    "make",
    [
        lambda h: layers.Conv1D(SIZE, 3, padding="same", name="scores")(h),
        lambda h: keras.ops.max(layers.Dense(SIZE, name="scores")(h), axis=-1),
        lambda h: layers.LayerNormalization(name="scores")(layers.Dense(SIZE)(h)),
    ],
    ids=["convolution", "operation", "normalised"],
)
def test_units_that_reach_an_output(make: Any, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        return keras.Model(x, make(table(size)(x)))

    save(build, SIZE, source)
    _refused(
        source, "'scores' has 13 units.*they may be scores of the ids.*--leave scores"
    )


def test_two_equal_vocabularies_need_a_name(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        word, tag = ids("word"), ids("tag")
        return keras.Model(
            [word, tag], layers.Add()([table(size)(word), table(SIZE, "tags")(tag)])
        )

    save(build, SIZE, source)
    _refused(source, "2 vocabularies.*'words' \\(13 ids\\), 'tags' \\(13 ids\\)")
    with pytest.raises(
        SurgeryError, match=r"no vocabulary goes by the name 'verbs'.*Fo"
    ):
        kp.surgery.grow(source, tmp_path / "n.keras", rows=1, vocabulary="verbs")


def test_position_table_of_equal_size_is_left_alone(tmp_path: Path) -> None:
    """Positions come from an operation, not from an input of ids."""
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids("ids", SIZE)
        positions = keras.ops.cumsum(keras.ops.ones_like(x), axis=1) - 1
        h = layers.Embedding(SIZE, DIM, name="positions")(positions)
        return keras.Model(x, layers.Add()([table(size)(x), h]))

    save(build, SIZE, source)
    _settled(build, source, vocabulary="words")


def test_says_what_was_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        h = layers.Conv1D(SIZE, 2, name="decoy")(table(size)(x))
        return keras.Model(x, layers.Dense(2)(h))

    save(build, SIZE, source)
    (vocabulary,) = kp.surgery.inspect(source).vocabularies
    left = {item.path: item for item in vocabulary.left_alone}
    assert left["layers/conv1d/vars/0"].shape == (2, DIM, SIZE)
    assert "Conv1D" in left["layers/conv1d/vars/0"].reason
    plan = kp.surgery.plan(source, rows=1)
    assert [item.path for item in plan.left_alone] == list(left)
    _settled(build, source)


def test_three_hundred_layers_are_read_quickly(tmp_path: Path) -> None:
    import time

    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        h = table(size)(x)
        for _ in range(150):
            h = layers.Add()([h, layers.Dense(DIM)(h)])
        return keras.Model(x, layers.Dense(size)(h))

    save(build, SIZE, source)
    started = time.perf_counter()
    plan = kp.surgery.grow(source, tmp_path / "new.keras", rows=ADDED).plan
    assert time.perf_counter() - started < 10
    assert len(plan.arrays) == 3


def test_deeply_shared_decoys_stay_linear(tmp_path: Path) -> None:
    """A chain of additions has 2**40 paths, and 40 calls."""
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        h = table(size)(x)
        for _ in range(40):
            h = layers.Add()([h, h])
        return keras.Model(x, layers.Dense(size)(h))

    save(build, SIZE, source)
    assert len(kp.surgery.plan(source, rows=1).arrays) == 3
