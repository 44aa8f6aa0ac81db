"""More planted faults: what one experiment cannot tell, and losses of layers."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.audit.faults import EMPTY, STEPS, Calls, Chain, fault

ROWS = np.abs(np.random.default_rng(1).normal(size=(3, 4))).astype("float32") + 0.1


def with_row(row: int, values: Any) -> np.ndarray:
    x = ROWS.copy()
    x[row] = values
    return x


def identity(**kwargs: Any) -> layers.Dense:
    return layers.Dense(4, kernel_initializer="identity", **kwargs)


@fault("PS501", "softmax", [1])
def softmax_over_scores_hidden_by_another_layer() -> tuple[Any, ...]:
    """Row 0 holds -inf too, harmlessly."""
    hide = Calls(lambda x: ops.where(x > 0, x, -np.inf), name="hide")
    x = with_row(1, 0)
    x[0, 2:] = 0
    return keras.Sequential([hide, layers.Softmax(name="softmax")]), x


@fault("PS508", "loss", [0])
def entropy_of_scores_that_a_mask_hides() -> tuple[Any, ...]:
    def entropy(y: Any, p: Any) -> Any:
        return -ops.sum(p * ops.log(p), axis=-1)

    hide = Calls(lambda x: ops.where(x > 0, x, -np.inf), name="hide")
    model = keras.Sequential([hide, layers.Softmax()])
    return model, with_row(0, [0, 1, 2, 3]), np.zeros(3, "float32"), entropy


@fault("PS501", "mean", [1])
def mean_over_a_mask_that_is_an_input() -> tuple[Any, ...]:
    def mean(x: Any, mask: Any) -> Any:
        mask = ops.cast(mask, x.dtype)[..., None]
        return ops.sum(x * mask, 1) / ops.sum(mask, 1)

    ids = keras.Input((4,), dtype="int32", name="ids")
    mask = keras.Input((4,), dtype="int32", name="padding_mask")
    x = Calls(mean, name="mean")(layers.Embedding(9, 6)(ids), mask)
    model = keras.Model({"ids": ids, "padding_mask": mask}, layers.Dense(1)(x))
    return model, {"ids": EMPTY, "padding_mask": (EMPTY > 0).astype("int32")}


@fault("PS508", "loss", [1])
def logarithm_of_a_target_in_a_loss() -> tuple[Any, ...]:
    def divergence(y: Any, p: Any) -> Any:
        return ops.sum(y * ops.log(y / p), axis=-1)

    model = keras.Sequential([layers.Dense(4, activation="softmax")])
    return model, ROWS, with_row(1, [0, 0.5, 0.25, 0.25]), divergence


@fault("PS501", "model", [1])
def mean_in_the_code_of_the_model() -> tuple[Any, ...]:
    class Mean(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="model")
            self.table = layers.Embedding(9, 6)

        def call(self, ids: Any) -> Any:
            mask = ops.cast(ids != 0, "float32")[..., None]
            return ops.sum(self.table(ids) * mask, 1) / ops.sum(mask, 1)

    return Mean(), EMPTY


@fault("PS508", "norm", [0, 1, 2])
def batch_normalization_without_variance_or_epsilon() -> tuple[Any, ...]:
    norm = layers.BatchNormalization(epsilon=0.0, name="norm")
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(2)])
    norm.moving_variance.assign([1, 0, 1, 1])
    return model, ROWS


@fault("PS508", "score", [0], training=True)
def batch_of_one_divided_by_its_deviation() -> tuple[Any, ...]:
    def score(x: Any) -> Any:
        return (x - ops.mean(x, 0)) / ops.std(x, 0)

    return Chain(layers.Dense(3), Calls(score, name="score")), ROWS[:1]


@fault("PS508", "first", [1])
def zeros_put_in_for_a_fault_make_no_second_one() -> tuple[Any, ...]:
    def share(x: Any) -> Any:
        return x / ops.sum(x, -1, keepdims=True)

    parts = [Calls(share, name=name) for name in ("first", "second", "third")]
    return Chain(*parts, layers.Dense(1)), with_row(1, 0)


@fault("PS509", "last", [0, 1, 2])
def weights_that_grew_in_every_layer() -> tuple[Any, ...]:
    def large(**kwargs: Any) -> layers.Dense:
        start = keras.initializers.Constant(1e15)
        return layers.Dense(4, kernel_initializer=start, **kwargs)

    return keras.Sequential([large(), large(), large(name="last")]), ROWS


@fault("PS506", "mean", [1])
def nan_hidden_by_a_mask_made_of_it() -> tuple[Any, ...]:
    class Real(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

        def compute_mask(self, x: Any, mask: Any = None) -> Any:
            return ops.logical_not(ops.any(ops.isnan(x), -1))

    class Mean(layers.Layer):
        supports_masking = True

        def call(self, x: Any, mask: Any = None) -> Any:
            real = ops.cast(mask, x.dtype)[..., None]
            return ops.sum(x * real, 1) / ops.sum(real, 1)

        def compute_mask(self, x: Any, mask: Any = None) -> None:
            return None

    x = STEPS.copy()
    x[1, 2:] = np.nan
    return keras.Sequential([Real(), Mean(name="mean"), layers.Dense(1)]), x


@fault("PS505", "attention/query", [0, 1, 2])
def one_value_of_a_query_projection() -> tuple[Any, ...]:
    """The fused kernel of PyTorch makes zeros of it."""
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    x = keras.Input((4, 6))
    model = keras.Model(x, layers.Dense(1)(attention(x, x)))
    kernel = attention.get_weights()
    kernel[0][0, 0, 0] = np.nan
    attention.set_weights(kernel)
    return model, STEPS


# Losses


@fault("PS503", "loss", [1])
def target_too_large_for_its_square() -> tuple[Any, ...]:
    y = np.ones((3, 1), "float32")
    y[1] = 3e30
    return keras.Sequential([layers.Dense(1)]), ROWS, y, "mse"


@fault("PS508", "added")
def logarithm_in_a_loss_that_a_layer_adds() -> tuple[Any, ...]:
    class Added(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.mean(ops.log(ops.mean(ops.relu(x), -1))))
            return x

    added = Added(name="added")
    model = keras.Sequential([keras.Input((4,)), added, layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, with_row(1, -1), np.ones((3, 1), "float32")


@fault("PS503", "dense")
def regularizer_of_a_large_weight() -> tuple[Any, ...]:
    dense = layers.Dense(1, kernel_regularizer="l2", name="dense")
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile("sgd", "mse")
    dense.kernel.assign(np.full((4, 1), 1e20))
    return model, ROWS * 1e-20, np.ones((3, 1), "float32")


# Gradients


@fault("PS507", "ratio", [0])
def gradient_of_a_quotient_that_where_hides() -> tuple[Any, ...]:
    ratio = Calls(lambda x: ops.where(x == 0, 1.0, ops.sin(x) / x), name="ratio")
    x = ROWS.copy()
    x[0, 0] = 0
    return keras.Sequential([identity(), ratio, layers.Dense(1)]), x


@fault("PS508", "distance", [0, 1, 2])
def gradient_of_distances_to_oneself() -> tuple[Any, ...]:
    def distance(x: Any) -> Any:
        apart = ops.expand_dims(x, 1) - ops.expand_dims(x, 2)
        return ops.sqrt(ops.sum(apart * apart, -1))

    return Chain(layers.Dense(3), Calls(distance, name="distance")), STEPS


@fault("PS507", "rnn/cell", [0])
def gradient_in_one_step_of_a_cell() -> tuple[Any, ...]:
    class Cell(layers.Layer):
        state_size = output_size = 6

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense = layers.Dense(6, kernel_initializer="identity")

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, x: Any, states: Any) -> Any:
            x = self.dense(x)
            state = states[0] + ops.where(x > 0, ops.log(x), 0.0)
            return state, [state]

    x = np.abs(STEPS) + 0.1
    x[0, 2] = 0
    rnn = layers.RNN(Cell(name="cell"), name="rnn")
    return keras.Sequential([rnn, layers.Dense(1)]), x
