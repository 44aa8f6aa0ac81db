"""Stock Keras against ours, case by case, as rows of a Markdown table.

    KERAS_BACKEND=jax python -m tests.benchmarks.defects_table

Every case is one function that runs twice, once with the classes of Keras and
once with ours, and says in a few words what came out.
"""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask, set_keras_mask

STOCK = SimpleNamespace(
    name="stock",
    MultiHead=keras.layers.MultiHeadAttention,
    Grouped=keras.layers.GroupQueryAttention,
    Attention=keras.layers.Attention,
    Softmax=keras.layers.Softmax,
    Embedding=lambda *a, **k: keras.layers.Embedding(*a, mask_zero=True, **k),
    attention=keras.ops.dot_product_attention,
)
OURS = SimpleNamespace(
    name="ours",
    MultiHead=kp.layers.MaskedMultiHeadAttention,
    Grouped=kp.layers.MaskedGroupedQueryAttention,
    Attention=kp.layers.MaskedAttention,
    Softmax=kp.layers.MaskedSoftmax,
    Embedding=lambda *a, **k: kp.layers.ExtendableEmbedding(*a, pad_id=0, **k),
    attention=kp.ops.masked_attention,
)
CASES: list[tuple[str, str, Callable[[Any], str]]] = []


def case(number: str, title: str) -> Callable[..., Any]:
    """Puts a function into the table."""

    def register(function: Callable[[Any], str]) -> Callable[[Any], str]:
        CASES.append((number, title, function))
        return function

    return register


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def numpy(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def masked(x: np.ndarray, mask: Any) -> Any:
    tensor = keras.ops.convert_to_tensor(x)
    set_keras_mask(tensor, keras.ops.convert_to_tensor(mask))
    return tensor


def apart(first: Any, second: Any) -> str:
    distance = np.abs(numpy(first) - numpy(second)).max()
    return "equal" if distance < 1e-5 else f"differ by {distance:.2g}"


def finite(x: Any) -> str:
    return "finite" if np.isfinite(numpy(x)).all() else "NaN"


@case("D1", "two layers on one masked tensor")
def second_consumer(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    layer = k.MultiHead(2, 4)
    return apart(layer(x, x)[:, :2], layer(x, x)[:, :2])


@case("R2", "two cross-attentions on one masked memory: padding changes the answer")
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


@case("D2", "`Add()([x, attention(x, x)])`: the mask of the sum")
def residual(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    y = keras.layers.Add()([x, k.MultiHead(2, 4)(x, x)])
    return "kept" if get_keras_mask(y) is not None else "lost"


@case("D3", "explicit `query_mask`")
def query_mask(k: Any) -> str:
    layer, x = k.MultiHead(2, 4), tokens(1, 3, 8)
    mask = np.array([[True, False, False]])
    plain, hidden = numpy(layer(x, x)), numpy(layer(x, x, query_mask=mask))
    return "ignored" if np.allclose(plain, hidden) else "honoured"


@case("D4", "empty row: dropout 0 against dropout 0.5, at inference")
def dropout(k: Any) -> str:
    layers = k.MultiHead(2, 4), k.MultiHead(2, 4, dropout=0.5)
    x, mask = tokens(1, 3, 8), np.zeros((1, 3, 3), bool)
    for layer in layers:
        layer(x, x)
    layers[1].set_weights(layers[0].get_weights())
    return apart(*(layer(x, x, attention_mask=mask) for layer in layers))


@case("D5", "fully masked row of the attention function")
def empty_row(k: Any) -> str:
    v = tokens(1, 4, 1, 8)
    output = numpy(k.attention(v, v, v, mask=np.zeros((1, 1, 4, 4), bool)))
    return "mean of the padding" if np.abs(output).max() > 1e-3 else "zeros"


@case("D6", "NaN in a masked position: the real outputs")
def nan_behind(k: Any) -> str:
    x = tokens(1, 3, 8)
    x[0, 2] = np.nan
    mask = np.array([[[True, True, False]]])
    return finite(k.MultiHead(2, 4)(x, x, attention_mask=mask)[:, :2])


@case("D6", "NaN in a masked position: the weights after one step of `fit`")
def nan_gradient(k: Any) -> str:
    x, real = keras.Input((3, 8)), keras.Input((3,), dtype="bool")
    y = k.MultiHead(2, 4)(x, x, query_mask=real, value_mask=real)
    model = keras.Model([x, real], keras.layers.Lambda(lambda y: y[:, :2])(y))
    model.compile("sgd", "mse")
    data, mask = tokens(2, 3, 8), np.array([[True, True, False]] * 2)
    data[:, 2] = np.nan
    model.fit([data, mask], np.zeros((2, 2, 8)), verbose=0)
    return finite(np.concatenate([np.ravel(w) for w in model.get_weights()]))


@case("D7", "`Attention` in float16, empty sample")
def half_empty(k: Any) -> str:
    x = keras.ops.cast(tokens(1, 3, 8), "float16")
    layer = k.Attention(dtype="float16")
    output = numpy(layer([x, x], mask=[None, np.zeros((1, 3), bool)]))
    if not np.isfinite(output).all():
        return "NaN"
    return "mean of the padding" if output.any() else "zeros"


@case("D9", "padding mask given as `attention_mask`, batch = time")
def ambiguous(k: Any) -> str:
    layer, x = k.MultiHead(2, 4), tokens(3, 3, 8)
    padding = np.tril(np.ones((3, 3), bool))
    right = numpy(layer(x, x, attention_mask=padding[:, None]))
    given = numpy(layer(x, x, attention_mask=padding))
    return "right" if np.allclose(right, given, atol=1e-5) else "silently wrong"


@case("D10", "4D `attention_mask` and an implicit mask")
def four_axes(k: Any) -> str:
    x = masked(tokens(3, 4, 8), np.tri(3, 4, dtype=bool))
    k.MultiHead(2, 4)(x, x, attention_mask=np.ones((3, 2, 4, 4), bool))
    return "works"


@case("D14", "softmax after a masked sequence")
def softmax_head(k: Any) -> str:
    stack = [k.Embedding(9, 8), keras.layers.Dense(5), k.Softmax()]
    keras.Sequential(stack)(np.array([[1, 2, 0]]))
    return "works"


@case("D20", "float16: q·k overflows before the scale")
def overflow(k: Any) -> str:
    q = np.full((1, 2, 1, 64), 40.0, "float16")
    return finite(k.attention(q, q, q))


@case("D21", "float16: weight of a masked key with a score of 6e4")
def great_score(k: Any) -> str:
    q = np.array([[[[1.0, 0.0]]]], "float16")
    key = np.array([[[[0.0, 0.0]], [[6e4, 0.0]]]], "float16")
    value = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]], "float16")
    mask = np.array([[[[True, False]]]])
    return f"{numpy(k.attention(q, key, value, mask=mask, scale=1.0))[0, 0, 0, 1]:g}"


@case("D24", "integer mask for the attention function")
def integer_mask(k: Any) -> str:
    q = tokens(1, 3, 1, 4)
    with warnings.catch_warnings():
        k.attention(q, q, q, mask=np.ones((1, 1, 3, 3), "int32"))
    return "works"


@case("D25", "pad row after 3 steps of AdamW with weight decay")
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


@case("", "`GroupQueryAttention`: warnings about a mask that survives")
def false_warning(k: Any) -> str:
    x = masked(tokens(1, 4, 8), [[True, True, False, False]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        k.Grouped(4, 2, 1)(x, x)
    return f"{len(caught)}"


def answer(function: Callable[[Any], str], classes: Any) -> str:
    try:
        return function(classes)
    except Exception as error:
        return f"raises {type(error).__name__}"


def main() -> None:
    """Prints the table for the running backend."""
    warnings.simplefilter("ignore")
    print(f"| | case | Keras {keras.__version__} | keras_padsafe |")
    print("|---|---|---|---|")
    for number, title, function in CASES:
        keras.utils.set_random_seed(0)
        stock, ours = (answer(function, classes) for classes in (STOCK, OURS))
        print(f"| {number} | {title} | {stock} | {ours} |")


if __name__ == "__main__":
    main()
