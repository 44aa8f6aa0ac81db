"""`NonFiniteGuard`: a bad step leaves no trace, and is explained."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_padsafe.audit import AuditReport, Finding
from keras_padsafe.callbacks import NonFiniteGuard
from keras_padsafe.errors import GuardError, NonFiniteError

BACKEND = keras.backend.backend()
BATCH, BAD = 4, 2
FINDING = Finding("PS504", "input x", "NaN in row 1.", "Drop it.", {"rows": [1]})


@pytest.fixture(autouse=True)
def replays(monkeypatch):
    """Stands for `find_nonfinite`, which has tests of its own; lists its calls."""
    calls = []

    def find_nonfinite(model, x, y=None, loss=None, **arguments):
        weights = [keras.ops.convert_to_numpy(w) for w in model.weights]
        calls.append(SimpleNamespace(x=x, y=y, weights=weights, **arguments))
        return AuditReport((FINDING,))

    fake = SimpleNamespace(find_nonfinite=find_nonfinite)
    monkeypatch.setitem(sys.modules, "keras_padsafe.audit.find_nonfinite", fake)
    return calls


class UnsafeLog(keras.layers.Layer):
    """Finite everywhere, but its gradient is NaN at 0."""

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[1:], initializer="ones")

    def call(self, x):
        x = x * self.scale
        return keras.ops.where(x > 0, keras.ops.log(x), 0.0)


def make_model(optimizer=None, **compile_arguments):
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((3,))
    x = keras.layers.Dense(5)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Concatenate()([x, UnsafeLog()(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    compile_arguments = {"metrics": ["mae"], "jit_compile": False, **compile_arguments}
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", **compile_arguments)
    return model


BAD_VALUES = {"NaN in the input": np.nan, "inf in the input": np.inf, "gradient": 0.0}


def make_data(value=np.nan, bad=(BAD,), batches=5):
    random = np.random.default_rng(0)
    x = random.uniform(0.5, 1, (batches * BATCH, 3)).astype("float32")
    y = random.normal(size=(batches * BATCH, 1)).astype("float32")
    for batch in bad:
        x[batch * BATCH + 1] = value
    return x, y


def without(array, bad=(BAD,)):
    keep = [b for b in range(len(array) // BATCH) if b not in bad]
    return np.concatenate([array[b * BATCH : (b + 1) * BATCH] for b in keep])


def fit(model, x, y, *callbacks, **arguments):
    keras.utils.set_random_seed(5)  # PyTorch has one random state for all
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(x, y, callbacks=[*callbacks], **arguments)


def everything(model):
    """All that training changes: weights, statistics, seeds, slots, metrics."""
    variables = model.variables + model.optimizer.variables + model.metrics_variables
    return [keras.ops.convert_to_numpy(v) for v in variables]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


MODES = {
    "compiled": {},
    "eager": {"run_eagerly": True},
    **({} if BACKEND == "torch" else {"XLA": {"jit_compile": True}}),
}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [(BAD,), (0,), (1, 4)], ids=str)
def test_a_skipped_batch_leaves_no_trace(mode, value, bad, capsys):
    x, y = make_data(value, bad)
    guarded, reference = make_model(**MODES[mode]), make_model(**MODES[mode])
    guard = NonFiniteGuard("skip")
    ours = fit(guarded, x, y, guard, epochs=2)
    theirs = fit(reference, without(x, bad), without(y, bad), epochs=2)
    assert [(b.epoch, b.batch) for b in guard.reports] == [
        (epoch, batch) for epoch in (0, 1) for batch in bad
    ]
    assert_same(everything(guarded), everything(reference))
    assert ours.history == theirs.history


OPTIMIZERS = {
    "accumulation": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, gradient_accumulation_steps=2
    ),
    "average": lambda: keras.optimizers.AdamW(0.1, use_ema=True, clipnorm=1.0),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.1)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_slot_of_the_optimizer_goes_back(name):
    x, y = make_data()
    guarded, reference = (make_model(OPTIMIZERS[name]()) for _ in range(2))
    fit(guarded, x, y, NonFiniteGuard("skip"))
    fit(reference, without(x), without(y))
    assert_same(everything(guarded), everything(reference))


def test_a_loss_scale_that_finds_its_size_is_no_bad_step(capsys):
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.1), initial_scale=2.0**127
    )
    model = make_model(optimizer)
    guard = NonFiniteGuard("raise")
    fit(model, *make_data(0.7), guard)
    assert float(optimizer.dynamic_scale) < 2.0**127
    assert guard.reports == []
    assert capsys.readouterr().err == ""
