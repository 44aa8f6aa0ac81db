"""One-headed attention: what is `MaskedAttention`'s own."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.attention_reference import reference_attention
from tests.layers.attention_layers import needs, numpy, tokens

REAL = np.arange(4) < np.array([[4], [2], [0]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scores", [False, True])
def test_it_equals_the_reference(causal, scores):
    layer = kp.layers.MaskedAttention(use_scale=True)
    x, y = tokens(), tokens(seed=1)
    layer([x, y])
    layer.set_weights([np.float32(0.3)])
    output = layer(
        [x, y],
        mask=[None, REAL],
        use_causal_mask=causal,
        return_attention_scores=scores,
    )
    allowed = np.broadcast_to(REAL[:, None], (3, 4, 4))
    allowed = allowed & np.tri(4, dtype=bool) if causal else allowed
    expected, *_ = reference_attention(
        x[:, :, None], y[:, :, None], y[:, :, None], allowed[:, None], 0.3
    )
    output = numpy(output[0] if scores else output)
    np.testing.assert_allclose(output, expected[:, :, 0], atol=1e-6)


@pytest.mark.parametrize("mode", ["dot", "concat"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_empty_sample_in_16_bits_is_zeros(mode, dtype):
    layer = kp.layers.MaskedAttention(score_mode=mode, dtype=dtype)
    x = keras.ops.cast(np.where(REAL[..., None], tokens(), np.nan), dtype)
    output = numpy(layer([x, x], mask=[REAL, REAL]))
    assert np.isfinite(output).all()
    assert not output[~REAL].any()


def test_a_masked_score_of_any_size_does_not_win():
    query = np.array([[[1.0]]], "float32")
    key = np.array([[[0.0], [3e9]]], "float32")
    value = np.array([[[1.0], [2.0]]], "float32")
    layer = kp.layers.MaskedAttention()
    for scores in (False, True):
        output = layer(
            [query, value, key],
            mask=[None, np.array([[True, False]]), None],
            return_attention_scores=scores,
        )
        assert numpy(output[0] if scores else output).item() == 1.0


@needs("use_gate")  # The Keras without it transposes three axes only.
def test_inputs_of_higher_rank_keep_their_first_axes():
    x = tokens(batch=6).reshape(2, 3, 4, 6)
    try:
        keras.layers.Attention()([x, x])
    except Exception:
        pytest.skip("Attention of this Keras takes three axes only")
    real = np.random.default_rng(0).random((2, 3, 4)) < 0.5
    dirty = np.where(real[..., None], x, np.nan).astype("float32")
    layer = kp.layers.MaskedAttention()
    output = numpy(layer([dirty, dirty], mask=[real, real]))
    flat = x.reshape(6, 4, 6)
    mask = real.reshape(6, 4)
    expected = numpy(layer([flat, flat], mask=[mask, mask]))
    np.testing.assert_allclose(output.reshape(6, 4, 6), expected, atol=1e-6)
