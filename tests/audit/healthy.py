"""Models without a fault, of many kinds: an audit has nothing to say of them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from tests.audit.faults import EMPTY, IDS, STEPS, Calls, Chain, embedding

HEALTHY: dict[str, Callable[[], tuple[Any, ...]]] = {}


def healthy(make: Callable[[], tuple[Any, ...]]) -> Callable[[], tuple[Any, ...]]:
    """Adds a model to `HEALTHY`; it returns `(model, x)` or `(model, x, y, loss)`."""
    HEALTHY[make.__name__] = make
    return make


@healthy
def average_pooling() -> tuple[Any, ...]:
    pool = layers.GlobalAveragePooling1D()
    return keras.Sequential([embedding(), pool, layers.Dense(2)]), IDS


@healthy
def recurrent() -> tuple[Any, ...]:
    parts = [layers.LSTM(3, return_sequences=True), layers.Bidirectional(layers.GRU(3))]
    return keras.Sequential([embedding(), *parts, layers.Dense(2)]), EMPTY


@healthy
def recurrent_with_a_loss() -> tuple[Any, ...]:
    model = keras.Sequential([embedding(), layers.SimpleRNN(3), layers.Dense(1)])
    model.compile("adam", "mse")
    return model, EMPTY, np.ones((3, 1), "float32")


@healthy
def stock_attention() -> tuple[Any, ...]:
    ids = keras.Input((4,), dtype="int32")
    x = embedding()(ids)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(ids, layers.GlobalAveragePooling1D()(x)), IDS


@healthy
def attention_with_infinite_scores() -> tuple[Any, ...]:
    """The usual way to hide keys: -inf before a softmax. No row is empty."""

    def attend(x: Any) -> Any:
        mask = ops.any(x != 0, axis=-1)
        scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        scores = ops.where(mask[:, None, :], scores, -np.inf)
        return ops.matmul(ops.softmax(scores), x)

    x = STEPS.copy()
    x[:, 3] = 0
    return keras.Sequential([Calls(attend), layers.Dense(2)]), x


@healthy
def infinite_scores_between_layers() -> tuple[Any, ...]:
    def hide(x: Any) -> Any:
        return ops.where(x > 0, x, -np.inf)

    x = np.abs(STEPS)
    x[:, :, 0] = -1
    return Chain(hide, layers.Softmax(), layers.Dense(2)), x


@healthy
def maximum_that_begins_at_minus_infinity() -> tuple[Any, ...]:
    def maximum(x: Any) -> Any:
        return ops.max(ops.where(x > 0, x, -np.inf), axis=1)

    return keras.Sequential([Calls(maximum), layers.Dense(2)]), np.abs(STEPS)


@healthy
def our_layers_with_an_empty_row() -> tuple[Any, ...]:
    ids = keras.Input((4,), dtype="int32")
    x = kp.layers.ExtendableEmbedding(9, 6, pad_id=0)(ids)
    x = kp.layers.MaskedMultiHeadAttention(2, 3)(x, x)
    x = kp.layers.MaskedConv1D(6, 2)(x)
    x = kp.layers.MaskedGlobalAveragePooling1D()(x)
    model = keras.Model(ids, layers.Dense(1)(x))
    model.compile("adam", "mse")
    return model, EMPTY, np.ones((3, 1), "float32")


@healthy
def nan_that_is_masked_away() -> tuple[Any, ...]:
    x = STEPS.copy()
    x[:, 3] = np.nan
    pool = kp.layers.MaskedGlobalAveragePooling1D()
    return keras.Sequential([kp.layers.NaNMasking(), pool, layers.Dense(2)]), x


@healthy
def guarded_where() -> tuple[Any, ...]:
    def root(x: Any) -> Any:
        positive = x > 0
        return ops.where(positive, ops.log(ops.where(positive, x, 1.0)), 0.0)

    first = layers.Dense(6, kernel_initializer="identity")
    return keras.Sequential([first, Calls(root), layers.Dense(2)]), STEPS * 0


@healthy
def mixed_float16() -> tuple[Any, ...]:
    parts = [
        layers.Dense(8, activation="gelu", dtype="mixed_float16"),
        layers.LayerNormalization(dtype="mixed_float16"),
        layers.Dense(2, dtype="mixed_float16"),
    ]
    model = keras.Sequential(parts)
    model.compile("adam", "mse")
    return model, STEPS, np.zeros((3, 4, 2), "float32")


@healthy
def convolutions_and_normalisation() -> tuple[Any, ...]:
    parts = [
        layers.Conv1D(4, 2, padding="causal"),
        layers.BatchNormalization(),
        layers.SpatialDropout1D(0.5),
        layers.GlobalMaxPooling1D(),
        layers.Dense(3, activation="softmax"),
    ]
    model = keras.Sequential(parts)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model, STEPS, np.array([0, 1, 2])


@healthy
def wrappers() -> tuple[Any, ...]:
    parts = [
        layers.TimeDistributed(layers.Dense(4)),
        layers.SpectralNormalization(layers.Dense(3)),
        layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)])),
    ]
    return keras.Sequential(parts), STEPS


@healthy
def several_outputs() -> tuple[Any, ...]:
    inputs = keras.Input((4, 6))
    x = layers.Flatten()(inputs)
    outputs = {"a": layers.Dense(2)(x), "b": layers.Dense(1)(x)}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"})
    y = {"a": np.zeros((3, 2), "float32"), "b": np.zeros((3, 1), "float32")}
    return model, STEPS, y


@healthy
def confident_classifier() -> tuple[Any, ...]:
    """Probabilities of exactly 0 and 1, which Keras's losses clip."""
    parts = [Calls(lambda x: x * 1e6), layers.Dense(3, activation="softmax")]
    model = keras.Sequential(parts)
    model.compile("sgd", "categorical_crossentropy")
    return model, np.ones((3, 2), "float32"), np.eye(3, dtype="float32")


@healthy
def language_model_with_tied_head() -> tuple[Any, ...]:
    if "compute_mask" not in vars(layers.ReversibleEmbedding):
        pytest.skip("this Keras masks scores as if they were ids: no loss takes them")
    ids = keras.Input((4,), dtype="int32")
    table = layers.ReversibleEmbedding(9, 6, mask_zero=True)
    x = layers.LSTM(6, return_sequences=True)(table(ids))
    model = keras.Model(ids, table(x, reverse=True))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, IDS, IDS, loss


@healthy
def masked_targets() -> tuple[Any, ...]:
    model = keras.Sequential([embedding(), layers.Dense(1)])
    model.compile("sgd", kp.losses.MaskedLoss("mse"))
    y = np.zeros((3, 4, 1), "float32")
    y[IDS == 0] = np.nan
    return model, IDS, y


@healthy
def hub_encoder() -> tuple[Any, ...]:
    import keras_hub

    model = keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=4,
    )
    return model, {
        "token_ids": IDS,
        "padding_mask": (IDS != 0).astype("int32"),
        "segment_ids": np.zeros_like(IDS),
    }


@healthy
def regularized_weights() -> tuple[Any, ...]:
    penalties = {"kernel_regularizer": "l2", "activity_regularizer": "l1"}
    model = keras.Sequential([layers.Dense(3, **penalties), layers.Dense(1)])
    model.compile("adam", "mse")
    return model, STEPS[:, 0], np.ones((3, 1), "float32")


@healthy
def named_arguments_in_an_order_of_their_own() -> tuple[Any, ...]:
    def scores(*, values: Any, bias: Any) -> Any:
        return ops.matmul(values, ops.transpose(values, (0, 2, 1))) + bias

    class Named(layers.Layer):
        def call(self, *, values: Any, bias: Any) -> Any:
            return scores(values=values, bias=bias)

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.named = layers.Dense(6), Named()

        def call(self, x: Any) -> Any:
            bias = ops.zeros((x.shape[0], x.shape[1], x.shape[1]))
            return self.named(values=self.dense(x), bias=bias)

    return Model(), STEPS


@healthy
def scores_that_are_hidden_in_the_answer() -> tuple[Any, ...]:
    """Of what a mask makes -inf, the loss asks nothing."""

    def loss(y: Any, p: Any) -> Any:
        return -ops.take_along_axis(ops.log_softmax(p), y, axis=1)

    ids = keras.Input((4,), dtype="int32")
    scores = layers.Dense(1)(layers.Embedding(9, 6)(ids))[..., 0]
    model = keras.Model(ids, ops.where(ids > 0, scores, -np.inf))
    return model, IDS, np.zeros((3, 1), "int32"), loss


@healthy
def labels_that_the_loss_leaves_out() -> tuple[Any, ...]:
    y = np.array([[0, 1, -1, -1], [2, 0, 1, -1], [1, 1, -1, -1]])
    model = keras.Sequential([embedding(), layers.Dense(3, activation="softmax")])
    return model, IDS, y, keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)


@healthy
def labels_that_a_masked_loss_leaves_out() -> tuple[Any, ...]:
    model, x, y, _ = labels_that_the_loss_leaves_out()
    loss = kp.losses.MaskedLoss("sparse_categorical_crossentropy", pad_label=-1)
    return model, x, y, loss


@healthy
def logarithm_of_distances_in_buckets() -> tuple[Any, ...]:
    """log(0) is -inf, and is not taken: no gradient goes through an integer."""

    def near(x: Any) -> Any:
        steps = ops.arange(x.shape[1])
        apart = ops.abs(steps[:, None] - steps[None])
        far = 2 + ops.cast(ops.log(ops.cast(apart, "float32") / 2), "int32")
        weights = ops.cast(ops.where(apart < 2, apart, far), x.dtype)
        return ops.matmul(ops.softmax(weights), x)

    return keras.Sequential([layers.Dense(3), Calls(near), layers.Dense(1)]), STEPS
