"""Projections, free axes, files: what is `MaskedMultiHeadAttention`'s own."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_padsafe as kp
from keras_padsafe.errors import MaskError
from tests.attention_reference import reference_attention
from tests.layers.attention_layers import DIM, needs, numpy, tokens


def reference(layer, query, value, query_mask, allowed):
    """The layer in NumPy, from its weights."""
    weights = [keras.ops.convert_to_numpy(w).astype("float64") for w in layer.weights]
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = zip(
        weights[::2], weights[1::2], strict=True
    )
    projected = [
        np.einsum("btd,dnh->btnh", x, w) + b
        for x, w, b in ((query, wq, bq), (value, wk, bk), (value, wv, bv))
    ]
    scale = layer.key_dim**-0.5
    context, *_ = reference_attention(*projected, allowed, scale)
    output = np.einsum("btnh,nhd->btd", context, wo) + bo
    return np.where(query_mask[..., None], output, 0)


LAYER = kp.layers.MaskedMultiHeadAttention(
    num_heads=3, key_dim=3, value_dim=2, bias_initializer="ones"
)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), sizes=st.sampled_from([(3, 3, 3), (20, 2, 5)]))
def test_it_equals_the_reference_whatever_padding_holds(data, sizes):
    batch, queries, keys = sizes
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    query, value = (
        rng.normal(size=(batch, time, 3)).astype("float32") for time in (queries, keys)
    )
    share = data.draw(st.sampled_from([0.3, 0.8]))
    query_mask = rng.random((batch, queries)) < share
    value_mask = rng.random((batch, keys)) < share
    attention_mask = rng.random((batch, queries, keys)) < share
    allowed = attention_mask & value_mask[:, None]
    allowed = np.repeat(allowed[:, None], 3, axis=1)
    poison = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30]))
    output = LAYER(
        np.where(query_mask[..., None], query, np.float32(poison)),
        np.where(value_mask[..., None], value, np.float32(poison)),
        query_mask=query_mask,
        value_mask=value_mask,
        attention_mask=attention_mask,
    )
    expected = reference(LAYER, query, value, query_mask, allowed)
    np.testing.assert_allclose(numpy(output), expected, atol=1e-5)


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2)])
def test_masks_reach_inputs_with_free_axes(axes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, DIM)).astype("float32")
    real = rng.random((2, 3, 4)) < 0.6
    layer = kp.layers.MaskedMultiHeadAttention(2, 3, attention_axes=axes)
    dirty = np.where(real[..., None], x, np.nan).astype("float32")
    masks = {"query_mask": real, "value_mask": real}
    output = numpy(layer(dirty, dirty, **masks))
    assert not output[~real].any()
    # The same layer over the attention axes alone, the free ones in the batch.
    flat = kp.layers.MaskedMultiHeadAttention(2, 3)
    order = [axis for axis in (1, 2) if axis not in axes] + list(axes)
    time = int(np.prod([x.shape[axis] for axis in axes]))
    y = x.transpose(0, *order, 3).reshape(-1, time, DIM)
    mask = real.transpose(0, *order).reshape(-1, time)
    flat(y, y)
    flat.set_weights(layer.get_weights())
    expected = numpy(flat(y, y, query_mask=mask, value_mask=mask))
    moved = output.transpose(0, *order, 3)
    np.testing.assert_allclose(moved.reshape(-1, time, DIM), expected, atol=1e-5)


def test_causality_along_a_free_axis_and_its_limit():
    x = tokens().reshape(1, 3, 4, DIM)
    layer = kp.layers.MaskedMultiHeadAttention(2, 3, attention_axes=2)
    _, scores = layer(x, x, use_causal_mask=True, return_attention_scores=True)
    assert not numpy(scores)[..., np.triu(np.ones((4, 4), bool), 1)].any()
    layer = kp.layers.MaskedMultiHeadAttention(2, 3, attention_axes=(1, 2))
    with pytest.raises(MaskError, match="need one attention axis"):
        layer(x, x, use_causal_mask=True)


@needs("use_gate")
def test_poison_behind_the_gate_stays_there():
    layer, x = kp.layers.MaskedMultiHeadAttention(2, 3, use_gate=True), tokens()
    real = np.arange(4) < np.array([[4], [2], [0]])
    masks = {"query_mask": real, "value_mask": real}
    clean = numpy(layer(x, x, **masks))
    dirty = np.where(real[..., None], x, np.nan).astype("float32")
    np.testing.assert_array_equal(numpy(layer(dirty, dirty, **masks)), clean)


def test_float16_trains_where_a_backend_has_no_kernel_for_it():
    inputs = keras.Input((4, 8))
    layer = kp.layers.MaskedMultiHeadAttention(2, 4, dtype="mixed_float16")
    model = keras.Model(inputs, layer(inputs, inputs))
    model.compile("sgd", "mse")
    x = np.ones((2, 4, 8), "float32")
    assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()


def test_under_a_causal_mask_padded_queries_may_ask_for_anything():
    layer = kp.layers.MaskedMultiHeadAttention(2, 4)
    x, real = np.ones((1, 4, 8), "float32"), np.array([[True, True, False, False]])
    x[~real] = np.nan
    outputs = layer(x, x, query_mask=real, use_causal_mask=True)
    assert np.isfinite(keras.ops.convert_to_numpy(outputs)).all()
