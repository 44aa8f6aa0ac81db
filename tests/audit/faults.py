"""Models with one planted fault each, and what has to be said of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import keras_padsafe as kp

IDS = np.array([[5, 3, 0, 0], [1, 2, 6, 0], [4, 7, 0, 0]], "int32")
EMPTY = np.array([[5, 3, 0, 0], [0, 0, 0, 0], [4, 7, 8, 0]], "int32")
STEPS = np.random.default_rng(0).normal(size=(3, 4, 6)).astype("float32")


@dataclass(frozen=True)
class Fault:
    """A model and batch with one fault.

    Attributes:
        name: What was planted.
        code: The code that has to be given.
        place: The path of the layer that has to be named.
        rows: The rows that have to be named; `None` if the fault has none.
        make: Returns `(model, x)` or `(model, x, y)` or `(model, x, y, loss)`.
        training: Whether it shows in training only.
    """

    name: str
    code: str
    place: str
    rows: list[int] | None
    make: Callable[[], tuple[Any, ...]]
    training: bool = False


FAULTS: list[Fault] = []


def fault(
    code: str, place: str, rows: list[int] | None = None, training: bool = False
) -> Callable[[Callable[[], tuple[Any, ...]]], Any]:
    """Adds a model to `FAULTS`."""

    def add(make: Callable[[], tuple[Any, ...]]) -> Any:
        FAULTS.append(Fault(make.__name__, code, place, rows, make, training))
        return make

    return add


class Calls(layers.Layer):
    """A layer that calls a function."""

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.supports_masking = True

    def call(self, *args: Any) -> Any:
        return self.function(*args)


class Chain(keras.Model):
    """A subclassed model: calls what it is given one after the other."""

    def __init__(self, *parts: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts = [p for p in parts if isinstance(p, layers.Layer)]
        self.order = parts

    def call(self, x: Any) -> Any:
        for part in self.order:
            x = part(x)
        return x


def embedding(**kwargs: Any) -> layers.Embedding:
    return layers.Embedding(9, 6, mask_zero=True, name="tokens", **kwargs)


def spoil(layer: Any, value: float, index: int = 0) -> None:
    """Puts a value into the first entry of a built layer's weights."""
    weights = layer.get_weights()
    weights[index].flat[0] = value
    layer.set_weights(weights)


# Empty rows


@fault("PS501", "pool", [1])
def empty_row_average() -> tuple[Any, ...]:
    pool = layers.GlobalAveragePooling1D(name="pool")
    return keras.Sequential([embedding(), pool, layers.Dense(2)]), EMPTY


@fault("PS501", "pool", [1])
def empty_row_average_functional_with_loss() -> tuple[Any, ...]:
    ids = keras.Input((4,), dtype="int32")
    x = layers.GlobalAveragePooling1D(name="pool")(embedding()(ids))
    model = keras.Model(ids, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model, EMPTY, np.zeros((3, 1), "float32")


@fault("PS501", "encoder/pool", [1])
def empty_row_in_a_nested_model() -> tuple[Any, ...]:
    inner = keras.Sequential(
        [embedding(), layers.GlobalAveragePooling1D(name="pool")], name="encoder"
    )
    ids = keras.Input((4,), dtype="int32")
    return keras.Model(ids, layers.Dense(2)(inner(ids))), EMPTY


@fault("PS501", "chain", [1])
def empty_row_by_hand_in_a_subclassed_model() -> tuple[Any, ...]:
    class Mean(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="chain")
            self.tokens = embedding()
            self.head = layers.Dense(2, name="head")

        def call(self, ids: Any) -> Any:
            mask = ops.not_equal(ids, 0)
            weights = ops.cast(mask, "float32")[..., None]
            x = self.tokens(ids) * weights
            return self.head(ops.sum(x, 1) / ops.sum(weights, 1))

    return Mean(), EMPTY


@fault("PS501", "scores", [1])
def empty_row_in_a_hand_made_softmax() -> tuple[Any, ...]:
    def softmax(x: Any) -> Any:
        mask = ops.any(x != 0, axis=-1, keepdims=True)
        e = ops.where(mask, ops.exp(x), 0.0)
        return e / ops.sum(e, axis=1, keepdims=True)

    x = STEPS.copy()
    x[1] = 0
    parts = [layers.Masking(), Calls(softmax, name="scores")]
    return keras.Sequential([*parts, layers.Dense(2)]), x


def hidden_attention(soften: Any = ops.softmax) -> tuple[Any, ...]:
    """Ids with an empty row, and what attention by hand with -inf makes of them."""

    class Attend(layers.Layer):
        supports_masking = True

        def __init__(self) -> None:
            super().__init__(name="attend")
            self.value, self.soften = layers.Dense(6, name="value"), soften

        def build(self, shape: Any) -> None:
            self.value.build(shape)

        def call(self, x: Any, mask: Any = None) -> Any:
            scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
            scores = ops.where(mask[:, None], scores, -np.inf)
            return ops.matmul(self.soften(scores), self.value(x))

    ids = keras.Input((4,), dtype="int32")
    return ids, Attend()(embedding()(ids))


@fault("PS501", "attend", [1])
def empty_row_of_attention_before_a_recurrent_layer() -> tuple[Any, ...]:
    """Its mask hides the NaN from the answer, and not from the gradient."""
    ids, x = hidden_attention()
    return keras.Model(ids, layers.GRU(3)(x)), EMPTY


@fault("PS501", "attend", [1])
def empty_row_of_attention_before_a_loss_that_selects() -> tuple[Any, ...]:
    ids, x = hidden_attention()
    model = keras.Model(ids, layers.Dense(1)(layers.Dense(2)(x)))
    return model, EMPTY, np.zeros((3, 4, 1), "float32"), kp.losses.MaskedLoss("mse")


@fault("PS501", "attend/softmax", [1])
def empty_row_of_attention_with_a_softmax_layer() -> tuple[Any, ...]:
    """Not the code that put -inf there, as masks of scores do, is at fault."""
    ids, x = hidden_attention(layers.Softmax(name="softmax"))
    return keras.Model(ids, layers.Bidirectional(layers.LSTM(3))(x)), EMPTY


# Ids


@fault("PS502", "tokens", [2])
def id_beyond_the_table() -> tuple[Any, ...]:
    ids = IDS.copy()
    ids[2, 1] = 9
    return keras.Sequential([embedding(), layers.LSTM(3)]), ids


@fault("PS502", "body/tokens", [0])
def id_beyond_a_nested_table() -> tuple[Any, ...]:
    ids = IDS.copy()
    ids[0, 0] = 100
    body = keras.Sequential([embedding(), layers.GRU(3)], name="body")
    return Chain(body, layers.Dense(2)), ids


@fault("PS502", "lookup", [1])
def id_beyond_a_table_of_ones_own() -> tuple[Any, ...]:
    class Lookup(layers.Layer):
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(7, 3))

        def call(self, ids: Any) -> Any:
            return ops.take(self.table, ids, axis=0)

    ids = np.array([[1, 2], [3, 7]], "int32")
    return Chain(Lookup(name="lookup"), layers.Flatten()), ids


@fault("PS502", "targets", [1])
def label_of_a_step_beyond_the_classes() -> tuple[Any, ...]:
    scores = layers.Dense(5, activation="softmax")
    model = keras.Sequential(
        [embedding(), layers.GRU(3, return_sequences=True), scores]
    )
    y = np.ones((3, 4), "int32")
    y[1, 2] = 5
    return model, IDS, y, "sparse_categorical_crossentropy"


@fault("PS502", "targets", [0, 2])
def labels_below_zero_in_a_loss_of_ones_own() -> tuple[Any, ...]:
    class Model(Chain):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any) -> Any:
            return ops.mean(ops.sparse_categorical_crossentropy(y, y_pred, True))

    model = Model(layers.Dense(3))
    model.compile("sgd")
    return model, np.ones((3, 4), "float32"), np.array([-1, 2, -100])


# Overflow


@fault("PS503", "exp", [1])
def overflow_of_exp_in_float32() -> tuple[Any, ...]:
    x = np.ones((3, 4), "float32")
    x[1, 2] = 100
    return keras.Sequential([Calls(ops.exp, name="exp"), layers.Dense(2)]), x


@fault("PS503", "dense", [2])
def overflow_of_a_dense_in_float16() -> tuple[Any, ...]:
    dense = layers.Dense(3, kernel_initializer="ones", dtype="float16", name="dense")
    x = np.ones((3, 4), "float16")
    x[2] = 30000
    return keras.Sequential([dense, layers.LayerNormalization(dtype="float16")]), x


@fault("PS503", "dense", [0])
def overflow_in_mixed_float16() -> tuple[Any, ...]:
    dense = layers.Dense(
        3, kernel_initializer="ones", dtype="mixed_float16", name="dense"
    )
    x = np.ones((3, 4), "float32")
    x[0] = 30000
    return keras.Sequential([dense, layers.Dense(2)]), x


@fault("PS503", "chain", [1])
def overflow_between_layers() -> tuple[Any, ...]:
    x = np.ones((3, 4), "float32")
    x[1] = 200
    first = layers.Dense(4, kernel_initializer="identity", name="first")
    return Chain(first, ops.exp, layers.Dense(2), name="chain"), x


@fault("PS503", "square", [1])
def overflow_in_a_functional_operation() -> tuple[Any, ...]:
    inputs = keras.Input((4,))
    x = layers.Dense(4, kernel_initializer="identity")(inputs)
    x = ops.square(x)
    operation = x._keras_history.operation
    operation.name = "square"
    data = np.ones((3, 4), "float32")
    data[1] = 1e30
    return keras.Model(inputs, layers.Dense(2)(x)), data


@fault("PS503", "loss", [0])
def overflow_of_the_loss() -> tuple[Any, ...]:
    model = keras.Sequential([layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    x = np.ones((2, 2), "float32")
    x[0] = 1e30
    return model, x, np.zeros((2, 1), "float32")


@fault("PS503", "big", None)
def overflow_of_a_gradient_in_float16() -> tuple[Any, ...]:
    big = layers.Dense(4, kernel_initializer=keras.initializers.Constant(8), name="big")
    small = layers.Dense(4, kernel_initializer=keras.initializers.Constant(2.0**-10))
    model = keras.Sequential([small, big, Calls(lambda x: x * 8192.0)])
    for layer in model.layers:
        layer.dtype_policy = "float16"
    return model, np.full((2, 4), 2.0**-7, "float16")


# Data


@fault("PS504", "input", [1])
def nan_in_the_input() -> tuple[Any, ...]:
    x = STEPS.copy()
    x[1, 2, 3] = np.nan
    return keras.Sequential([layers.LSTM(3), layers.Dense(2)]), x


@fault("PS504", "input", [2])
def inf_in_one_of_two_inputs() -> tuple[Any, ...]:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    x = layers.Concatenate()([layers.Dense(4)(a), layers.Dense(4)(b)])
    given = {"a": np.ones((3, 3), "float32"), "b": np.ones((3, 2), "float32")}
    given["b"][2, 0] = np.inf
    return keras.Model({"a": a, "b": b}, layers.Dense(1)(x)), given


@fault("PS504", "targets", [1])
def nan_in_the_targets() -> tuple[Any, ...]:
    y = np.array([[1.0], [np.nan], [0.0]], "float32")
    model = keras.Sequential([layers.Dense(1)])
    return model, np.ones((3, 2), "float32"), y, "mse"


@fault("PS504", "targets", [2])
def nan_among_labels() -> tuple[Any, ...]:
    y = np.array([0, 1, np.nan], "float32")
    model = keras.Sequential([layers.Dense(2, activation="softmax")])
    return model, np.ones((3, 4), "float32"), y, "sparse_categorical_crossentropy"


@fault("PS504", "sample_weight", [0])
def nan_in_the_sample_weight() -> tuple[Any, ...]:
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    weights = np.array([np.inf, 1.0, 1.0], "float32")
    ones = np.ones((3, 1), "float32")
    return model, ones, ones, None, weights


# Weights


@fault("PS505", "dense", [0, 1, 2])
def nan_in_a_kernel() -> tuple[Any, ...]:
    dense = layers.Dense(3, name="dense")
    model = keras.Sequential([keras.Input((4,)), dense, layers.Dense(2)])
    spoil(dense, np.nan)
    return model, np.ones((3, 4), "float32")


@fault("PS505", "tokens", [2])
def nan_in_one_row_of_a_table() -> tuple[Any, ...]:
    tokens = embedding()
    model = keras.Sequential([keras.Input((4,), dtype="int32"), tokens, layers.LSTM(3)])
    table = tokens.get_weights()[0]
    table[7] = np.nan
    tokens.set_weights([table])
    return model, IDS


@fault("PS505", "norm", [0, 1, 2])
def nan_in_batch_statistics() -> tuple[Any, ...]:
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), norm])
    spoil(norm, np.nan, index=2)
    return model, np.ones((3, 4), "float32")


@fault("PS505", "rnn/cell", [0, 1, 2])
def nan_in_a_cell() -> tuple[Any, ...]:
    rnn = layers.RNN(layers.LSTMCell(3, name="cell"), name="rnn")
    model = keras.Sequential([keras.Input((4, 6)), rnn, layers.Dense(2)])
    spoil(rnn, np.inf, index=1)
    return model, STEPS


@fault("PS505", "each/inner", [0, 1, 2])
def nan_in_a_wrapped_layer() -> tuple[Any, ...]:
    inner = layers.Dense(3, name="inner")
    each = layers.TimeDistributed(inner, name="each")
    model = keras.Sequential([keras.Input((4, 6)), each, layers.Flatten()])
    spoil(inner, np.nan)
    return model, STEPS


@fault("PS509", "first", [0, 1, 2])
def all_weights_lost() -> tuple[Any, ...]:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2)]
    )
    for layer in model.layers:
        layer.set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
    return model, np.ones((3, 4), "float32")


@fault("PS509", "second", [0, 1, 2])
def weights_that_grew_without_end() -> tuple[Any, ...]:
    parts = [layers.Dense(3, name="first"), layers.Dense(3, name="second")]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.LayerNormalization()])
    for layer, size in zip(parts, (1e15, 1e25), strict=True):
        kernel, bias = layer.get_weights()
        layer.set_weights([np.full_like(kernel, size), bias])
    return model, np.ones((3, 4), "float32")


@fault("PS509", "first", [0, 1, 2])
def a_learning_rate_far_too_high() -> tuple[Any, ...]:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(1e12), "mse", jit_compile=False)
    x = np.ones((3, 4), "float32")
    model.fit(x, x[:, :1], epochs=6, verbose=0)
    return model, x


# Crossing a mask


@fault("PS506", "attention", [1])
def nan_behind_the_mask_of_attention() -> tuple[Any, ...]:
    steps, mask = keras.Input((4, 6)), keras.Input((4,), dtype="bool")
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    x = attention(steps, steps, attention_mask=mask[:, None, :])
    x = layers.GlobalAveragePooling1D()(x, mask=mask)
    real = np.array([[1, 1, 1, 0]] * 3, bool)
    data = STEPS.copy()
    data[1, 3] = np.nan
    return keras.Model([steps, mask], layers.Dense(2)(x)), [data, real]


@fault("PS506", "pool", [2])
def nan_behind_a_mask_that_multiplies() -> tuple[Any, ...]:
    class Pool(layers.Layer):
        def call(self, x: Any, mask: Any = None) -> Any:
            weights = ops.cast(mask, x.dtype)[..., None]
            return ops.sum(x * weights, 1) / ops.maximum(ops.sum(weights, 1), 1.0)

    steps, mask = keras.Input((4, 6)), keras.Input((4,), dtype="bool")
    x = Pool(name="pool")(steps, mask=mask)
    real = np.array([[1, 1, 0, 0]] * 3, bool)
    data = STEPS.copy()
    data[2, 2] = np.inf
    return keras.Model([steps, mask], layers.Dense(2)(x)), [data, real]


@fault("PS506", "loss", [1])
def nan_target_at_a_masked_step() -> tuple[Any, ...]:
    model = keras.Sequential([embedding(), layers.Dense(1)])
    model.compile("sgd", "mse")
    y = np.zeros((3, 4, 1), "float32")
    y[1, 3] = np.nan
    return model, IDS, y


@fault("PS506", "rnn/gru_cell", None)
def nan_behind_the_mask_of_a_recurrent_layer() -> tuple[Any, ...]:
    steps, mask = keras.Input((4, 6)), keras.Input((4,), dtype="bool")
    x = layers.RNN(layers.GRUCell(3, name="gru_cell"), name="rnn")(steps, mask=mask)
    real = np.array([[1, 1, 1, 0]] * 3, bool)
    data = STEPS.copy()
    data[0, 3] = np.nan
    return keras.Model([steps, mask], layers.Dense(2)(x)), [data, real]


# Gradients


@fault("PS507", "safe", [1])
def unsafe_where_root() -> tuple[Any, ...]:
    def root(x: Any) -> Any:
        return ops.where(x > 0, ops.log(x), 0.0)

    x = np.ones((3, 4), "float32")
    x[1, 1] = 0
    first = layers.Dense(4, kernel_initializer="identity")
    return keras.Sequential([first, Calls(root, name="safe"), layers.Dense(2)]), x


@fault("PS507", "mean", None)
def unsafe_where_division_by_a_count() -> tuple[Any, ...]:
    def mean(x: Any) -> Any:
        count = ops.sum(x, axis=-1, keepdims=True)
        return ops.where(count > 0, x / count, 0.0)

    x = np.ones((3, 4), "float32")
    x[2] = 0
    first = layers.Dense(4, kernel_initializer="identity")
    return keras.Sequential([first, Calls(mean, name="mean"), layers.Dense(2)]), x


@fault("PS507", "chain", [0])
def unsafe_where_between_layers() -> tuple[Any, ...]:
    def function(x: Any) -> Any:
        return ops.where(x > 0, ops.log(x), 0.0)

    x = np.ones((3, 4), "float32")
    x[0] = 0
    first = layers.Dense(4, kernel_initializer="identity", name="first")
    return Chain(first, function, layers.Dense(2), name="chain"), x


@fault("PS508", "norm", [1])
def gradient_of_a_norm_at_zero() -> tuple[Any, ...]:
    def norm(x: Any) -> Any:
        return ops.exp(0.5 * ops.log(ops.sum(x * x, axis=-1, keepdims=True)))

    x = np.ones((3, 4), "float32")
    x[1] = 0
    first = layers.Dense(4, kernel_initializer="identity")
    return keras.Sequential([first, Calls(norm, name="norm"), layers.Dense(2)]), x


# Division by zero


@fault("PS508", "scale", [2])
def standardising_a_constant_row() -> tuple[Any, ...]:
    def scale(x: Any) -> Any:
        mean = ops.mean(x, -1, keepdims=True)
        return (x - mean) / ops.std(x, -1, keepdims=True)

    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    x[2] = 4.0
    return keras.Sequential([Calls(scale, name="scale"), layers.Dense(2)]), x


@fault("PS508", "logarithm", [0])
def logarithm_of_zero() -> tuple[Any, ...]:
    x = np.ones((3, 4), "float32")
    x[0, 0] = 0
    return keras.Sequential([Calls(ops.log, name="logarithm"), layers.Dense(2)]), x


@fault("PS508", "loss", [1])
def logarithm_in_a_loss() -> tuple[Any, ...]:
    def loss(y: Any, p: Any) -> Any:
        return -ops.mean(y * ops.log(p), axis=-1)

    x = np.ones((3, 2), "float32")
    x[1] = 0
    model = keras.Sequential([layers.Dense(2, kernel_initializer="identity")])
    return model, x, np.ones((3, 2), "float32"), loss


@fault("PS508", "divide", [1])
def division_in_a_functional_operation() -> tuple[Any, ...]:
    a, b = keras.Input((2,)), keras.Input((2,))
    x = layers.Dense(2, kernel_initializer="identity")(b)
    y = ops.divide(a, x)
    y._keras_history.operation.name = "divide"
    given = [np.ones((3, 2), "float32"), np.ones((3, 2), "float32")]
    given[1][1, 0] = 0
    return keras.Model([a, b], layers.Dense(1)(y)), given


# Undefined operations


@fault("PS510", "root", [0, 2])
def root_of_a_negative_number() -> tuple[Any, ...]:
    x = np.ones((3, 4), "float32")
    x[0] = x[2] = -4
    return keras.Sequential([Calls(ops.sqrt, name="root"), layers.Dense(2)]), x


@fault("PS510", "power", [1])
def power_of_a_negative_number() -> tuple[Any, ...]:
    x = np.ones((3, 4), "float32")
    x[1] = -4
    power = Calls(lambda x: ops.power(x, 0.3), name="power")
    return Chain(power, layers.Dense(2)), x


# In training only


@fault("PS508", "noise", [0, 1, 2], training=True)
def division_in_training_only() -> tuple[Any, ...]:
    class Noise(layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            return ops.log(x - x) if training else x

    model = keras.Sequential([Noise(name="noise"), layers.Dense(2)])
    return model, np.ones((3, 4), "float32")
