"""What all attention layers promise about masks."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask, set_keras_mask
from keras_padsafe.errors import MaskError
from tests.layers.attention_layers import (
    DIM,
    GATE,
    LAYERS,
    PROJECTED,
    needs,
    numpy,
    tokens,
)

# A full sample, one with padding, one of nothing but padding.
REAL = np.array([[True] * 4, [True, True, False, False], [False] * 4])
POISON = [np.nan, np.inf, -np.inf, 1e30]


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def make(request):
    return request.param


@pytest.fixture(params=PROJECTED.values(), ids=PROJECTED.keys())
def make_projected(request):
    return request.param


def masked(x, mask):
    x = keras.ops.convert_to_tensor(x)
    set_keras_mask(x, keras.ops.convert_to_tensor(mask))
    return x


def padded(x, poison, mask=REAL):
    return np.where(mask[..., None], x, np.float32(poison))


def test_two_layers_may_read_one_masked_tensor(make):
    layer, x = make(), tokens()
    tensor = masked(padded(x, 9.0), REAL)
    first, second = numpy(layer(tensor, tensor)), numpy(layer(tensor, tensor))
    np.testing.assert_array_equal(first, second)
    explicit = layer(x, x, query_mask=REAL, value_mask=REAL)
    np.testing.assert_allclose(first, numpy(explicit), atol=1e-6)
    np.testing.assert_array_equal(numpy(get_keras_mask(tensor)), REAL)


def test_any_number_of_layers_may_read_one_masked_memory(make):
    query, memory = tokens(time=3, seed=1), tokens()
    layers = [make() for _ in range(3)]
    outputs = []
    for poison in (0.0, 7.0):
        tensor, x = masked(padded(memory, poison), REAL), query
        for layer in layers:
            x = layer(x, tensor)
        outputs.append(numpy(x))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("how", ["Add", "+"])
def test_a_residual_encoder_of_two_blocks_equals_its_trimmed_run(make, how):
    embed = keras.layers.Embedding(9, DIM, mask_zero=True)
    blocks = [make(), make()]

    def encode(ids):
        x = embed(keras.ops.convert_to_tensor(ids))
        mask = get_keras_mask(x)
        for block in blocks:
            y = block(x, x)
            x = keras.layers.Add()([x, y]) if how == "Add" else x + y
            if how == "+":
                set_keras_mask(x, mask)  # what our residual layer is for
        return numpy(x)

    long = encode(np.array([[1, 2, 0, 0], [3, 4, 5, 6]]))
    short = encode(np.array([[1, 2], [3, 4]]))
    np.testing.assert_allclose(long[0, :2], short[0], atol=1e-5)


@pytest.mark.parametrize("poison", POISON)
def test_poison_behind_the_mask_stays_there(make, poison):
    layer, x = make(), tokens()
    masks = {"query_mask": REAL, "value_mask": REAL}
    clean = numpy(layer(x, x, **masks))
    dirty = numpy(layer(padded(x, poison), padded(x, poison), **masks))
    np.testing.assert_array_equal(clean, dirty)
    assert not dirty[~REAL].any()


@pytest.mark.parametrize("mask", ["value_mask", "key_mask"])
def test_a_key_counts_if_both_its_masks_say_so(make, mask):
    layer, query, x = make(), tokens(time=2), tokens(seed=2)
    other = "key_mask" if mask == "value_mask" else "value_mask"
    dirty = padded(x, np.nan)
    output = layer(query, dirty, dirty, **{mask: REAL, other: np.ones_like(REAL)})
    expected = layer(query, x, x, value_mask=REAL, key_mask=REAL)
    np.testing.assert_array_equal(numpy(output), numpy(expected))


def test_a_nan_at_a_real_place_is_not_hidden(make):
    layer, x = make(), tokens()
    x[0, 1] = np.nan
    output = numpy(layer(x, x, query_mask=REAL, value_mask=REAL))
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1:]).all()


def test_left_padding_under_a_causal_mask_equals_the_trimmed_run(make):
    layer, x = make(), tokens(batch=1)
    real = np.array([[False, False, True, True]])
    dirty = padded(x, np.nan, real)
    masks = {"query_mask": real, "value_mask": real, "use_causal_mask": True}
    output = numpy(layer(dirty, dirty, **masks))
    trimmed = numpy(layer(x[:, 2:], x[:, 2:], use_causal_mask=True))
    np.testing.assert_allclose(output[:, 2:], trimmed, atol=1e-6)
    assert not output[:, :2].any()


def test_dropout_and_scores_do_not_change_the_answer(make):
    plain, dropping, x = make(), make(dropout=0.5), tokens()
    masks = {"query_mask": REAL, "value_mask": REAL}
    plain(x, x)
    dropping(x, x)
    dropping.set_weights(plain.get_weights())
    expected = numpy(plain(x, x, **masks))
    output, scores = plain(x, x, return_attention_scores=True, **masks)
    np.testing.assert_allclose(numpy(output), expected, atol=1e-6)
    np.testing.assert_allclose(numpy(dropping(x, x, **masks)), expected, atol=1e-6)
    scores = numpy(scores).reshape(3, -1, 4, 4)
    assert not scores[..., ~REAL[1]][1].any()
    total = np.broadcast_to(REAL[:, None].astype("float32"), scores.shape[:3])
    np.testing.assert_allclose(scores.sum(-1), total, atol=1e-6)


def test_the_output_carries_the_mask_of_the_query(make):
    layer, x = make(), tokens()
    explicit = layer(x, x, query_mask=keras.ops.convert_to_tensor(REAL))
    implicit = layer(masked(x, REAL), x)
    if "Listed" not in type(layer).__name__:
        np.testing.assert_array_equal(numpy(get_keras_mask(explicit)), REAL)
    np.testing.assert_array_equal(numpy(get_keras_mask(implicit)), REAL)


@pytest.mark.parametrize(("batch", "query", "key"), [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("scores", [False, True])
def test_axes_of_length_zero(make, batch, query, key, scores):
    layer = make()
    layer(tokens(), tokens())
    x, y = tokens(batch, query), tokens(batch, key)
    real = np.ones((batch, key), bool)
    output = layer(x, y, value_mask=real, return_attention_scores=scores)
    output = numpy(output[0] if scores else output)
    assert output.shape == (batch, query, DIM)
    assert not output.any()


@pytest.mark.parametrize(
    ("policy", "jit"),
    [("float32", True), ("mixed_float16", False), ("mixed_bfloat16", True)],
)
def test_fit_does_not_notice_what_padding_holds(make, policy, jit):
    jit = jit and keras.backend.backend() != "torch"
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((4, DIM)), keras.Input((4,), dtype="bool")
        x, real = inputs
        model = keras.Model(inputs, make()(x, x, query_mask=real, value_mask=real))
    finally:
        keras.config.set_dtype_policy("float32")
    start, x = model.get_weights(), tokens()
    y = np.where(REAL[..., None], tokens(seed=3), 0)
    results = []
    for poison in (0.0, np.nan):
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        data = [padded(x, poison), REAL]
        model.fit(data, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
        predicted = model.predict(data, verbose=0)
        results.append([*model.get_weights(), predicted.astype("float32")])
    for clean, dirty in zip(*results, strict=True):
        assert np.isfinite(dirty).all()
        np.testing.assert_allclose(clean, dirty, rtol=1e-6, atol=1e-7)
    assert any((a != b).any() for a, b in zip(start, results[0], strict=False))


def test_a_batch_of_padding_moves_no_weight(make_projected):
    x, real = keras.Input((4, DIM)), keras.Input((4,), dtype="bool")
    layer = make_projected()
    model = keras.Model([x, real], layer(x, x, query_mask=real, value_mask=real))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    start = model.get_weights()
    data = [np.full((3, 4, DIM), np.nan, "float32"), np.zeros((3, 4), bool)]
    model.fit(data, np.zeros((3, 4, DIM)), verbose=0)
    for before, after in zip(start, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_attention_mask_of_any_rank_means_one_thing(make_projected):
    layer, x = make_projected(), tokens()
    allowed = np.random.default_rng(5).random((3, 4, 4)) < 0.6
    padding = {"query_mask": REAL, "value_mask": REAL}
    expected = numpy(layer(x, x, attention_mask=allowed & REAL[:, None]))
    expected = np.where(REAL[..., None], expected, 0)
    for mask in (allowed, allowed[:, None], np.repeat(allowed[:, None], 4, axis=1)):
        for dtype in (bool, "int32"):
            mask = mask.astype(dtype)
            output = layer(x, x, attention_mask=mask, **padding)
            np.testing.assert_allclose(numpy(output), expected, atol=1e-6)


def test_a_query_without_a_key_gets_the_bias_of_the_projection(make_projected):
    layer, x = make_projected(bias_initializer="ones"), tokens()
    allowed = np.ones((1, 4, 4), bool)
    allowed[:, 2] = False
    output = numpy(layer(x, x, attention_mask=allowed))
    np.testing.assert_allclose(output[:, 2], 1.0, atol=1e-6)
    assert np.abs(output[:, 1] - 1).max() > 1e-3


def test_a_mask_that_could_mean_padding_is_refused(make_projected):
    layer, x = make_projected(), tokens(batch=4)
    with pytest.raises(MaskError, match=r"`attention_mask` of rank 2.*`value_mask`"):
        layer(x, x, attention_mask=np.ones((4, 4), bool))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"attention_mask": (3, 4, 5)}, r"`attention_mask` must.*\(3, 4, 5\)"),
        ({"attention_mask": (3, 3, 4, 4)}, r"`attention_mask` must.*\(3, 3, 4, 4\)"),
        ({"attention_mask": (1, 1, 1, 4, 4)}, r"`attention_mask` must"),
        ({"query_mask": (3, 5)}, r"`query_mask` must.*\(3, 4\).*\(3, 5\)"),
        ({"value_mask": (3,)}, r"`value_mask` must.*\(3,\)"),
        ({"key_mask": (3, 1, 4)}, r"`key_mask` must.*\(3, 1, 4\)"),
    ],
)
def test_masks_of_the_wrong_shape_are_refused_by_name(make_projected, masks, message):
    layer, x = make_projected(), tokens()
    masks = {name: np.ones(shape, bool) for name, shape in masks.items()}
    with pytest.raises(MaskError, match=message):
        layer(x, x, **masks)


def test_a_mask_of_floats_is_refused(make_projected):
    layer, x = make_projected(), tokens()
    with pytest.raises(MaskError, match="`attention_mask` must hold booleans"):
        layer(x, x, attention_mask=np.zeros((3, 4, 4), "float32"))


@needs("sliding_window")
@pytest.mark.parametrize("causal", [False, True])
def test_a_sliding_window_composes_with_padding(make_projected, causal):
    layer, x = make_projected(sliding_window=2), tokens()
    _, scores = layer(
        x, x, value_mask=REAL, use_causal_mask=causal, return_attention_scores=True
    )
    distance = np.arange(4)[:, None] - np.arange(4)
    allowed = (np.abs(distance) < 2) & (distance >= 0 if causal else True)
    allowed = np.broadcast_to((allowed & REAL[:, None])[:, None], scores.shape)
    np.testing.assert_array_equal(numpy(scores) > 0, allowed)


def test_flash_attention_survives_the_config(make_projected):
    for flag in (None, False):
        layer = make_projected(flash_attention=flag)
        assert layer.get_config()["flash_attention"] is flag
        assert type(layer).from_config(layer.get_config()).get_config() == (
            layer.get_config()
        )


def test_flash_attention_can_be_forbidden_whatever_is_set_globally(make_projected):
    keras.config.enable_flash_attention()
    assert make_projected()._flash_attention is None
    assert make_projected(flash_attention=False)._flash_attention is False


def test_flash_attention_and_scores_are_refused_together(make_projected):
    layer = make_projected(flash_attention=True)
    with pytest.raises(ValueError, match="Returning attention scores is not"):
        layer(tokens(), tokens(), return_attention_scores=True)


def test_the_symbolic_scores_have_the_shape_of_the_real_ones(make_projected):
    x, y = keras.Input((3, DIM)), keras.Input((5, DIM))
    output, scores = make_projected()(x, y, return_attention_scores=True)
    assert output.shape == (None, 3, DIM)
    assert scores.shape == (None, 4, 3, 5)


def test_an_explicit_query_mask_reaches_the_layer_after(make_projected):
    x, real = keras.Input((4, DIM)), keras.Input((4,), dtype="bool")
    output = make_projected()(x, x, query_mask=real, value_mask=real)
    pooled = keras.layers.GlobalAveragePooling1D()(output)
    model = keras.Model([x, real], pooled)
    data = tokens()[:2]
    result = model.predict([data, REAL[:2]], verbose=0)
    layer = model.layers[-2]
    each = numpy(layer(data, data, query_mask=REAL[:2], value_mask=REAL[:2]))
    expected = [each[0].mean(0), each[1, :2].mean(0)]
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_the_stateless_call_honours_explicit_masks(make_projected):
    layer, x = make_projected(), tokens()
    expected = numpy(layer(x, x, query_mask=REAL, value_mask=REAL))
    dirty = padded(x, np.nan)
    output, _ = layer.stateless_call(
        layer.trainable_variables,
        layer.non_trainable_variables,
        dirty,
        dirty,
        query_mask=keras.ops.convert_to_tensor(REAL),
        value_mask=keras.ops.convert_to_tensor(REAL),
    )
    np.testing.assert_allclose(numpy(output), expected, atol=1e-6)


def test_unmasked_answers_are_those_of_keras():
    x = tokens()
    for theirs, ours in (
        (keras.layers.MultiHeadAttention, kp.layers.MaskedMultiHeadAttention),
        (keras.layers.GroupQueryAttention, kp.layers.MaskedGroupedQueryAttention),
    ):
        config = {"num_heads": 2, "key_dim": 3, **GATE}
        if "Group" in theirs.__name__:
            config = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
        theirs, ours = theirs(**config), ours(**config)
        for causal in (False, True):
            expected = numpy(theirs(x, x, use_causal_mask=causal))
            ours(x, x)
            ours.set_weights(theirs.get_weights())
            output = numpy(ours(x, x, use_causal_mask=causal))
            np.testing.assert_allclose(output, expected, atol=1e-5)
