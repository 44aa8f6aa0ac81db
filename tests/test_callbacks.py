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


# The bad batches, and what is in one of their rows.
BAD_STEPS = {
    "NaN in the input": ((BAD,), np.nan),
    "inf in the first batch and in the last": ((0, 4), np.inf),
    "finite loss, NaN in the gradient, first of all": ((0,), 0.0),
}


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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", BAD_STEPS)
def test_a_skipped_batch_leaves_no_trace(mode, kind):
    bad, value = BAD_STEPS[kind]
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


def test_mixed_precision(request):
    request.addfinalizer(lambda: keras.config.set_dtype_policy("float32"))
    keras.config.set_dtype_policy("mixed_float16")
    x, y = make_data()
    guarded, reference = make_model(), make_model()
    guard = NonFiniteGuard("skip")
    fit(guarded, x, y, guard)
    fit(reference, without(x), without(y))
    assert len(guard.reports) == 1
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


class TwoOptimizers(keras.Model):
    """Two networks against each other, as in a GAN; its logs have no `loss`."""

    def __init__(self):
        super().__init__()
        self.one = keras.layers.Dense(1)
        self.other = keras.layers.Dense(1)
        self.tracker = keras.metrics.Mean("one_loss")

    def build(self, shape):
        self.one.build(shape)
        self.other.build(shape)

    def call(self, x):
        return self.one(x) + self.other(x)

    def compile(self):
        super().compile(jit_compile=False)
        self.optimizers = {
            "one": keras.optimizers.Adam(0.1),
            "other": keras.optimizers.RMSprop(0.1),
        }

    def train_step(self, data):
        x, y = data
        for name, layer in (("one", self.one), ("other", self.other)):
            weights, optimizer = layer.trainable_variables, self.optimizers[name]
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = keras.ops.mean((self(x) - y) ** 2)
                optimizer.apply(tape.gradient(loss, weights), weights)
            else:
                import torch

                self.zero_grad()
                loss = keras.ops.mean((self(x) - y) ** 2)
                loss.backward()
                with torch.no_grad():
                    optimizer.apply([w.value.grad for w in weights], weights)
        self.tracker.update_state(loss)
        return {"one_loss": self.tracker.result()}


@pytest.mark.skipif(BACKEND == "jax", reason="a step of JAX has one optimizer")
@pytest.mark.parametrize("bad", [(0,), (BAD,)], ids=str)
def test_a_training_step_of_its_own_with_two_optimizers(bad):
    x, y = make_data(np.nan, bad)
    models = []
    for data, guards in [
        ((x, y), [NonFiniteGuard("skip")]),
        ((without(x, bad), without(y, bad)), []),
    ]:
        keras.utils.set_random_seed(1)
        model = TwoOptimizers()
        model.build((None, 3))
        model.compile()
        fit(model, *data, *guards)
        slots = [v for o in model.optimizers.values() for v in o.variables]
        models.append([v.numpy() for v in model.weights] + [v.numpy() for v in slots])
        models[-1].append(model.tracker.result().numpy())
    assert guards == []
    assert_same(*models)


@pytest.mark.parametrize("bad", [(0,), (1,)], ids=str)
def test_a_metric_that_makes_its_variables_late(bad):
    x, y = make_data(np.nan, bad)
    guarded, reference = (
        make_model(metrics=[keras.metrics.R2Score(name="r2")]) for _ in range(2)
    )
    ours = fit(guarded, x, y, NonFiniteGuard("skip"))
    theirs = fit(reference, without(x, bad), without(y, bad))
    assert ours.history == theirs.history


class Watcher(keras.callbacks.Callback):
    """Notes what another callback sees."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(dict(logs))


def test_the_other_callbacks_see_good_logs_only():
    x, y = make_data(bad=(0, 2))
    before, after = Watcher(), Watcher()
    stop = keras.callbacks.TerminateOnNaN()
    guard = NonFiniteGuard("skip")
    history = fit(make_model(), x, y, before, stop, guard, after, verbose=2)
    assert before.seen == after.seen
    empty, first, again, *rest = after.seen
    assert empty == {}  # there was no good step yet
    assert again == first
    assert [set(logs) for logs in (first, *rest)] == [{"loss", "mae"}] * 3
    assert np.isfinite([list(logs.values()) for logs in (first, *rest)]).all()
    assert np.isfinite(history.history["loss"]).all()


def test_stop_ends_the_training_and_says_why(replays, capsys):
    x, y = make_data()
    model, reference = make_model(), make_model()
    guard, watcher = NonFiniteGuard(), Watcher()
    fit(model, x, y, guard, watcher, epochs=3, validation_data=(x[:4], y[:4]))
    fit(reference, x[: BAD * BATCH], y[: BAD * BATCH])
    assert len(watcher.seen) == BAD + 1
    assert_same([w.numpy() for w in model.weights], replays[0].weights)
    for ours, theirs in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert guard.reports == [(0, BAD, AuditReport((FINDING,)))]
    message = capsys.readouterr().err
    for part in (
        "epoch 1, step 3: the loss is not finite",
        "`dense",
        "The weights are those of epoch 1, step 2. Training stops.",
        str(FINDING),
    ):
        assert part in message


def test_raise_raises_with_the_report_and_the_weights_are_safe():
    x, y = make_data(bad=(0,))
    model = make_model()
    before = [w.numpy() for w in model.weights]
    with pytest.raises(NonFiniteError) as caught:
        fit(model, x, y, NonFiniteGuard("raise"))
    assert caught.value.report.findings == (FINDING,)
    for part in ("epoch 1, step 1", "The weights are as they began", str(FINDING)):
        assert part in str(caught.value)
    assert_same([w.numpy() for w in model.weights], before)
    assert_unguarded(model)


def assert_unguarded(model):
    assert "train_step" not in vars(model)
    assert "make_train_function" not in vars(model)
    fit(model, *make_data())
    assert not all(np.isfinite(w.numpy()).all() for w in model.weights)


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_afterwards_the_model_has_its_own_functions(policy):
    x, y = make_data()
    model = make_model()
    fit(model, *make_data(0.7))
    compiled = model.train_function
    guard = NonFiniteGuard(policy)
    for _ in range(2):
        fit(model, x, y, guard)
        assert model.train_function is compiled
        assert [(b.epoch, b.batch) for b in guard.reports] == [(0, BAD)]
    assert_unguarded(model)


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize("begin", ["fit", "train_on_batch"])
def test_a_training_that_was_interrupted_leaves_no_guard_behind(begin):
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, *make_data(), NonFiniteGuard("skip"), Interrupt())
    if begin == "train_on_batch":
        model.train_on_batch(*(part[:BATCH] for part in make_data()))
    assert_unguarded(model) if begin == "train_on_batch" else fit(model, *make_data())
    assert not all(np.isfinite(w.numpy()).all() for w in model.weights)


def test_an_error_in_the_step_takes_the_guard_away():
    class Broken(keras.layers.Layer):
        def call(self, x):
            if getattr(self, "broken", False):
                raise RuntimeError("broken")
            return x

    layer = Broken()
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    layer.broken = True
    with pytest.raises(RuntimeError, match="broken"):
        fit(model, *make_data(), NonFiniteGuard())
    layer.broken = False
    assert_unguarded(model)


def assert_replayed(call, x, y, sample_weight=None):
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(call.x), x)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(call.y), y)
    assert call.training
    if sample_weight is None:
        assert call.sample_weight is None
    else:
        weight = keras.ops.convert_to_numpy(call.sample_weight)
        np.testing.assert_array_equal(weight, sample_weight)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // BATCH

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[rows], self.y[rows]


def as_tf_data(x, y):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


def as_data_loader(x, y):
    import torch

    data = torch.utils.data.TensorDataset(torch.as_tensor(x), torch.as_tensor(y))
    return torch.utils.data.DataLoader(data, batch_size=BATCH)


SOURCES = {
    "PyDataset": Batches,
    "generator": lambda x, y: (Batches(x, y)[i] for i in range(5)),
    **({"tf.data": as_tf_data} if BACKEND == "tensorflow" else {}),
    **({"DataLoader": as_data_loader} if BACKEND == "torch" else {}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_batch_that_is_replayed_is_the_bad_one(source, replays):
    x, y = make_data()
    guard = NonFiniteGuard()
    model = make_model()
    model.fit(SOURCES[source](x, y), verbose=0, shuffle=False, callbacks=[guard])
    (call,) = replays
    rows = slice(BAD * BATCH, (BAD + 1) * BATCH)
    assert_replayed(call, x[rows], y[rows])
    assert guard.reports[0][:2] == (0, BAD)


def test_weights_of_samples_and_classes_are_replayed_too(replays):
    x, y = make_data()
    rows = slice(BAD * BATCH, (BAD + 1) * BATCH)
    weights = np.arange(len(x), dtype="float32")
    fit(make_model(), x, y, NonFiniteGuard(), sample_weight=weights)
    assert_replayed(replays[0], x[rows], y[rows], weights[rows])
    classes = np.arange(len(x))[:, None] % 2
    fit(make_model(), x, classes, NonFiniteGuard(), class_weight={0: 2.0, 1: 3.0})
    expected = [2.0, 3.0, 2.0, 3.0]
    assert_replayed(replays[1], x[rows], classes[rows], expected)


def test_a_data_set_without_targets(replays):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.add(keras.layers.ActivityRegularization(l2=1.0))
    model.compile("sgd", loss=None)
    x, _ = make_data()
    fit(model, x, None, NonFiniteGuard())
    assert replays[0].y is None


def test_what_cannot_be_replayed_is_said(monkeypatch, capsys):
    def find_nonfinite(*args, **arguments):
        raise TypeError("no `call` here")

    fake = SimpleNamespace(find_nonfinite=find_nonfinite)
    monkeypatch.setitem(sys.modules, "keras_padsafe.audit.find_nonfinite", fake)
    guard = NonFiniteGuard()
    fit(make_model(), *make_data(), guard)
    assert guard.reports == [(0, BAD, None)]
    expected = "The batch could not be run again: TypeError: no `call` here"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.nan, "only the compiled program overflows"), (0.0, "the update itself")],
)
def test_a_replay_that_finds_nothing_says_so(monkeypatch, capsys, value, expected):
    fake = SimpleNamespace(find_nonfinite=lambda *args, **kwargs: AuditReport(()))
    monkeypatch.setitem(sys.modules, "keras_padsafe.audit.find_nonfinite", fake)
    fit(make_model(), *make_data(value), NonFiniteGuard())
    message = capsys.readouterr().err
    assert expected in message
    what = "the loss is finite, but the update would" if value == 0 else "not finite, "
    assert what in message


def test_only_the_first_bad_steps_are_replayed_and_the_rest_counted(replays, capsys):
    guard = NonFiniteGuard("skip")
    fit(make_model(), *make_data(bad=range(5)), guard, epochs=2)
    assert len(replays) == 3
    assert len(guard.reports) == 10
    assert [bad.report is None for bad in guard.reports] == [False] * 3 + [True] * 7
    message = capsys.readouterr().err
    assert message.count("The batch is skipped.") == 3
    assert "10 steps were undone in total." in message


def test_weights_that_were_lost_before_are_named(capsys):
    model = make_model()
    kernel = model.layers[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    fit(model, *make_data(0.7), NonFiniteGuard())
    begin, step = capsys.readouterr().err.split("epoch 1, step 1")
    for message in (begin, step):
        assert f"`{kernel.path}` was not finite when training began" in message


def test_an_infinite_constant_is_no_loss(capsys):
    class Floor(keras.layers.Layer):
        def build(self, shape):
            self.floor = self.add_weight(initializer=lambda *a, **k: -np.inf)
            self.floor.trainable = False

        def call(self, x):
            return keras.ops.maximum(x, self.floor)

    model = keras.Sequential([keras.Input((3,)), Floor(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    assert np.isinf(model.layers[0].floor.numpy())
    guard = NonFiniteGuard()
    fit(model, *make_data(0.7), guard)
    assert guard.reports == []
    assert capsys.readouterr().err == ""


def test_a_policy_is_one_of_three():
    with pytest.raises(GuardError, match=r"'stop', 'skip' or 'raise'; received 'no'"):
        NonFiniteGuard("no")


def test_two_guards_are_one_too_many():
    model = make_model()
    with pytest.raises(GuardError, match="two `NonFiniteGuard` callbacks"):
        fit(model, *make_data(), NonFiniteGuard(), NonFiniteGuard())
    assert_unguarded(model)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras itself refuses it")
def test_several_steps_at_once_are_refused():
    model = make_model(steps_per_execution=2)
    with pytest.raises(GuardError, match=r"`steps_per_execution=1`. .*: 2"):
        fit(model, *make_data(), NonFiniteGuard())
    assert_unguarded(model)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras trains on one device")
def test_several_replicas_are_refused(monkeypatch):
    model = make_model()
    if BACKEND == "jax":
        import jax

        monkeypatch.setattr(jax, "process_count", lambda: 2)
    else:
        two = SimpleNamespace(num_replicas_in_sync=2)
        monkeypatch.setattr(type(model), "distribute_strategy", two)
    guard = NonFiniteGuard()
    guard.set_model(model)
    with pytest.raises(GuardError, match=r"one (process|replica), received 2"):
        guard.on_train_begin()


@pytest.mark.skipif(BACKEND == "torch", reason="the function is guarded from outside")
def test_a_training_function_that_hides_the_step_is_refused():
    class Hidden(keras.Model):
        def call(self, x):
            return x

        def make_train_function(self, force=False):
            logs = {"loss": 0.0}
            jax = BACKEND == "jax"
            self.train_function = lambda *args: (logs, args[0]) if jax else logs

    model = Hidden()
    model.compile("sgd", "mse")
    with pytest.raises(GuardError, match="cannot watch this training"):
        fit(model, *make_data(), NonFiniteGuard())
    assert "train_step" not in vars(model)


class Late(keras.Model):
    """Has no weights before it is called."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.steps.assign_add(1.0)
        return self.dense(x)


@pytest.mark.parametrize("bad", [(0,), (BAD,)])
@pytest.mark.parametrize("eagerly", [False, True])
def test_weights_that_are_made_by_the_first_step_are_guarded_too(bad, eagerly):
    x, y = make_data(bad=bad)
    trained = []
    for guarded in (True, False):
        keras.utils.set_random_seed(3)
        model = Late()
        model.compile("sgd", "mse", run_eagerly=eagerly, jit_compile=False)
        if guarded:
            fit(model, x, y, NonFiniteGuard("skip"))
        else:
            fit(model, without(x, bad), without(y, bad))
        trained.append(model.get_weights())
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others build the model first")
def test_weights_that_cannot_be_made_before_the_first_step_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def train_step(self, data):
            loss = keras.ops.mean(self.dense(data[0]))
            return {"loss": loss}

        def call(self, x):
            raise NotImplementedError

    model = Own()
    model.compile("sgd", jit_compile=False)
    with pytest.raises(GuardError, match="Call the model on one batch before `fit`"):
        fit(model, *make_data(), NonFiniteGuard())


def test_a_guard_bears_being_called_where_nothing_trains() -> None:
    guard = NonFiniteGuard()
    guard.on_epoch_begin(0)
    guard.on_train_batch_end(0)
    guard.on_train_end()
    guard.on_train_end()
