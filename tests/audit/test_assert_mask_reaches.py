"""`assert_mask_reaches`: it passes where a mask arrives, and says where it was lost."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.audit import assert_mask_reaches
from keras_padsafe.errors import MaskError

pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask information")

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]], "int32")


def tokens(**kwargs):
    ids = keras.Input((4,), dtype="int32")
    return ids, layers.Embedding(9, 8, mask_zero=True, name="tokens", **kwargs)(ids)


def pooled(ids, x):
    return keras.Model(ids, layers.GlobalAveragePooling1D(name="pool")(x))


def message(model, layer, *batch):
    with pytest.raises(MaskError) as caught:
        assert_mask_reaches(model, layer, *batch)
    assert "array(" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("by", ["name", "object"])
def test_a_mask_that_arrives_passes(by):
    ids, x = tokens()
    model = pooled(ids, layers.Dense(8)(x))
    assert_mask_reaches(model, "pool" if by == "name" else model.get_layer("pool"))


def test_what_is_no_model_or_layer_is_named():
    assert message(None, "pool").startswith("model: expected a Keras model")
    assert message(pooled(*tokens()), 3).startswith("layer: expected a Keras model")


def test_a_mask_given_by_name_counts():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 8)(ids)
    real = ops.not_equal(ids, 0)
    x = layers.MultiHeadAttention(2, 4, name="heads")(
        x, x, attention_mask=real[:, None]
    )
    x = layers.GlobalAveragePooling1D(name="pool")(x, mask=real)
    model = keras.Model(ids, x)
    assert_mask_reaches(model, "heads")
    assert_mask_reaches(model, "pool")


def test_it_says_where_a_mask_was_dropped():
    ids, x = tokens()
    model = pooled(ids, layers.Conv1D(8, 3, padding="same", name="conv")(x))
    text = message(model, "pool")
    assert "last seen at 'tokens'" in text
    assert "'conv' (Conv1D) dropped it" in text
    assert "keras_padsafe.layers.MaskedConv1D" in text
    assert_mask_reaches(model, "conv")


def test_it_says_where_a_mask_was_erased():
    ids, x = tokens()
    y = layers.MultiHeadAttention(2, 4, name="first")(x, x)
    z = layers.MultiHeadAttention(2, 4, name="second")(x, y)
    model = keras.Model(ids, z)
    text = message(model, "second")
    assert "'first' (MultiHeadAttention) removed it from its own input" in text
    assert "MaskedMultiHeadAttention" in text


def test_it_says_which_mask_is_wrong():
    ids, x = tokens()
    positions = layers.Embedding(4, 8)(ids % 4)
    model = pooled(ids, layers.Concatenate(name="join")([x, positions]))
    text = message(model, "pool")
    assert "marks padding as real" in text
    assert "'join' (Concatenate)" in text


def test_every_call_of_a_shared_layer_counts():
    ids, x = tokens()
    pool = layers.GlobalAveragePooling1D(name="pool")
    model = keras.Model(ids, [pool(x), pool(2.0 * x)])
    assert "(Multiply) dropped it" in message(model, "pool")


def test_a_path_names_a_layer_in_a_layer():
    inner_ids, x = tokens()
    inner = pooled(inner_ids, x * 2.0)
    outer_ids = keras.Input((4,), dtype="int32")
    model = keras.Model(outer_ids, inner(outer_ids))
    assert "no mask reaches" in message(model, f"{inner.name}/pool")


class Scaled(keras.Model):
    def __init__(self):
        super().__init__(name="scaled")
        self.tokens = layers.Embedding(9, 4, mask_zero=True, name="tokens")
        self.pool = layers.GlobalAveragePooling1D(name="pool")

    def build(self, shape):
        self.tokens.build(shape)

    def call(self, ids):
        return self.pool(2.0 * self.tokens(ids))


def test_a_subclassed_model_needs_a_batch():
    model = Scaled()
    assert "pass a batch" in message(model, "pool")
    text = message(model, model.pool, IDS)
    assert "an operation inside 'scaled' (Scaled) dropped it" in text
    assert "KeepMask" in text


def test_a_layer_that_is_not_called():
    ids, x = tokens()
    model = pooled(ids, x)
    text = message(model, "attention")
    assert "'attention'" in text
    assert "tokens, pool" in text
    assert "does not call 'other'" in message(model, layers.Dense(1, name="other"))


def test_a_layer_before_any_mask_or_after_the_last():
    ids, x = tokens()
    pool = layers.GlobalAveragePooling1D(name="pool")(x)
    model = keras.Model(ids, layers.Dense(2, name="head")(pool))
    assert "makes a mask itself" in message(model, "tokens")
    assert "no input that has padding" in message(model, "head")


def test_no_model_and_no_padding():
    with pytest.raises(MaskError, match="expected a Keras model or layer"):
        assert_mask_reaches("model.keras", "pool", IDS)
    ids, x = tokens()
    with pytest.raises(MaskError, match="it has no padding"):
        assert_mask_reaches(pooled(ids, x), "pool", np.ones((2, 4), "int32"))


def _any_pad_id():
    ids = keras.Input((None,), dtype="int32")
    x = kp.layers.ExtendableEmbedding(9, 4, pad_id=1)(ids)
    return pooled(ids, x)


def _numbers():
    steps = keras.Input((None, 3))
    return pooled(steps, layers.Masking(mask_value=-1.0)(steps))


def _named_inputs():
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = keras.Input((None,), dtype="bool", name="padding_mask")
    x = layers.Embedding(9, 4)(ids)
    x = layers.GlobalAveragePooling1D(name="pool")(x, mask=mask)
    return keras.Model({"ids": ids, "padding_mask": mask}, x)


def _sequential():
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.GlobalAveragePooling1D(name="pool"),
        ]
    )


def _one_user_and_items():
    user = keras.Input((1,), dtype="int32")
    items = keras.Input((None,), dtype="int32")
    x = layers.GlobalAveragePooling1D(name="pool")(
        layers.Embedding(9, 4, mask_zero=True)(items)
    )
    u = layers.Flatten()(layers.Embedding(9, 4)(user))
    return keras.Model([user, items], layers.Dot(1)([u, x]))


@pytest.mark.parametrize(
    "build", [_any_pad_id, _numbers, _named_inputs, _sequential, _one_user_and_items]
)
def test_a_batch_is_made_of_what_the_model_takes(build):
    assert_mask_reaches(build(), "pool")
