"""Rows share a row of a cut only where a layer keeps them apart."""

import contextlib
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.layers.shared_rows import can_share_rows
from keras_padsafe.ops.hide import hide
from tests.layers.test_real_tokens import DIM, TIME
from tests.layers.test_real_tokens_layer import Block

pytestmark = [
    pytest.mark.usefixtures("quick_compile"),
    pytest.mark.filterwarnings("ignore:.*not support masking"),
]


class Causal(Block):
    def call(self, x: Any, mask: Any = None) -> Any:
        given = {"query_mask": mask, "value_mask": mask, "use_causal_mask": True}
        return x + self.dense(self.attention(x, x, **given))


def refuse(x: Any) -> Any:
    raise ValueError("No such numbers.")


class Squeezed(layers.Layer):
    """What a row has on average, through two gates that may be shut, scales it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = kp.layers.MaskedGlobalAveragePooling1D()
        self.gates = [layers.Dense(2, "relu"), layers.Dense(DIM, "relu")]

    def call(self, x: Any, mask: Any = None) -> Any:
        h = self.pool(x, mask=mask)
        for gate in self.gates:
            h = gate(h)
        return x * (1 + h[:, None])


class Repeated(layers.Layer):
    """A table of positions that begins anew after some steps."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every, self.table = every, layers.Embedding(every, DIM)

    def call(self, x: Any) -> Any:
        return x + self.table(keras.ops.arange(x.shape[1]) % self.every)


def means_of_chunks(x: Any, size: int = 2) -> Any:
    chunks = keras.ops.reshape(x, (-1, x.shape[1] // size, size, DIM))
    return x + keras.ops.repeat(keras.ops.mean(chunks, axis=2), size, axis=1)


class MeanInTraining(layers.Layer):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = layers.Dropout(dropout, seed=1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.dropout(x, training=training)
        return x - keras.ops.mean(x, axis=1, keepdims=True) if training else x


def plain_attention() -> Any:
    x = keras.Input((None, DIM))
    return keras.Model(x, kp.layers.MaskedAttention()([x, x]))


def stock_attention() -> Any:
    x = keras.Input((None, DIM))
    return keras.Model(x, layers.MultiHeadAttention(2, 4)(x, x))


def of(function: Any) -> Any:
    return lambda: layers.Lambda(function)


SHARE = {
    "our attention": lambda: Block(dropout=0.5),
    "causal": Causal,
    "stacks": lambda: keras.Sequential([Block(), layers.Dense(3, "softmax")]),
}
DO_NOT = {
    "a table of positions": lambda: Block(table=TIME),
    "attention of Keras": stock_attention,
    "plain attention": plain_attention,
    "an average behind gates": Squeezed,
    "positions that repeat": lambda: Repeated(TIME // 3),
    "means of chunks": of(means_of_chunks),
    "how often numbers are large": of(
        lambda x: x + keras.ops.cumsum(keras.ops.cast(x > 8, x.dtype), axis=1)
    ),
    "far neighbours": lambda: layers.Conv1D(
        DIM, 2, dilation_rate=TIME // 2, padding="same"
    ),
    "what came before": of(lambda x: keras.ops.cumsum(x, axis=1)),
    "the first of all": of(lambda x: x + 0.1 * x[:, :1]),
    "a mean": of(lambda x: x - 0.01 * keras.ops.mean(x, axis=1, keepdims=True)),
    "a state": lambda: layers.LSTM(DIM, return_sequences=True),
    "a mean in training": MeanInTraining,
    "a mean in training, with dropout": lambda: MeanInTraining(0.5),
    "no numbers": of(lambda x: x > 0),
    "nothing but NaN": of(lambda x: x * float("nan")),
    "nothing at all": of(lambda x: x * 0),
    "an error": of(refuse),
}


def shares(layer: Any, time: int = TIME) -> bool:
    with contextlib.suppress(ValueError):
        layer(keras.ops.zeros((1, time, DIM)))

    def run(tensors: Any, mask: Any, training: Any) -> Any:
        (x,) = tensors
        x = hide(x, mask)
        kp.compat.set_keras_mask(x, mask)
        return layer(x, training=training)

    before = [np.array(w) for w in layer.get_weights()]
    found = can_share_rows(run, layer, [keras.KerasTensor((5, time, DIM))], True)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    return found


@pytest.mark.parametrize("make", SHARE.values(), ids=SHARE)
def test_what_attends_within_a_row_can_share_one(make: Any) -> None:
    assert shares(make())


@pytest.mark.parametrize("make", DO_NOT.values(), ids=DO_NOT)
def test_what_looks_beyond_a_row_or_at_positions_cannot(make: Any) -> None:
    assert not shares(make())


def test_of_two_steps_none_can_be_told_apart() -> None:
    assert not shares(layers.Dense(DIM), time=2)
