"""Trim and remap: whatever an id is bound to goes where the id goes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery import RowMap

from .reference import only_once
from .saved import read
from .zoo import ids, table

pytestmark = [only_once, pytest.mark.usefixtures("quick_compile")]

SIZE, DIM = 11, 4
TABLE = "layers/extendable_embedding/vars/0"


def trained(path: Path, **options: object) -> Path:
    """A tied-down table, a head and Adam, after some steps."""
    keras.utils.set_random_seed(0)
    words = kp.layers.ExtendableEmbedding(SIZE, DIM, **options)
    head = layers.Dense(SIZE, activation="softmax")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), words, head])
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).integers(0, SIZE, (16, 5))
    model.fit(x, x, verbose=0)
    model.save(path)
    return path


@pytest.mark.parametrize(
    ("options", "keep", "kept", "config"),
    [
        ({"pad_id": 7}, [9, 2], [2, 7, 9], {"pad_id": 1}),
        ({"pad_id": [4, -1]}, [1, 10], [1, 4, 10], {"pad_id": [1, -1]}),
        ({"frozen_rows": 3}, [0, 2, 8], [0, 2, 8], {"frozen_rows": 2}),
        ({"mask_zero": True}, [5], [0, 5], {"mask_zero": True}),
        (
            {"pad_id": 7, "frozen_rows": 3, "out_of_range": 5},
            [1, 5, 9],
            [1, 5, 7, 9],
            {"pad_id": 2, "frozen_rows": 1, "out_of_range": 1},
        ),
    ],
)
def test_trim(
    tmp_path: Path, options: dict, keep: list, kept: list, config: dict
) -> None:
    source, target = trained(tmp_path / "old.keras", **options), tmp_path / "new.keras"
    kp.surgery.trim(source, target, keep=keep)
    before, after = read(source), read(target)
    assert np.array_equal(after.arrays[TABLE], before.arrays[TABLE][kept])
    kernel = "layers/dense/vars/0"
    assert np.array_equal(after.arrays[kernel], before.arrays[kernel][:, kept])
    layer = after.config["config"]["layers"][1]["config"]
    assert layer["input_dim"] == len(kept)
    assert {key: layer[key] for key in config} == config
    moving = range(options.get("frozen_rows", 0), SIZE)
    slot = before.arrays["optimizer/vars/2"]
    expected = [slot[moving.index(id_)] for id_ in kept if id_ in moving]
    assert np.array_equal(after.arrays["optimizer/vars/2"], np.array(expected))
    assert kp.surgery.verify(source, target).passed


def test_remap_moves_a_pad_id(tmp_path: Path) -> None:
    source, target = trained(tmp_path / "old.keras", pad_id=7), tmp_path / "new.keras"
    order = [7, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10]
    plan = kp.surgery.remap(source, target, row_map=order).plan
    layer = read(target).config["config"]["layers"][1]["config"]
    assert layer["pad_id"] == 0
    assert kp.surgery.verify(source, target).passed
    back = tmp_path / "back.keras"
    kp.surgery.apply_plan(plan.inverse(), target, back)
    before, after = read(source), read(back)
    assert before.config == after.config
    for path, array in before.arrays.items():
        assert np.array_equal(array, after.arrays[path]), path


def test_remap_keeps_frozen_rows_in_front(tmp_path: Path) -> None:
    source = trained(tmp_path / "old.keras", frozen_rows=3)
    with pytest.raises(SurgeryError, match="frozen_rows"):
        kp.surgery.remap(source, tmp_path / "new.keras", row_map=[5, 0, 1, 2])


def test_remap_with_words(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(4, 3, mask_zero=True)]
    ).save(source)
    report = kp.surgery.remap(
        source,
        target,
        old_vocabulary=["", "cat", "dog", "emu"],
        new_vocabulary=["", "ant", "emu", "cat"],
        new_rows="zeros",
    )
    old, new = (read(p).arrays["layers/embedding/vars/0"] for p in (source, target))
    assert np.array_equal(new, np.stack([old[0], np.zeros(3), old[3], old[1]]))
    assert report.tokens == {"ant": 1}


def test_padding_by_number_cannot_move(tmp_path: Path) -> None:
    source = trained(tmp_path / "old.keras", mask_zero=True)
    with pytest.raises(SurgeryError, match=r"^Vocabulary '.*': id 0 would move"):
        kp.surgery.remap(source, tmp_path / "new.keras", row_map=[1, 0, 2])


@pytest.mark.parametrize("keep", [[99], [-1], ["cat"], []])
def test_trim_refuses(tmp_path: Path, keep: list) -> None:
    source, target = trained(tmp_path / "old.keras"), tmp_path / "new.keras"
    with pytest.raises(SurgeryError, match="keep"):
        kp.surgery.trim(source, target, keep=keep)
    assert not target.exists()


def test_a_map_without_some_ids() -> None:
    whole = RowMap([3, 1, -1, 0], old_size=4)
    assert whole.without([1], [1]).ids.tolist() == [2, -1, 0]
    assert whole.without([3], []).ids.tolist() == [-1, 1, -1, 0]
    assert whole.without([], []) == whole


def masked_by_hand(path: Path, real: object) -> Path:
    """A model that reads its ids beside the table that they enter."""
    ids = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(SIZE, DIM)(ids)
    weights = keras.ops.cast(real(ids), "float32")[..., None]  # type: ignore[operator]
    total = keras.ops.sum(vectors * weights, axis=1)
    keras.Model(ids, layers.Dense(1)(total)).save(path)
    return path


SHIFTED = [-1, *range(SIZE)]


@pytest.mark.parametrize(
    "real",
    [
        lambda ids: keras.ops.not_equal(ids, 0),
        lambda ids: ids != np.int32(SIZE - 1),
        lambda ids: keras.ops.equal(ids, keras.ops.convert_to_tensor(3)),
        lambda ids: keras.ops.not_equal(ids, -1),
    ],
)
def test_an_id_that_ids_are_compared_with_moves_along(
    tmp_path: Path, real: object
) -> None:
    source = masked_by_hand(tmp_path / "old.keras", real)
    target = tmp_path / "new.keras"
    kp.surgery.remap(source, target, row_map=SHIFTED)
    before, after = (keras.models.load_model(path) for path in (source, target))
    ids = np.array([[0, 3, 7, SIZE - 1, 0], [3, 3, 1, 2, 5]])
    assert np.array_equal(before.predict(ids), after.predict(ids + 1))


def test_an_id_beyond_the_table_that_ids_are_compared_with(tmp_path: Path) -> None:
    source = masked_by_hand(tmp_path / "old.keras", lambda ids: ids != SIZE)
    with pytest.raises(SurgeryError, match=f"id {SIZE} means padding"):
        kp.surgery.grow(source, tmp_path / "new.keras", rows=1)


@pytest.mark.parametrize("real", [lambda ids: ids > 3, lambda ids: ids[:, ::-1] != 3])
def test_what_else_reads_ids_is_proved_where_they_move(
    tmp_path: Path, real: object
) -> None:
    source = masked_by_hand(tmp_path / "old.keras", real)
    target = tmp_path / "new.keras"
    with pytest.raises(kp.errors.NotProvedError, match="depends on the ids"):
        kp.surgery.remap(source, target, row_map=SHIFTED)
    assert not target.exists()
    certificate = kp.surgery.grow(source, target, rows=1).certificate
    assert certificate is not None
    assert certificate.verdict == "proved"


def test_ids_of_unknown_words_may_share_a_name(tmp_path: Path) -> None:
    words = keras.Input((4,), dtype="string")
    known = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=2)
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(words, layers.Embedding(5, DIM)(known(words))).save(source)
    with pytest.raises(SurgeryError, match="unknown words, which stay anyway"):
        kp.surgery.plan(source, keep=["[UNK]"])
    kept = kp.surgery.plan(source, keep=["[UNK]", "c"])
    assert kept.row_map.ids.tolist() == [0, 1, 4]
    old = ["[UNK]", "[UNK]", "a", "b", "c"]
    new = ["[UNK]", "[UNK]", "c", "d", "a"]
    report = kp.surgery.remap(source, target, old_vocabulary=old, new_vocabulary=new)
    assert report.plan.row_map.ids.tolist() == [0, 1, 4, -1, 2]
    assert report.tokens == {"d": 3}


def test_words_with_several_ids_are_refused(tmp_path: Path) -> None:
    both, dense = [keras.Input((1,), dtype="string") for _ in range(2)], layers.Dense(2)
    words = ["a", "b", "c"]
    made = [
        dense(layers.StringLookup(vocabulary=own, output_mode="one_hot")(one))
        for own, one in zip((words, words[::-1]), both, strict=True)
    ]
    keras.Model(both, layers.Add()(made)).save(tmp_path / "old.keras")
    for asked in ({"keep": ["a", "b"]}, {"tokens": ["d"], "before": "a"}):
        with pytest.raises(SurgeryError, match=r"give 'a' the ids \[1, 3\]"):
            kp.surgery.plan(tmp_path / "old.keras", **asked)


def test_words_move_with_their_ids(tmp_path: Path) -> None:
    words = keras.Input((4,), dtype="string")
    known = layers.StringLookup(vocabulary=["a", "b", "c"])
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(words, layers.Embedding(4, DIM + 1)(known(words))).save(source)
    kp.surgery.remap(source, target, row_map=[0, 3, 1, 2])
    config = read(target).config["config"]["layers"][1]["config"]
    assert config["vocabulary"] == ["c", "a", "b"]


def test_lookups_of_unequal_length_each_count_their_own_words(tmp_path: Path) -> None:
    inputs = [keras.Input((4,), dtype="string") for _ in range(2)]
    table, lists = layers.Embedding(6, DIM), ("abcde", "abc")
    made = [
        table(layers.StringLookup(vocabulary=[*words])(x))
        for words, x in zip(lists, inputs, strict=True)
    ]
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(inputs, made).save(source)
    kp.surgery.trim(source, target, keep=["a", "e"])
    found = {
        tuple(layer["config"]["vocabulary"]): layer["config"]["vocabulary_size"]
        for layer in read(target).config["config"]["layers"]
        if layer["class_name"] == "StringLookup"
    }
    assert found == {("a", "e"): 3, ("a",): 2}


def shifted_pad(ids: Any) -> Any:
    """Ids that a layer has changed on their way to the table."""
    rows = layers.ZeroPadding1D((1, 0))(layers.Reshape((5, 1))(ids))
    return layers.Embedding(SIZE, DIM)(layers.Reshape((6,))(rows))


def picked_score(ids: Any) -> Any:
    return layers.Dense(SIZE)(layers.Embedding(SIZE, DIM)(ids))[..., 0]


def chosen_id(ids: Any) -> Any:
    scores = layers.Dense(SIZE)(layers.Embedding(SIZE, DIM)(ids))
    return keras.ops.equal(keras.ops.argmax(scores, -1), 3)


@pytest.mark.parametrize("build", [shifted_pad, picked_score, chosen_id])
def test_whatever_else_knows_ids_never_gives_a_wrong_file(
    tmp_path: Path, build: Any
) -> None:
    keras.utils.set_random_seed(0)
    ids = keras.Input((5,), dtype="int32")
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = keras.Model(ids, build(ids))
    weights = [10 * weight for weight in model.get_weights()]
    model.set_weights(weights)
    model.save(source)
    with pytest.raises(SurgeryError):
        kp.surgery.remap(source, target, row_map=SHIFTED)
    assert not target.exists()


def test_a_table_with_a_pad_id_moves_with_its_mask(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    table = kp.layers.ExtendableEmbedding(SIZE, DIM, pad_id=3)
    pooled = layers.GlobalAveragePooling1D()(table(ids))
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    keras.Model(ids, pooled).save(source)
    kp.surgery.grow(source, target, rows=1, at=1)
    before, after = (keras.models.load_model(path) for path in (source, target))
    old, new = np.array([[0, 5, 3, 3]]), np.array([[0, 6, 4, 4]])
    same = before.predict(old, verbose=0), after.predict(new, verbose=0)
    assert np.array_equal(*same)


def test_a_list_of_old_words_that_ends_too_soon(tmp_path: Path) -> None:
    keras.Model(x := ids(), table(SIZE)(x)).save(source := tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=r"received 2 words, .* has 11 ids"):
        kp.surgery.plan(source, old_vocabulary=["a", "b"], new_vocabulary=["a"])


def test_a_map_is_a_vector_and_no_dictionary(tmp_path: Path) -> None:
    keras.Model(x := ids(), table(SIZE)(x)).save(source := tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=r"row_map: received \{0: 1\}"):
        kp.surgery.plan(source, row_map={0: 1})


def test_a_new_word_that_no_file_can_hold(tmp_path: Path) -> None:
    keras.Model(x := ids(), table(2)(x)).save(source := tmp_path / "old.keras")
    new = ["a", "\ud800"]
    with pytest.raises(SurgeryError, match="lone surrogates"):
        kp.surgery.plan(source, old_vocabulary=["a", "b"], new_vocabulary=new)


def _texts(*others: str) -> keras.Model:
    text = layers.TextVectorization(
        vocabulary=["", "[UNK]", "ant", "bee", "cat", *others],
        output_sequence_length=4,
        ngrams=2,
    )
    x = keras.Input((1,), dtype="string")
    h = layers.GlobalAveragePooling1D()(table(5 + len(others))(text(x)))
    return keras.Model(x, layers.Dense(2)(h))


def test_pairs_of_words_of_which_one_was_dropped_are_not_tried(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    _texts("ant bee", "bee cat").save(source)
    kp.surgery.trim(source, target, keep=["ant", "cat", "ant bee", "bee cat"])
    assert kp.surgery.verify(source, target).verdict == "proved"


def test_a_word_given_that_was_dropped_is_not_compared(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    words = [f"word {number}" for number in range(SIZE - 1)]
    x = keras.Input((1,), dtype="string")
    lookup = layers.StringLookup(vocabulary=words)
    scores = layers.Dense(SIZE, name="head")(table(SIZE)(lookup(x)))
    name = layers.StringLookup(vocabulary=words, invert=True)
    keras.Model(x, name(ops.argmax(scores, axis=-1))).save(source)
    kp.surgery.trim(source, target, keep=words[:5])
    assert kp.surgery.verify(source, target).verdict == "proved"
