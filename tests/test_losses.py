"""`MaskedLoss` and `MaskedMetric`: what is real counts, and nothing else."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_padsafe as kp
from keras_padsafe.compat import set_keras_mask
from keras_padsafe.ops.real_pairs import _OF_NUMBERS, _OF_VECTORS
from tests.compiled import compiled, in_graph
from tests.gradients import value_and_gradients

PAD = -1
# loss, kind of target, and the value at one position in float64.
LOSSES = {
    "mse": ("number", lambda t, p: ((t - p) ** 2).mean()),
    "mae": ("number", lambda t, p: abs(t - p).mean()),
    "sparse_categorical_crossentropy": ("class", lambda t, p: -np.log(p[t])),
    "categorical_crossentropy": ("one hot", lambda t, p: -np.log((p * t).sum())),
    "binary_crossentropy": (
        "one hot",
        lambda t, p: -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(),
    ),
}


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def batch(kind, shape, random):
    y_pred = random.uniform(0.1, 0.9, (*shape, 3))
    y_pred /= y_pred.sum(-1, keepdims=True)
    classes = random.integers(0, 3, shape)
    if kind == "class":
        return classes, y_pred.astype("float32")
    target = (
        np.eye(3)[classes] if kind == "one hot" else random.normal(size=(*shape, 3))
    )
    return target.astype("float32"), y_pred.astype("float32")


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_loss_and_its_gradient_are_those_of_the_real_positions(name, data):
    kind, at = LOSSES[name]
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    shape = data.draw(st.sampled_from([(3, 4), (2, 1)]))
    mask = random.random(shape) < data.draw(st.sampled_from([0.0, 0.6, 1.0]))
    y_true, y_pred = batch(kind, shape, random)
    weights = random.integers(0, 3, shape) if data.draw(st.booleans()) else None

    poison = np.float32(data.draw(st.sampled_from([0.0, np.nan, np.inf, -np.inf])))
    bad_pred = np.where(mask[..., None], y_pred, poison)
    bad_true = y_true.copy()
    bad_true[~mask] = 0 if kind == "class" else poison

    def run(y_pred):
        y_pred = y_pred * 1.0
        set_keras_mask(y_pred, keras.ops.convert_to_tensor(mask))
        return kp.losses.MaskedLoss(name)(bad_true, y_pred, sample_weight=weights)

    value, (gradient,) = value_and_gradients(run, bad_pred)
    w = np.ones(shape) if weights is None else weights
    real = [
        at(y_true[i], y_pred[i].astype("float64")) * w[i]
        for i in zip(*np.nonzero(mask), strict=True)
    ]
    expected = np.sum(real) / max(len(real), 1)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_a_pad_label_masks_sequences_of_numbers(shape):
    y_true = np.array([[1.0, 2.0, PAD], [PAD, PAD, 5.0]], "float32")
    y_pred = np.array([[1.5, 2.0, np.nan], [9.0, np.inf, 4.0]], "float32").reshape(
        shape
    )
    loss = kp.losses.MaskedLoss("mse", pad_label=PAD)
    np.testing.assert_allclose(numpy_of(loss(y_true, y_pred)), 1.25 / 3, rtol=1e-6)
    loss = kp.losses.MaskedLoss(keras.losses.MeanSquaredError("sum"), pad_label=PAD)
    np.testing.assert_allclose(numpy_of(loss(y_true, y_pred)), 1.25, rtol=1e-6)
    loss = kp.losses.MaskedLoss("mse", pad_label=PAD, reduction="none")
    expected = [[0.25, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(numpy_of(loss(y_true, y_pred)), expected, rtol=1e-6)


def test_the_denominator_may_be_the_sum_of_the_weights():
    y_true = np.array([[1.0, 3.0, PAD]], "float32")
    y_pred = np.zeros((1, 3), "float32")
    weights = np.array([[1.0, 0.0, 1.0]], "float32")
    for reduction, expected in [
        ("sum_over_batch_size", 1 / 2),
        ("mean_with_sample_weight", 1.0),
    ]:
        loss = kp.losses.MaskedLoss("mse", pad_label=PAD, reduction=reduction)
        value = loss(y_true, y_pred, sample_weight=weights)
        np.testing.assert_allclose(numpy_of(value), expected)


def test_labels_with_an_axis_of_one():
    y_true = np.array([[[0], [PAD]]], "int32")
    y_pred = np.array([[[0.5, 0.5], [np.nan, np.nan]]], "float32")
    loss = kp.losses.MaskedLoss("sparse_categorical_crossentropy", pad_label=PAD)
    np.testing.assert_allclose(numpy_of(loss(y_true, y_pred)), np.log(2), rtol=1e-6)


def test_all_padding_gives_zero_and_zero_gradients():
    y_true = np.full((2, 3), PAD, "int32")
    y_pred = np.full((2, 3, 4), np.nan, "float32")
    loss = kp.losses.MaskedLoss("sparse_categorical_crossentropy", pad_label=PAD)
    value, (gradient,) = value_and_gradients(lambda p: loss(y_true, p), y_pred)
    assert value == 0
    assert not gradient.any()


def test_nan_at_a_real_position_is_not_hidden():
    loss = kp.losses.MaskedLoss("mse", pad_label=PAD)
    assert np.isnan(numpy_of(loss(np.ones((1, 1)), np.full((1, 1), np.nan))))


METRICS = {
    "precision": (keras.metrics.Precision, lambda t, p: t[p > 0.5].mean()),
    "recall": (keras.metrics.Recall, lambda t, p: (p > 0.5)[t == 1].mean()),
    "auc": (
        lambda: keras.metrics.AUC(num_thresholds=2001),
        lambda t, p: (p[t == 1][:, None] > p[t == 0]).mean(),
    ),
    "rmse": (
        keras.metrics.RootMeanSquaredError,
        lambda t, p: np.sqrt(((t - p) ** 2).mean()),
    ),
    "mae": (keras.metrics.MeanAbsoluteError, lambda t, p: abs(t - p).mean()),
    "accuracy": (keras.metrics.BinaryAccuracy, lambda t, p: ((p > 0.5) == t).mean()),
    "function": (lambda: "mse", lambda t, p: ((t - p) ** 2).mean()),
}


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1)])
@pytest.mark.parametrize("by", ["label", "mask"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_that_of_the_real_positions(name, by, shape):
    make, reference = METRICS[name]
    random = np.random.default_rng(1)
    mask = random.random((8, 9)) < 0.6
    truth, y_pred = random.integers(0, 2, (8, 9)), random.random((8, 9))
    bad_pred = np.where(mask, y_pred, np.nan).astype("float32").reshape(shape)
    bad_true = np.where(mask, truth, PAD if by == "label" else 1)
    bad_pred = keras.ops.convert_to_tensor(bad_pred)
    if by == "mask":
        set_keras_mask(bad_pred, keras.ops.convert_to_tensor(mask))
    metric = kp.metrics.MaskedMetric(make(), pad_label=PAD if by == "label" else None)
    metric.update_state(bad_true, bad_pred)
    expected = reference(truth[mask], y_pred[mask])
    np.testing.assert_allclose(numpy_of(metric.result()), expected, rtol=2e-3)
    metric.reset_state()
    assert float(metric.result()) == 0


# Compiling takes PyTorch most of a minute; `test_in_models` does it, once.
@pytest.mark.parametrize(
    "jit_compile", sorted({False, keras.backend.backend() != "torch"})
)
def test_fit_and_evaluate_agree_with_numpy(jit_compile):
    random = np.random.default_rng(2)
    ids = random.integers(1, 5, (6, 4)).astype("int32")
    mask = random.random((6, 4)) < 0.5
    mask[0] = False  # an empty row
    ids[~mask] = 0
    labels = np.where(mask, random.integers(0, 2, (6, 4)), PAD).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            kp.layers.ExtendableEmbedding(5, 3, pad_id=0, out_of_range="pad"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=kp.losses.MaskedLoss("mse", pad_label=PAD),
        metrics=[
            kp.metrics.MaskedMetric("mse", pad_label=PAD, name="error"),
            kp.metrics.MaskedMetric(keras.metrics.Recall(name="recall"), PAD),
        ],
        jit_compile=jit_compile,
    )
    history = model.fit(ids, labels, batch_size=6, verbose=0).history
    evaluated = model.evaluate(ids, labels, batch_size=6, verbose=0, return_dict=True)
    y_pred = model.predict(ids, verbose=0)[..., 0]
    error = ((y_pred - labels)[mask] ** 2).mean()
    recall = (y_pred > 0.5)[labels == 1].mean()
    for logs in ({key: value[0] for key, value in history.items()}, evaluated):
        np.testing.assert_allclose(logs["loss"], error, rtol=1e-5)
        np.testing.assert_allclose(logs["error"], error, rtol=1e-5)
        np.testing.assert_allclose(logs["recall"], recall, rtol=1e-5)


def test_a_compiled_model_round_trips_with_its_losses_and_metrics(tmp_path):
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        loss=kp.losses.MaskedLoss(loss, pad_label=PAD),
        metrics=[kp.metrics.MaskedMetric("sparse_categorical_accuracy", PAD)],
    )
    x, y = np.ones((2, 3, 2), "float32"), np.array([[0, 1, PAD], [PAD] * 3])
    model.fit(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), expected)


ONE_HOT = np.array([[[1, 0, 0], [0, 0, 1], [PAD] * 3]], "float32")
GUESS = np.array([[[0.2, 0.3, 0.5], [0.1, 0.3, 0.6], [np.nan] * 3]], "float32")


def test_a_label_that_is_a_vector_is_padding_if_all_of_it_is():
    loss = kp.losses.MaskedLoss("categorical_crossentropy", pad_label=PAD)
    expected = -np.log(0.2 * 0.6) / 2
    np.testing.assert_allclose(numpy_of(loss(ONE_HOT, GUESS)), expected, rtol=1e-6)
    instance = keras.losses.KLDivergence()
    value = kp.losses.MaskedLoss(instance, pad_label=PAD)(ONE_HOT, GUESS)
    np.testing.assert_allclose(numpy_of(value), expected, rtol=1e-5)
    for metric in ("categorical_accuracy", keras.metrics.CategoricalAccuracy()):
        metric = kp.metrics.MaskedMetric(metric, pad_label=PAD)
        metric.update_state(ONE_HOT, GUESS)
        assert float(metric.result()) == 0.5


def test_a_missing_target_may_be_nan():
    loss = kp.losses.MaskedLoss("mse", pad_label=np.nan)
    y_true = np.array([[1.0, np.nan]], "float32")
    made = float(loss(y_true, np.array([[3.0, 5.0]], "float32")))
    assert made == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize("pad_label", [None, PAD])
def test_an_empty_batch_costs_nothing(pad_label):
    loss = kp.losses.MaskedLoss("sparse_categorical_crossentropy", pad_label)
    assert float(loss(np.zeros((0,), "int32"), np.zeros((0, 3), "float32"))) == 0


@pytest.mark.parametrize("features", [(), (1,), (3,)])
def test_a_mask_and_a_pad_label_are_one_mask_whatever_the_sizes(features):
    shape = (3, 3, *features)  # sizes that agree, so that axes may be mixed up
    mask = np.tri(3, dtype=bool)
    y_true = np.random.default_rng(4).random(shape).astype("float32")
    y_true[1, 0] = PAD
    real = mask.copy()
    real[1, 0] = False
    y_pred = keras.ops.convert_to_tensor(np.full(shape, 2, "float32"))
    set_keras_mask(y_pred, keras.ops.convert_to_tensor(mask))
    value = kp.losses.MaskedLoss("mse", pad_label=PAD)(y_true, y_pred)
    np.testing.assert_allclose(numpy_of(value), ((y_true - 2)[real] ** 2).mean(), 1e-6)
    metric = kp.metrics.MaskedMetric("mse", pad_label=PAD)
    metric.update_state(y_true, y_pred)
    np.testing.assert_allclose(numpy_of(metric.result()), numpy_of(value), rtol=1e-6)


@pytest.mark.parametrize(
    "name", sorted(n for n in _OF_NUMBERS | _OF_VECTORS if "accuracy" not in n)
)
@pytest.mark.parametrize("axes", [(), (2,)])
def test_each_loss_of_keras_is_that_of_the_real_positions_alone(name, axes):
    """Stock Keras is given nothing but those: weights are of rows, content is NaN."""
    random = np.random.default_rng(0)
    stock = keras.losses.get(name)
    mask = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]], bool)
    kind = "class" if name.startswith("sparse") else "one hot"
    y_true, y_pred = batch(kind, (*mask.shape, *axes), random)
    weights = np.array([0.5, 2.0, 3.0], "float32")
    of_rows = keras.ops.convert_to_tensor(weights)

    values = numpy_of(stock(y_true[mask], y_pred[mask]))
    spread = np.broadcast_to(weights[:, None], mask.shape)[mask]
    spread = np.broadcast_to(spread.reshape(-1, *(1,) * len(axes)), values.shape)
    expected = {
        "sum": (values * spread).sum(),
        "sum_over_batch_size": (values * spread).mean(),
        "mean_with_sample_weight": (values * spread).sum() / spread.sum(),
    }
    for reduction, value in expected.items():
        hidden = keras.ops.convert_to_tensor(
            np.where(_as(mask, y_pred), y_pred, np.nan)
        )
        set_keras_mask(hidden, keras.ops.convert_to_tensor(mask))
        loss = kp.losses.MaskedLoss(name, reduction=reduction)
        ours = numpy_of(loss(y_true, hidden, sample_weight=of_rows))
        np.testing.assert_allclose(ours, value, rtol=1e-5, err_msg=reduction)
    np.testing.assert_array_equal(numpy_of(of_rows), weights)


@pytest.mark.parametrize("compiler", [compiled, in_graph])
@pytest.mark.parametrize("rows", [0, 2])
def test_a_compiled_loss_may_meet_a_batch_of_padding_alone(rows, compiler):
    mask = np.zeros((3, 4), bool)
    mask[:rows] = True
    random = np.random.default_rng(0)
    y_true, y_pred = batch("one hot", mask.shape, random)

    labels = np.where(_as(mask, y_true), y_true, PAD)
    loss = kp.losses.MaskedLoss("categorical_hinge", pad_label=PAD)

    def run(y_pred):
        return loss(labels, y_pred)

    hidden = np.where(_as(mask, y_pred), y_pred, np.nan)
    value = numpy_of(compiler(run)(keras.ops.convert_to_tensor(hidden)))
    real = np.maximum(
        (y_pred * (1 - y_true)).max(-1) - (y_pred * y_true).sum(-1) + 1, 0
    )
    expected = real[mask].mean() if rows else 0
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def _as(mask, x):
    return mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
