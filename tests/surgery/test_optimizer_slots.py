"""Training goes on: slots grow with their weights, the step count stays."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError

from .reference import assert_old_rows_kept, assert_same_structure, only_once, save
from .saved import digest, read, same_bits
from .zoo import ADDED, DIM, GROWN, SIZE, Build, ids, table

pytestmark = pytest.mark.usefixtures("quick_compile")

SCHEDULE = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9}


def _schedule() -> Any:
    return optimizers.schedules.ExponentialDecay(**SCHEDULE)


KNOWN: dict[str, Any] = {
    "adam": lambda: optimizers.Adam(0.01),
    "adam_amsgrad": lambda: optimizers.Adam(amsgrad=True),
    "adam_ema": lambda: optimizers.Adam(use_ema=True),
    "adam_accumulating": lambda: optimizers.Adam(gradient_accumulation_steps=2),
    "adam_everything": lambda: optimizers.Adam(
        _schedule(), amsgrad=True, use_ema=True, gradient_accumulation_steps=2
    ),
    "adamw": lambda: optimizers.AdamW(_schedule()),
    "sgd": lambda: optimizers.SGD(),
    "sgd_momentum": lambda: optimizers.SGD(momentum=0.9),
    "sgd_nesterov": lambda: optimizers.SGD(momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(),
    "rmsprop_centered": lambda: optimizers.RMSprop(momentum=0.5, centered=True),
    "adagrad": lambda: optimizers.Adagrad(),
    "adadelta": lambda: optimizers.Adadelta(),
    "adamax": lambda: optimizers.Adamax(),
    "nadam": lambda: optimizers.Nadam(),
    "ftrl": lambda: optimizers.Ftrl(),
    "lion": lambda: optimizers.Lion(),
    "lamb": lambda: optimizers.Lamb(),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
    "loss_scale_momentum": lambda: optimizers.LossScaleOptimizer(
        optimizers.SGD(momentum=0.9)
    ),
    "adafactor": lambda: optimizers.Adafactor(),
    "muon": lambda: optimizers.Muon(0.01),
}
if not hasattr(optimizers, "ScheduleFreeAdamW"):  # An earlier Keras.
    del KNOWN["schedule_free"]
if keras.backend.backend() == "tensorflow" and keras.__version__.startswith("3.12."):
    del KNOWN["muon"]  # There it asks a variable of TensorFlow for a `path`.
# What new entries hold, where it is not 0.
START = {"adagrad": [0.1], "ftrl": [0.1, 0.0]}


def _with(make: Any, model: Build | None = None, *, trained: bool = True) -> Build:
    def build(size: int) -> keras.Model:
        made = (model or _model)(size)
        made.compile(make(), "sparse_categorical_crossentropy", run_eagerly=True)
        made.optimizer.build(made.trainable_variables)
        if trained:
            train(made)
        return made

    return build


def _model(size: int) -> keras.Model:
    x = ids()
    h = layers.BatchNormalization()(table(size)(x))
    return keras.Model(x, layers.Dense(size, activation="softmax", name="head")(h))


def train(model: keras.Model) -> None:
    x = np.random.default_rng(3).integers(0, SIZE, (4, 5)).astype("int32")
    model.train_on_batch(x, x)


@pytest.mark.parametrize("name", KNOWN)
def test_training_goes_on(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    save(_with(KNOWN[name], trained=False), GROWN, larger)
    model = save(_with(KNOWN[name]), SIZE, source)

    plan = kp.surgery.grow(source, target, rows=ADDED).plan

    old, new, reference = read(source), read(target), read(larger)
    assert_same_structure(new, reference)
    assert_old_rows_kept(plan, old, new)
    if name != "adafactor":  # Its factors bear the names of many weights.
        _assert_slots_named(model, plan)
    grown = keras.models.load_model(target)  # a skipped slot is a warning: an error
    pairs = zip(model.optimizer.variables, grown.optimizer.variables, strict=True)
    for one, other in pairs:
        before, after = as_array(one), as_array(other)
        kept = tuple(slice(0, size) for size in before.shape)
        np.testing.assert_array_equal(before, after[kept])
    train(grown)
    accumulates = bool(grown.optimizer.gradient_accumulation_steps)
    assert int(grown.optimizer.iterations) == (1 if accumulates else 2)
    assert all(np.isfinite(as_array(weight)).all() for weight in grown.weights)


def as_array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)


def _assert_slots_named(model: keras.Model, plan: Any) -> None:
    """The slots that the plan changes are, by name, those of the arrays it changes."""
    optimizer = model.optimizer
    named = [variable.path for variable in optimizer.variables]
    weights = {
        "layers/embedding/vars/0": "words_embeddings",
        "layers/dense/vars/0": "head_kernel",
        "layers/dense/vars/1": "head_bias",
    }
    found = [c for c in plan.arrays if c.path.startswith("optimizer/vars/")]
    expected = {
        number
        for number, path in enumerate(named)
        if any(name in path.replace("/", "_") for name in weights.values())
    }
    assert {int(c.path.rpartition("/")[2]) for c in found} == expected
    for change in found:
        path = named[int(change.path.rpartition("/")[2])].replace("/", "_")
        assert weights[change.reason.removeprefix("slot of ")] in path


@only_once
@pytest.mark.parametrize("name", START)
def test_new_entries_of_accumulators_start_where_keras_starts(
    name: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with(KNOWN[name]), SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED).plan
    new = read(target)
    starts = [
        set(new.arrays[c.path][-ADDED:].ravel().tolist())
        for c in plan.arrays
        if c.reason == "slot of layers/embedding/vars/0"
    ]
    assert starts == [{float(np.float32(value))} for value in START[name]]


@only_once
@pytest.mark.parametrize("new_rows", ["mean", "normal:3"])
def test_moving_average_starts_at_the_new_rows(new_rows: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with(KNOWN["adam_ema"]), SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED, new_rows=new_rows).plan
    new = read(target)
    averages = [c for c in plan.arrays if c.like]
    assert len(averages) == 3
    for change in averages:
        made = np.take(new.arrays[change.path], range(SIZE, GROWN), change.axis)
        weight = np.take(new.arrays[change.like], range(SIZE, GROWN), change.axis)
        assert same_bits(made, weight)


def _frozen(size: int) -> keras.Model:
    model = _model(size)
    model.get_layer("words").trainable = False
    return model


def _shared_everything(size: int) -> keras.Model:
    """Slots of equal shape in nested, shared and wrapped layers."""
    x = ids("inner")
    words = layers.Embedding(size, DIM, name="words")
    h = layers.Bidirectional(layers.LSTM(DIM, return_sequences=True))(words(x))
    encoder = keras.Model(x, layers.Dense(DIM)(h), name="encoder")
    a, b, c = ids("a"), ids("b"), ids("c")
    decoy = layers.Embedding(SIZE, DIM, name="decoy")
    h = layers.Add()([encoder(a), encoder(b), decoy(c)])
    h = layers.MultiHeadAttention(2, 3)(h, h)
    return keras.Model([a, b, c], layers.TimeDistributed(layers.Dense(2))(h))


def _dim_equal(size: int) -> keras.Model:
    x = ids()
    h = layers.Embedding(size, SIZE, name="words")(x)
    h = layers.BatchNormalization()(layers.Dense(SIZE)(h))
    h = layers.Dense(SIZE)(h)
    return keras.Model(x, layers.Dense(size, name="head")(h))


@only_once
def test_frozen_table_has_no_slots(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with(KNOWN["adam"], _frozen), SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED).plan
    assert not any(c.reason.endswith("embedding/vars/0") for c in plan.arrays)
    assert sum("slot" in c.role for c in plan.arrays) == 4
    train(keras.models.load_model(target))


@only_once
@pytest.mark.parametrize("model", [_shared_everything, _dim_equal])
def test_slots_of_equal_shape_are_told_apart(model: Build, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"

    def build(size: int) -> keras.Model:
        made = model(size)
        made.compile("adam", "mse")
        made.optimizer.build(made.trainable_variables)
        for variable in made.optimizer.variables[2:]:
            variable.assign(np.random.normal(size=variable.shape))
        return made

    save(build, GROWN, larger)
    save(build, SIZE, source)
    options = {} if model is _dim_equal else {"vocabulary": "words"}
    plan = kp.surgery.grow(source, target, rows=ADDED, **options).plan
    old, new = read(source), read(target)
    assert_same_structure(new, read(larger))
    assert_old_rows_kept(plan, old, new)


@only_once
def test_compiled_but_never_trained(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        model = _model(size)
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    save(build, SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED).plan
    assert len(plan.arrays) == 3


class Unheard(optimizers.SGD):
    """An optimizer that nobody has heard of."""


UNKNOWN: dict[str, Any] = {
    "unheard": lambda: Unheard(momentum=0.5),
}


@only_once
@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_optimizer_is_refused_or_dropped(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with(UNKNOWN[name]), SIZE, source)
    before = digest(source)
    with pytest.raises(AmbiguousVocabularyError, match=r"(?s)order.*--optimizer drop"):
        kp.surgery.grow(source, target, rows=ADDED)
    assert not target.exists()
    assert digest(source) == before
    plan = kp.surgery.grow(source, target, rows=ADDED, optimizer="drop").plan
    new = read(target)
    assert not new.slots
    assert_old_rows_kept(plan, read(source), new)
    grown = keras.models.load_model(target, compile=False)
    assert grown.get_layer("words").input_dim == GROWN


def _regression(size: int) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Dense(1)(layers.Flatten()(table(size)(x))))


def _step(model: keras.Model) -> float:
    x = np.random.default_rng(3).integers(0, SIZE, (8, 5)).astype("int32")
    model.reset_metrics()  # Keras before 3.15 gives the mean of all steps on JAX.
    return float(model.train_on_batch(x, x[:, :1].astype("float32")))


# These scale a step of a weight by a norm of all of it, new rows too: by how much of
# its length a step may differ, measured as 0.103 and 0.008.
SCALED_BY_THE_WHOLE = {"adafactor": 0.12, "lamb": 0.02}


@pytest.mark.parametrize("name", KNOWN)
def test_the_next_steps_are_those_of_the_model_that_did_not_grow(
    name: str, tmp_path: Path
) -> None:
    if name == "rmsprop_centered" and keras.backend.backend() == "tensorflow":
        pytest.skip("Keras 3.15 loses track of its sparse gradients: no second step")
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        model = _regression(size)
        model.compile(KNOWN[name](), "mse", run_eagerly=True)
        _step(model)
        return model

    model = save(build, SIZE, source)
    kp.surgery.grow(source, target, rows=ADDED)
    grown = keras.models.load_model(target)
    start = np.array(as_array(model.get_layer("words").embeddings))
    for _ in range(2):
        np.testing.assert_allclose(_step(grown), _step(model), rtol=1e-5)
    old, new = (as_array(m.get_layer("words").embeddings) for m in (model, grown))
    gap = SCALED_BY_THE_WHOLE.get(name, 0) * np.abs(old - start).max()
    np.testing.assert_allclose(new[:SIZE], old, rtol=1e-5, atol=max(gap, 1e-6))


def test_averages_of_low_rank_parts_start_with_zeros(tmp_path: Path) -> None:
    """A file holds LoRA merged; Keras starts its parts with zeros."""

    def build(size: int) -> keras.Model:
        model = _model(size)
        model.layers[1].enable_lora(2)
        return model

    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with(KNOWN["adam_ema"], build), SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED).plan
    old, new = read(source).slots, read(target).slots
    grown = [c for c in plan.arrays if c.path.startswith("optimizer/")]
    assert any(change.shape == (SIZE, 2) for change in grown)
    for change in grown:
        if change.shape == (SIZE, 2):
            np.testing.assert_array_equal(new[change.path][:SIZE], old[change.path])
            assert not new[change.path][SIZE:].any()
