"""A padding token for a model that has none: every id moves up, and 0 is masked."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError

from .saved import read

SIZE, DIM = 11, 4


def ids() -> Any:
    return keras.Input((None,), dtype="int32")


def tagger(size: int, *, mask: bool) -> keras.Model:
    """A table, a recurrent layer, and a head over the ids."""
    x = ids()
    h = layers.Embedding(size, DIM, mask_zero=mask, name="words")(x)
    h = layers.GRU(5, return_sequences=True, name="gru")(h)
    model = keras.Model(x, layers.Dense(size, name="head")(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(0)
    model = tagger(SIZE, mask=False)
    x = np.random.default_rng(0).integers(0, SIZE, (8, 5))
    model.fit(x, x, verbose=0)
    path = tmp_path_factory.mktemp("models") / "old.keras"
    model.save(path)
    return path


def test_padding_at_0_moves_every_id_up(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    report = kp.surgery.grow(trained, target, rows=1, at=0, pad=True)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    before, after = read(trained), read(target)
    table = "layers/embedding/vars/0"
    assert np.array_equal(after.arrays[table][1:], before.arrays[table])
    assert not after.arrays[table][0].any()
    kernel, bias = "layers/dense/vars/0", "layers/dense/vars/1"
    assert np.array_equal(after.arrays[kernel][:, 1:], before.arrays[kernel])
    assert np.array_equal(after.arrays[bias][1:], before.arrays[bias])
    for path, slot in before.slots.items():
        grown = after.arrays[path]
        if grown.shape != slot.shape:
            axis = next(a for a in range(slot.ndim) if grown.shape[a] != slot.shape[a])
            assert np.array_equal(np.delete(grown, 0, axis), slot)
            assert not np.take(grown, 0, axis).any()


def test_padding_is_masked_from_then_on(trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    kp.surgery.grow(trained, target, rows=1, at=0, pad=True)
    old, new = (keras.models.load_model(path) for path in (trained, target))
    x, padded = np.array([[3, 0, 10]]), np.array([[4, 1, 11, 0, 0]])
    expected = old.predict(x, verbose=0)
    received = new.predict(padded, verbose=0)
    assert np.allclose(received[:, :3, 1:], expected, atol=1e-6)
    # As Keras itself with these weights, in a model made with padding.
    reference = tagger(SIZE + 1, mask=True)
    reference.set_weights(new.get_weights())
    assert np.allclose(reference.predict(padded, verbose=0), received, atol=1e-6)
    new.fit(padded, padded, verbose=0)
    assert int(new.optimizer.iterations) == 2


def test_padding_can_be_undone(trained: Path, tmp_path: Path) -> None:
    target, back = tmp_path / "new.keras", tmp_path / "back.keras"
    plan = kp.surgery.grow(trained, target, rows=1, at=0, pad=True).plan
    plan.save(tmp_path / "plan.json")
    plan = kp.surgery.Plan.load(tmp_path / "plan.json")
    kp.surgery.apply_plan(plan.inverse(), target, back)
    before, after = read(trained), read(back)
    assert before.config == after.config
    assert all(
        np.array_equal(a, after.arrays[path]) for path, a in before.arrays.items()
    )


def test_a_table_that_names_its_pad_id(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = ids()
    model = keras.Model(x, kp.layers.ExtendableEmbedding(SIZE, DIM)(x))
    model.compile("adam", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 3, DIM)), verbose=0)
    model.save(source)
    report = kp.surgery.grow(source, target, tokens=["[PAD]"], at=3, pad=True)
    assert report.tokens == {"[PAD]": 3}
    assert keras.models.load_model(target).layers[1].pad_id == 3
    after = read(target)
    kp.surgery.apply_plan(report.plan.inverse(), target, tmp_path / "back.keras")
    assert read(tmp_path / "back.keras").config == read(source).config
    for path, slot in read(source).slots.items():
        expected = np.insert(slot, 3, 0, axis=0) if slot.ndim == 2 else slot
        assert np.array_equal(after.arrays[path], expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="looks words up")
@pytest.mark.parametrize(
    "options",
    [
        {"vocabulary": ["a", "b", "c"]},
        {"vocabulary": ["[UNK]", "a", "b", "c"]},
        {"vocabulary": ["a", "b", "c"], "num_oov_indices": 0},
        {"vocabulary": ["a", "b", "c"], "num_oov_indices": 3},
        {},
    ],
)
def test_a_lookup_calls_padding_by_its_word(options: dict, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    words = keras.Input((3,), dtype="string")
    lookup = layers.StringLookup(**options)
    if not options:
        lookup.adapt([["c", "c", "c", "b", "b", "a"]])
    model = keras.Model(
        words, layers.Embedding(lookup.vocabulary_size(), 11)(lookup(words))
    )
    model.save(source)
    plan = kp.surgery.grow(source, target, tokens=["[PAD]"], at=0, pad=True).plan
    back = kp.surgery.Plan.from_json(plan.inverse().to_json())
    kp.surgery.apply_plan(back, target, tmp_path / "back.keras", proof=False)
    assert read(tmp_path / "back.keras").config == read(source).config
    new = keras.models.load_model(target)
    known = keras.ops.convert_to_tensor([["a", "c", "b"]])
    assert np.array_equal(model(known), new(known))
    padded = new(keras.ops.convert_to_tensor([["a", "[PAD]", "[PAD]"]]))
    assert padded._keras_mask.numpy().tolist() == [[True, False, False]]
    lookup = next(one for one in new.layers if isinstance(one, layers.StringLookup))
    assert lookup.get_vocabulary()[0] == "[PAD]"
    new.save(target)
    assert np.array_equal(model(known), keras.models.load_model(target)(known))


def test_new_words_go_before_a_word(tmp_path: Path) -> None:
    words = keras.Input((3,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"])
    model = keras.Model(words, layers.Embedding(4, 3)(lookup(words)))
    model.save(tmp_path / "old.keras")
    plan = kp.surgery.plan(tmp_path / "old.keras", tokens=["x", "y"], before="b")
    assert plan.row_map.ids.tolist() == [0, 1, -1, -1, 2, 3]
    assert plan.tokens == {"x": 2, "y": 3}
    plan.save_map(tmp_path / "ids.csv")
    lines = (tmp_path / "ids.csv").read_text().splitlines()
    assert lines[0] == "old_id,new_id,word"
    assert lines[1:] == ["0,0,", "1,1,a", ",2,x", ",3,y", "2,4,b", "3,5,c"]


def test_the_table_of_ids_tells_what_was_dropped(tmp_path: Path) -> None:
    _embedding().save(tmp_path / "old.keras")
    plan = kp.surgery.plan(
        tmp_path / "old.keras",
        old_vocabulary=["a", "b", "c", "d", *(f"w{n}" for n in range(4, SIZE))],
        new_vocabulary=["d", "new", "b"],
    )
    plan.save_map(tmp_path / "ids.csv")
    lines = (tmp_path / "ids.csv").read_text().splitlines()
    assert lines[1:6] == ["3,0,d", ",1,new", "1,2,b", "0,,a", "2,,c"]


def _embedding(**options: Any) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Embedding(SIZE, DIM, **options)(x))


def _lookup(layer: Any) -> keras.Model:
    words = keras.Input((1,), dtype="string")
    return keras.Model(words, layers.Embedding(SIZE, DIM)(layer(words)))


def _strings() -> keras.Model:
    return _lookup(layers.StringLookup(vocabulary=["a", "b"]))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (_embedding, {"rows": 1, "pad": True}, "can mask only id 0"),
        (_embedding, {"rows": 2, "at": 0, "pad": True}, "received 2 new ids"),
        (_embedding, {"rows": 1, "at": SIZE + 1}, f"from 0 to {SIZE}"),
        (_embedding, {"rows": 1, "at": -1}, "at: expected 0 or a positive integer"),
        (_embedding, {"rows": 1, "before": "b"}, "the file holds no words"),
        (_embedding, {"rows": 1, "at": 1, "before": "b"}, "one of them"),
        (_embedding, {"keep": [1], "at": 1}, "with `rows` or `tokens` only"),
        (
            lambda: _embedding(mask_zero=True),
            {"rows": 1, "at": 0, "pad": True},
            "id 0 .* already means padding",
        ),
        (
            lambda: _lookup(layers.TextVectorization(vocabulary=["a", "b"])),
            {"tokens": ["[PAD]"], "at": 0, "pad": True},
            "already gives id 0 to padding",
        ),
        (_strings, {"rows": 1, "at": 0, "pad": True}, "needs a word too"),
        (
            _strings,
            {"tokens": ["x"], "at": 0},
            r"^Vocabulary '.*': id 0 would move",
        ),
        (_strings, {"tokens": ["x"], "before": "q"}, "'q' is no word"),
        (_strings, {"tokens": ["x"], "at": 5}, "at most 3, the next free id"),
    ],
)
def test_what_cannot_be_done_is_said(
    model: Any, options: dict, message: str, tmp_path: Path
) -> None:
    model().save(tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.plan(tmp_path / "old.keras", **options)


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_the_pad_row_of_a_quantised_table_is_zero(mode: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = ids()
    model = keras.Model(x, keras.layers.Embedding(SIZE, DIM, name="words")(x))
    model.get_layer("words").quantize(mode)
    model.save(source)
    kp.surgery.grow(source, target, rows=1, at=0, pad=True)
    grown = keras.models.load_model(target)
    words = grown.get_layer("words")
    vectors = keras.ops.convert_to_numpy(words(np.arange(SIZE + 1)))
    assert not vectors[0].any()
    expected = keras.ops.convert_to_numpy(model(np.arange(SIZE)[None]))[0]
    np.testing.assert_array_equal(vectors[1:], expected)
