"""What attention does with padding, case by case."""

import functools
import warnings
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import get_keras_mask
from tests.benchmarks.defect_case import apart, case, finite, masked, numpy, tokens
from tests.gradients import gradient

attention = functools.partial(case, room="attention")


@attention("two layers on one masked tensor")
def second_consumer(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    layer = k.MultiHead(2, 4)
    return apart(layer(x, x)[:, :2], layer(x, x)[:, :2])


@attention("two cross-attentions on one masked memory: padding changes the answer")
def memory(k: Any) -> str:
    layers, outputs = (k.MultiHead(2, 4), k.MultiHead(2, 4)), []
    for fill in (0.0, 3.0):
        y = tokens(1, 4, 8)
        y[:, 2:] = fill
        y, x = masked(y, [[True, True, False, False]]), tokens(1, 2, 8)
        for layer in layers:
            x = layer(x, y)
        outputs.append(x)
    return apart(*outputs)


@attention("`Add()([x, attention(x, x)])`: the mask of the sum")
def residual(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    y = keras.layers.Add()([x, k.MultiHead(2, 4)(x, x)])
    return "kept" if get_keras_mask(y) is not None else "lost"


@attention("explicit `query_mask`")
def query_mask(k: Any) -> str:
    layer, x = k.MultiHead(2, 4), tokens(1, 3, 8)
    mask = np.array([[True, False, False]])
    plain, hidden = numpy(layer(x, x)), numpy(layer(x, x, query_mask=mask))
    return "ignored" if np.allclose(plain, hidden) else "honoured"


@attention("empty row: dropout 0 against dropout 0.5, at inference")
def dropout(k: Any) -> str:
    layers = k.MultiHead(2, 4), k.MultiHead(2, 4, dropout=0.5)
    x, mask = tokens(1, 3, 8), np.zeros((1, 3, 3), bool)
    for layer in layers:
        layer(x, x)
    layers[1].set_weights(layers[0].get_weights())
    return apart(*(layer(x, x, attention_mask=mask) for layer in layers))


@attention("fully masked row of the attention function")
def empty_row(k: Any) -> str:
    v = tokens(1, 4, 1, 8)
    output = numpy(k.attention(v, v, v, mask=np.zeros((1, 1, 4, 4), bool)))
    return "mean of the padding" if np.abs(output).max() > 1e-3 else "zeros"


@attention("NaN in a masked position: the real outputs")
def nan_behind(k: Any) -> str:
    x = tokens(1, 3, 8)
    x[0, 2] = np.nan
    mask = np.array([[[True, True, False]]])
    return finite(k.MultiHead(2, 4)(x, x, attention_mask=mask)[:, :2])


@attention("NaN in a masked position: the weights after one step of `fit`")
def nan_gradient(k: Any) -> str:
    x, real = keras.Input((3, 8)), keras.Input((3,), dtype="bool")
    y = k.MultiHead(2, 4)(x, x, query_mask=real, value_mask=real)
    model = keras.Model([x, real], keras.layers.Lambda(lambda y: y[:, :2])(y))
    model.compile("sgd", "mse")
    data, mask = tokens(2, 3, 8), np.array([[True, True, False]] * 2)
    data[:, 2] = np.nan
    model.fit([data, mask], np.zeros((2, 2, 8)), verbose=0)
    return finite(np.concatenate([np.ravel(w) for w in model.get_weights()]))


@attention("`Attention` in float16, empty sample")
def half_empty(k: Any) -> str:
    x = keras.ops.cast(tokens(1, 3, 8), "float16")
    layer = k.Attention(dtype="float16")
    output = numpy(layer([x, x], mask=[None, np.zeros((1, 3), bool)]))
    if not np.isfinite(output).all():
        return "NaN"
    return "mean of the padding" if output.any() else "zeros"


@attention("padding mask given as `attention_mask`, batch = time")
def ambiguous(k: Any) -> str:
    layer, x = k.MultiHead(2, 4), tokens(3, 3, 8)
    padding = np.tril(np.ones((3, 3), bool))
    right = numpy(layer(x, x, attention_mask=padding[:, None]))
    given = numpy(layer(x, x, attention_mask=padding))
    return "right" if np.allclose(right, given, atol=1e-5) else "silently wrong"


@attention("4D `attention_mask` and an implicit mask")
def four_axes(k: Any) -> str:
    x = masked(tokens(3, 4, 8), np.tri(3, 4, dtype=bool))
    k.MultiHead(2, 4)(x, x, attention_mask=np.ones((3, 2, 4, 4), bool))
    return "works"


@attention("float16: q·k overflows before the scale")
def overflow(k: Any) -> str:
    q = np.full((1, 2, 1, 64), 40.0, "float16")
    return finite(k.attention(q, q, q))


@attention("float16: weight of a masked key with a score of 6e4")
def great_score(k: Any) -> str:
    q = np.array([[[[1.0, 0.0]]]], "float16")
    key = np.array([[[[0.0, 0.0]], [[6e4, 0.0]]]], "float16")
    value = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]], "float16")
    mask = np.array([[[[True, False]]]])
    return f"{numpy(k.attention(q, key, value, mask=mask, scale=1.0))[0, 0, 0, 1]:g}"


@attention("`GroupQueryAttention`: warnings about a mask that survives")
def false_warning(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        k.Grouped(4, 2, 1)(x, x)
    return f"{len(caught)}"


@attention("`Attention` in float16, empty sample: the gradient")
def half_empty_gradient(k: Any) -> str:
    mask = np.array([[True] * 3, [False] * 3])
    layer = k.Attention(dtype="float16")
    x = tokens(2, 3, 8).astype("float16")
    return finite(gradient(lambda x: layer([x, x], mask=[mask, mask]), x))
