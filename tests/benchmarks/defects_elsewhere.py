"""What embeddings, pooling, losses and operators do with padding, case by case."""

import functools
import json
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import get_keras_mask
from tests.benchmarks.defect_case import (
    PAD_LABEL,
    apart,
    case,
    finite,
    masked,
    numpy,
    tokens,
)

pooling = functools.partial(case, room="pooling")
embedding = functools.partial(case, room="embedding")
losses = functools.partial(case, room="losses")
operators = functools.partial(case, room="operators")
REAL = np.array([[True, True, False, False]])


@pooling("one row of padding: the weights after one step of `fit`")
def empty_row(k: Any) -> str:
    layers = [k.Embedding(9, 4), k.Average(), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    model.fit(np.array([[1, 2, 0], [0, 0, 0]]), np.ones((2, 1)), verbose=0)
    return finite(np.concatenate([np.ravel(w) for w in model.get_weights()]))


@pooling("average of 4,096 steps of 100 in float16")
def long_average(k: Any) -> str:
    x, mask = np.full((1, 4096, 1), 100, "float16"), np.ones((1, 4096), bool)
    return f"{numpy(k.Average(dtype='float16')(x, mask=mask))[0, 0]:g}"


@pooling("maximum: a padded 5 beside a real -1")
def maximum(k: Any) -> str:
    x = masked(np.array([[[-1.0], [5.0]]], "float32"), [[True, False]])
    return f"{numpy(k.Max()(x))[0, 0]:g}"


@pooling("`Conv1D`: real outputs for two fillings of the padding")
def convolution(k: Any) -> str:
    layer, x = k.Conv1D(2, 3, padding="same"), tokens(1, 4, 2)
    first = layer(masked(x, REAL))[:, :2]
    return apart(first, layer(masked(x + 9 * ~REAL[..., None], REAL))[:, :2])


@pooling("`Softmax` after a masked sequence")
def softmax_head(k: Any) -> str:
    layers = [k.Embedding(9, 8), keras.layers.Dense(5), k.Softmax()]
    keras.Sequential(layers)(np.array([[1, 2, 0]]))
    return "works"


@embedding("pad row after 3 steps of AdamW with weight decay")
def pad_row(k: Any) -> str:
    layer = k.Embedding(9, 4)
    pool = keras.layers.GlobalAveragePooling1D()
    model = keras.Sequential([layer, pool, keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.5), "mse")
    ids = np.array([[0, 1]])
    before = numpy(layer(ids))[0, 0]
    model.fit(np.array([[1, 2, 0]]), np.array([1.0]), epochs=3, verbose=0)
    moved = np.abs(numpy(layer(ids))[0, 0] - before).max()
    return f"size {np.abs(before).max():.2g}, moved {moved:.2g}"


@embedding("an id behind the last row")
def id_behind(k: Any) -> str:
    return row_read(k, 6)


@embedding("the id -1")
def negative_id(k: Any) -> str:
    return row_read(k, -1)


def row_read(k: Any, bad_id: int) -> str:
    layer = k.Embedding(6, 4)
    rows = numpy(layer(np.arange(6)))
    vector = numpy(layer(np.array([bad_id])))[0]
    same = [row for row in range(6) if (rows[row] == vector).all()]
    return f"reads row {same[0]}" if same else finite(vector).replace("finite", "other")


@embedding("padding with an id that is not 0")
def other_pad_id(k: Any) -> str:
    ours = k.Embedding(9, 4).__class__ is not keras.layers.Embedding
    layer = k.Embedding(9, 4, **({"pad_id": 8} if ours else {}))
    mask = get_keras_mask(layer(np.array([[1, 8]])))
    return "masked" if not numpy(mask)[0, 1] else "not masked"


@embedding("configuration of a pretrained table, 2,000 x 64")
def configuration(k: Any) -> str:
    initializer = keras.saving.serialize_keras_object(k.table(tokens(2000, 64)))
    return f"{len(json.dumps(initializer)):,} characters"


@losses("NaN prediction at a masked step: the loss")
def nan_behind(k: Any) -> str:
    y_pred = tokens(1, 4, 2)
    y_pred[:, 2:] = np.nan
    return finite(k.loss("mse")(np.zeros((1, 4, 2)), masked(y_pred, REAL)))


@losses("`Precision`: a real hit beside a padded miss")
def precision(k: Any) -> str:
    metric = k.metric(keras.metrics.Precision())
    y_pred = masked(np.array([[0.9, 0.9]], "float32"), [[True, False]])
    metric.update_state(np.array([[1.0, 0.0]]), y_pred)
    return f"{float(metric.result()):g}"


@losses("`AUC`: a perfect ranking beside a padded mistake")
def area(k: Any) -> str:
    metric = k.metric(keras.metrics.AUC())
    y_pred = masked(np.array([[0.9, 0.5, 0.1]], "float32"), [[True, True, False]])
    metric.update_state(np.array([[1.0, 0.0, 1.0]]), y_pred)
    return f"{float(metric.result()):.2g}"


@losses("a metric in `fit` against NumPy")
def metric_in_fit(k: Any) -> str:
    inputs = keras.Input((4,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Dense(1)(k.Embedding(9, 8)(inputs)))
    metric = k.metric(keras.metrics.MeanSquaredError(name="error"))
    model.compile(keras.optimizers.SGD(0.0), k.loss("mse"), metrics=[metric])
    ids, labels = np.array([[1, 2, 0, 0]]), np.arange(4.0).reshape(1, 4, 1)
    labels[~REAL] = PAD_LABEL
    error = (numpy(model(ids)) - labels)[REAL]
    history = model.fit(ids, labels, verbose=0).history
    return apart(history["error"][0], (error**2).mean())


@operators("`2 * x`: the mask")
def operator(k: Any) -> str:
    return said_of_mask(k.double(masked(tokens(1, 4, 2), REAL)))


@operators("tokens + positions: the mask")
def positions(k: Any) -> str:
    x = masked(tokens(1, 4, 2), REAL)
    return said_of_mask(k.add(x, keras.ops.ones((1, 4, 2))))


@operators("`Concatenate` with an unmasked input: the mask")
def concatenation(k: Any) -> str:
    x = masked(tokens(1, 4, 2), REAL)
    return said_of_mask(k.concatenate(x, keras.ops.ones((1, 4, 2))))


def said_of_mask(x: Any) -> str:
    mask = get_keras_mask(x)
    if mask is None:
        return "lost"
    return "kept" if (numpy(mask) == REAL).all() else "wrong"
