"""Only new rows train: old rows, columns and biases stay bit for bit."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from tests.surgery.saved import read

OLD, NEW, DIM, TIME = 11, 3, 4, 5
SIZE = OLD + NEW
RANDOM = np.random.default_rng(0)


def tagger() -> keras.Model:
    """A table, another of positions, and a head with a bias."""
    x = keras.Input((TIME,), dtype="int32")
    positions = layers.Embedding(TIME, DIM)(keras.ops.arange(TIME))
    h = layers.Embedding(OLD, DIM, name="words")(x) + positions
    h = layers.BatchNormalization()(h)
    return keras.Model(x, layers.Dense(OLD, activation="softmax", name="head")(h))


def masked() -> keras.Model:
    """A table that masks id 0, whose row is not zero and reaches the answer."""
    x = keras.Input((TIME,), dtype="int32")
    h = layers.Embedding(OLD, DIM, mask_zero=True, name="words")(x)
    h = layers.Dense(DIM)(keras.ops.multiply(h, 2.0))
    return keras.Model(x, layers.Dense(OLD, activation="softmax", name="head")(h))


def nested() -> keras.Model:
    """A shared table inside a model inside a model."""
    tower = keras.Sequential(
        [keras.Input((TIME,), dtype="int32"), layers.Embedding(OLD, DIM, name="words")],
        name="tower",
    )
    x, y = (keras.Input((TIME,), dtype="int32") for _ in range(2))
    h = layers.Concatenate()([tower(x), tower(y)])
    return keras.Model([x, y], layers.Dense(1)(h))


@keras.saving.register_keras_serializable("freeze_old_rows")
class Tied(keras.Model):
    """A subclassed model whose table scores too."""

    def __init__(self, ids: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.ids = ids
        self.words = layers.ReversibleEmbedding(ids, DIM)
        self.mix = layers.Dense(DIM)

    def call(self, x: object) -> object:
        return keras.ops.softmax(self.words(self.mix(self.words(x)), reverse=True))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "ids": self.ids}


def tied() -> keras.Model:
    model = Tied(OLD)
    model(np.zeros((1, TIME), "int32"))
    return model


def low_rank() -> keras.Model:
    """A table and a head with LoRA, which a file holds merged."""
    model = tagger()
    for layer in model.layers:
        if isinstance(layer, layers.Embedding | layers.Dense):
            layer.enable_lora(2)
    return model


MODELS: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "tagger": (tagger, "ExtendableEmbedding"),
    "low rank": (low_rank, "ExtendableEmbedding"),
    "masked": (masked, "Embedding"),
    "nested": (nested, "ExtendableEmbedding"),
    "tied": (tied, "ReversibleEmbedding"),
}


def grown(make: Callable[[], keras.Model], optimizer: object = None) -> keras.Model:
    """The model with new ids, compiled."""
    model = make()
    optimizer = optimizer or keras.optimizers.AdamW(0.05, weight_decay=0.1)
    model.compile(
        optimizer, "mse" if make is nested else "sparse_categorical_crossentropy"
    )
    x, y = batch(model, OLD)
    model.fit(x, y, verbose=0)
    found = kp.surgery.grow(model, rows=NEW).model
    assert found is not None
    return found


def batch(model: keras.Model, ids: int = SIZE) -> tuple[object, np.ndarray]:
    x = RANDOM.integers(0, ids, (16, TIME))
    if isinstance(model, Tied) or len(model.inputs) == 1:
        return x, x
    return [x, x[::-1]], RANDOM.normal(size=(16, TIME, 1))


def over_ids(path: Path) -> dict[tuple[bool, int], np.ndarray]:
    """Table, kernel and bias: what has an axis over the ids, which comes first."""
    return {
        ("embedding" in key, value.ndim): np.moveaxis(value, value.shape.index(SIZE), 0)
        for key, value in read(path).weights.items()
        if SIZE in value.shape
    }


@pytest.mark.parametrize("train_rest", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_only_new_entries_move(name: str, train_rest: bool, tmp_path: Path) -> None:
    make, table = MODELS[name]
    model = grown(make)
    before = [np.array(weight) for weight in model.get_weights()]
    model.save(tmp_path / "before.keras")
    frozen = kp.surgery.freeze_old_rows(model, OLD, train_rest=train_rest)
    x, y = batch(model)
    expected, received = (keras.ops.convert_to_numpy(m(x)) for m in (model, frozen))
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)
    classes = {type(layer).__name__ for layer in frozen._flatten_layers()}
    assert table in classes

    frozen.fit(x, y, epochs=2, verbose=0)
    frozen.save(tmp_path / "after.keras")

    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now, "the source was changed")
    old, now = over_ids(tmp_path / "before.keras"), over_ids(tmp_path / "after.keras")
    assert len(old) == (1 if name in ("nested", "tied") else 3)
    for place, value in now.items():
        start = old[place]
        np.testing.assert_array_equal(value[:OLD], start[:OLD])
        assert (value[OLD:] != start[OLD:]).any(axis=tuple(range(1, value.ndim))).all()
    weights, left = (
        read(tmp_path / f"{name}.keras").weights.values()
        for name in ("before", "after")
    )
    rest = [a for a in weights if SIZE not in a.shape]
    same = [any(np.array_equal(a, b) for b in left) for a in rest]
    assert all(same) is not train_rest
    if name != "tied" or train_rest:  # The class itself does not say what is frozen.
        keras.models.load_model(tmp_path / "after.keras")


@pytest.mark.parametrize("train_rest", [False, True])
def test_weights_of_an_encoding_keep_the_stretches_of_old_ids(train_rest: bool) -> None:
    x, numbers = keras.Input((TIME,), dtype="int32"), keras.Input((2,))
    encoded = layers.CategoryEncoding(OLD, "multi_hot")(x)
    y = layers.Dense(1, name="score")(layers.Concatenate()([numbers, encoded]))
    model = keras.Model([x, numbers], y)
    model.compile("adam", "mse")
    model.fit([np.zeros((2, TIME), int), np.zeros((2, 2))], np.zeros(2), verbose=0)
    model = kp.surgery.grow(model, rows=NEW).model
    frozen = kp.surgery.freeze_old_rows(model, OLD, train_rest=train_rest)
    ids = np.tile(np.arange(SIZE), 5).reshape(SIZE, TIME)
    frozen.fit([ids, RANDOM.normal(size=(SIZE, 2))], np.ones(SIZE), verbose=0)
    old, now = (m.get_layer("score").get_weights()[0] for m in (model, frozen))
    moved = np.flatnonzero((old != now).any(axis=1)).tolist()
    first = [0, 1] if train_rest else []
    assert moved == [*first, *range(2 + OLD, 2 + SIZE)]


def test_a_frozen_table_costs_no_state_of_the_optimizer() -> None:
    model = kp.surgery.freeze_old_rows(grown(nested), OLD)
    slots = [v.shape for v in model.optimizer.variables if len(v.shape) == 2]
    assert set(map(tuple, slots)) == {(NEW, DIM)}


def test_a_file_stays_frozen_and_can_grow_again(tmp_path: Path) -> None:
    frozen = kp.surgery.freeze_old_rows(grown(nested), OLD)
    frozen.save(tmp_path / "frozen.keras")
    report = kp.surgery.grow(
        tmp_path / "frozen.keras", tmp_path / "again.keras", rows=2, proof=True
    )
    assert report.plan.old_size == SIZE
    again = kp.surgery.freeze_old_rows(tmp_path / "again.keras", SIZE)
    assert [tuple(w.shape) for w in again.trainable_weights] == [(2, DIM)]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_in_reduced_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        model = grown(masked, "sgd")
        frozen = kp.surgery.freeze_old_rows(model, OLD)
        x, y = batch(model)
        frozen.fit(x, y, verbose=0)
        for old, now in zip(model.get_weights(), frozen.get_weights(), strict=True):
            axis = [*old.shape, SIZE].index(SIZE)
            if axis == old.ndim:
                continue
            kept = [np.moveaxis(a, axis, 0)[:OLD] for a in (old, now)]
            np.testing.assert_array_equal(*kept)
    finally:
        keras.config.set_dtype_policy("float32")


def test_without_a_new_id_there_is_nothing_to_train() -> None:
    with pytest.raises(SurgeryError, match="has 14 ids, so none would be new"):
        kp.surgery.freeze_old_rows(grown(tagger), SIZE)


def test_an_average_of_weights_is_refused() -> None:
    model = grown(tagger, keras.optimizers.SGD(use_ema=True))
    with pytest.raises(SurgeryError, match="use_ema"):
        kp.surgery.freeze_old_rows(model, OLD)


def test_a_number_that_counts_nothing_is_refused() -> None:
    with pytest.raises(SurgeryError, match="old_size: expected a positive integer"):
        kp.surgery.freeze_old_rows("model.keras", 0)
