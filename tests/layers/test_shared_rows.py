"""Rows share a row of a cut only where a layer keeps them apart."""

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
    if float(keras.ops.min(x)) < 0:
        raise ValueError("No negative numbers.")
    return x


class MeanInTraining(layers.Layer):
    def call(self, x: Any, training: bool | None = None) -> Any:
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
    "plain attention": plain_attention,
    "stacks": lambda: keras.Sequential([Block(), layers.Dense(3, "softmax")]),
}
DO_NOT = {
    "a table of positions": lambda: Block(table=TIME),
    "attention of Keras": stock_attention,
    "far neighbours": lambda: layers.Conv1D(
        DIM, 2, dilation_rate=TIME // 2, padding="same"
    ),
    "what came before": of(lambda x: keras.ops.cumsum(x, axis=1)),
    "the first of all": of(lambda x: x + 0.1 * x[:, :1]),
    "a mean": of(lambda x: x - 0.01 * keras.ops.mean(x, axis=1, keepdims=True)),
    "a state": lambda: layers.LSTM(DIM, return_sequences=True),
    "a mean in training": MeanInTraining,
    "nothing but NaN": of(lambda x: x * float("nan")),
    "nothing at all": of(lambda x: x * 0),
    "an error": of(refuse),
}


def shares(layer: Any, time: int = TIME) -> bool:
    layer.build((None, None, DIM))

    def run(tensors: Any, mask: Any) -> Any:
        (x,) = tensors
        x = hide(x, mask)
        kp.compat.set_keras_mask(x, mask)
        # Dropout would draw other numbers for other rows.
        return layer(x, training=not isinstance(layer, Block))

    before = [np.array(w) for w in layer.get_weights()]
    found = can_share_rows(run, layer, [keras.KerasTensor((5, time, DIM))])
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
