"""One answer, whatever padding holds and whichever kernel computes it."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_padsafe as kp
from keras_padsafe.errors import MaskError, PadsafeError
from tests.attention_reference import reference_attention
from tests.gradients import value_and_gradients

POISON = [np.nan, np.inf, -np.inf, 1e30]
TOLERANCE = {"float32": 2e-5, "float16": 8e-3, "bfloat16": 6e-2}
# batch, query, key, heads, key heads, head dim, value dim
SIZES = [
    (3, 3, 3, 3, 3, 3, 3),  # nothing but the order of the axes tells them apart
    (40, 3, 5, 4, 2, 4, 4),
    (40, 4, 4, 2, 1, 4, 6),
]


def draw_tensors(rng, sizes, dtype):
    batch, queries, keys, heads, key_heads, head_dim, value_dim = sizes
    shapes = [
        (batch, queries, heads, head_dim),
        (batch, keys, key_heads, head_dim),
        (batch, keys, key_heads, value_dim),
    ]
    return [round_to(rng.normal(size=shape), dtype) for shape in shapes]


def round_to(x, dtype):
    x = keras.ops.cast(np.asarray(x, "float32"), dtype)
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


def draw_masks(data, rng, sizes):
    """A random subset of the masks, what they allow, and the real queries."""
    batch, queries, keys, heads = sizes[:4]
    share = data.draw(st.sampled_from([0.0, 0.4, 0.8]))
    masks, allowed = {}, np.ones((batch, heads, queries, keys), bool)
    for name, shape, spread in [
        ("key_mask", (batch, keys), (batch, 1, 1, keys)),
        ("mask", (batch, queries, keys), (batch, 1, queries, keys)),
        ("mask", (1, heads, queries, keys), (1, heads, queries, keys)),
        ("mask", (batch, 1, 1, keys), (batch, 1, 1, keys)),
    ]:
        if name not in masks and data.draw(st.booleans(), label=f"{name} {shape}"):
            masks[name] = rng.random(shape) < share
            allowed &= masks[name].reshape(spread)
    if data.draw(st.booleans(), label="is_causal"):
        masks["is_causal"] = True
        allowed &= np.tri(queries, keys, dtype=bool)
    real = np.ones((batch, queries), bool)
    if data.draw(st.booleans(), label="query_mask"):
        real = masks["query_mask"] = rng.random((batch, queries)) < share
    return masks, allowed, real[:, None, :, None]


def poison(tensors, allowed, real, key_heads, poisoned_with):
    """Puts poison in every query and key that nothing attends from or to."""
    query, key, value = (x.copy() for x in tensors)
    batch, heads, _, keys = allowed.shape
    query[~(allowed & real).any(-1).swapaxes(1, 2)] = poisoned_with
    seen = allowed.any(-2).reshape(batch, key_heads, heads // key_heads, keys).any(2)
    key[~seen.swapaxes(1, 2)] = poisoned_with
    value[~seen.swapaxes(1, 2)] = poisoned_with
    return query, key, value


# JAX compiles anew for every kind of mask.
@settings(max_examples=40 if keras.backend.backend() != "jax" else 15, deadline=None)
@given(data=st.data(), sizes=st.sampled_from(SIZES))
def test_it_equals_the_reference_whatever_lies_behind_the_masks(data, sizes):
    dtype = data.draw(st.sampled_from(sorted(TOLERANCE)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    tensors = draw_tensors(rng, sizes, dtype)
    masks, allowed, real = draw_masks(data, rng, sizes)
    poisoned_with = data.draw(st.sampled_from(POISON), label="poison")
    poisoned = poison(tensors, allowed, real, sizes[4], poisoned_with)
    allowed &= real
    bias = 0.0
    if data.draw(st.booleans(), label="bias"):
        bias = round_to(rng.normal(size=(1, sizes[3], sizes[1], sizes[2])), dtype)
        masks["bias"] = keras.ops.cast(bias, dtype)
    scale = data.draw(st.sampled_from([None, 0.5]))
    scores_too = data.draw(st.booleans(), label="return_scores")
    upstream = rng.normal(size=(*sizes[:2], sizes[3], sizes[6])).astype("float32")

    def attention(*tensors):
        tensors = [keras.ops.cast(x, dtype) for x in tensors]
        output = kp.ops.masked_attention(
            *tensors, scale=scale, return_scores=scores_too, **masks
        )
        output = output[0] if scores_too else output
        return keras.ops.multiply(keras.ops.cast(output, "float32"), upstream)

    value, slopes = value_and_gradients(attention, *poisoned)
    scale = sizes[5] ** -0.5 if scale is None else scale
    output, _, expected = reference_attention(*tensors, allowed, scale, bias, upstream)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(value, output * upstream, atol=tolerance)
    for slope, exact in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, exact, atol=4 * tolerance)
    empty = ~allowed.any(-1).swapaxes(1, 2)
    assert not value[empty].any()
    assert not slopes[0][empty].any()


def tensors(*shape, count=3, dtype="float32"):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(dtype) for _ in range(count)]


def attend(*arguments, **options):
    output = kp.ops.masked_attention(*arguments, **options)
    if isinstance(output, tuple):
        return [keras.ops.convert_to_numpy(x) for x in output]
    return keras.ops.convert_to_numpy(output)


@pytest.mark.parametrize("dtype", sorted(TOLERANCE))
def test_scores_dropout_and_kernel_do_not_change_the_answer(dtype):
    query, key, value = (keras.ops.cast(x, dtype) for x in tensors(2, 4, 2, 8))
    masks = {"key_mask": [[True, True, False, False], [False] * 4], "is_causal": True}
    fused = keras.ops.cast(
        kp.ops.masked_attention(query, key, value, **masks), "float32"
    )
    other, scores = kp.ops.masked_attention(
        query, key, value, return_scores=True, **masks
    )
    other, scores = (keras.ops.cast(x, "float32") for x in (other, scores))
    fused, other = (keras.ops.convert_to_numpy(x) for x in (fused, other))
    np.testing.assert_allclose(fused, other, atol=TOLERANCE[dtype])
    total = keras.ops.convert_to_numpy(scores).sum(-1)
    np.testing.assert_allclose(total, [[[1] * 4] * 2, [[0] * 4] * 2], atol=0.01)


def test_dropout_drops_scales_and_obeys_its_seed():
    query, key, value = tensors(1, 64, 1, 8)
    options = {"dropout": 0.5, "scale": 0.0}
    value = np.ones_like(value)
    once, again = (attend(query, key, value, seed=7, **options) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert np.abs(once.mean() - 1) < 0.05
    assert once.std() > 0.01
    _, scores = attend(query, key, value, seed=7, return_scores=True, **options)
    np.testing.assert_allclose(scores, 1 / 64, rtol=1e-5)


def test_a_float16_product_that_overflows_does_no_harm():
    x = np.full((1, 2, 1, 64), 300.0, "float16")
    for scores_too in (False, True):
        output = attend(x, x, x, return_scores=scores_too)
        np.testing.assert_array_equal(output[0] if scores_too else output, x)


def test_a_masked_float16_key_with_a_great_score_does_not_win():
    query = np.array([[[[1.0, 0.0]], [[1.0, 0.0]]]], "float16")
    key = np.array([[[[0.0, 0.0]], [[6e4, 0.0]]]], "float16")
    value = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]], "float16")
    output = attend(query, key, value, is_causal=True, scale=1.0)
    np.testing.assert_array_equal(output[0, :, 0], [[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("scores_too", [False, True])
def test_a_bias_of_minus_infinity_hides_and_a_row_of_it_is_empty(dtype, scores_too):
    query, key, value = tensors(1, 2, 1, 4, dtype=dtype)
    bias = np.array([[[[0.0, -np.inf], [-np.inf, -np.inf]]]], "float32")
    output = attend(query, key, value, bias=bias, return_scores=scores_too)
    output = output[0] if scores_too else output
    np.testing.assert_array_equal(output[:, 0], value[:, 0])
    assert not output[:, 1].any()


def test_biases_of_the_lowest_number_beside_a_mask_stay_finite():
    query, key, value = tensors(1, 3, 1, 4, dtype="float16")
    bias = np.full((1, 1, 3, 3), np.finfo("float32").min)
    mask = np.array([[[True, True, False]] * 3])
    output = attend(query, key, value, mask, bias=bias)
    expected, *_ = reference_attention(query, key, value, mask[:, None], 0.5)
    np.testing.assert_allclose(output, expected, atol=1e-2)


@pytest.mark.parametrize("scores_too", [False, True])
def test_a_nan_at_a_real_place_is_not_hidden(scores_too):
    query, key, value = tensors(2, 3, 1, 4)
    value[0, 1] = np.nan
    mask = [[True, True, False]] * 2
    output = attend(query, key, value, key_mask=mask, return_scores=scores_too)
    output = output[0] if scores_too else output
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1]).all()


@pytest.mark.parametrize("sizes", [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("scores_too", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_axes_of_length_zero_give_zeros(sizes, scores_too, masked):
    batch, queries, keys = sizes
    query = np.ones((batch, queries, 2, 4), "float32")
    key = np.ones((batch, keys, 2, 4), "float32")
    masks = {"key_mask": np.ones((batch, keys), bool)} if masked else {}
    for is_causal in (False, True):
        output = attend(
            query, key, key, return_scores=scores_too, is_causal=is_causal, **masks
        )
        output = output[0] if scores_too else output
        assert output.shape == query.shape
        assert not output.any()


def test_left_padding_under_a_causal_mask_leaves_its_rows_empty():
    query, key, value = tensors(1, 4, 1, 4)
    real = np.array([[False, False, True, True]])
    output = attend(query, key, value, key_mask=real, is_causal=True)
    assert not output[:, :2].any()
    alone = attend(query[:, 2:], key[:, 2:], value[:, 2:], is_causal=True)
    np.testing.assert_allclose(output[:, 2:], alone, atol=1e-6)


def test_masks_of_the_wrong_shape_are_refused_by_name():
    x = tensors(3, 3, 3, 3, count=1)[0]
    with pytest.raises(MaskError, match=r"`mask` of rank 2.*\(3, 3\).*`key_mask`"):
        attend(x, x, x, np.ones((3, 3), bool))
    with pytest.raises(MaskError, match=r"`mask` must.*\(3, 3, 3, 3\).*\(3, 3, 2\)"):
        attend(x, x, x, np.ones((3, 3, 2), bool))
    with pytest.raises(MaskError, match=r"`mask` must.*heads.*\(1, 1, 1, 3, 3\)"):
        attend(x, x, x, np.ones((1, 1, 1, 3, 3), bool))
    with pytest.raises(MaskError, match=r"`key_mask`.*= \(3, 3\).*shape \(3, 1, 3\)"):
        attend(x, x, x, key_mask=np.ones((3, 1, 3), bool))
    with pytest.raises(MaskError, match=r"`query_mask`.*\(3, 2\)"):
        attend(x, x, x, query_mask=np.ones((3, 2), bool))
    with pytest.raises(MaskError, match=r"`mask` must hold booleans.*float32"):
        attend(x, x, x, np.ones((3, 3, 3), "float32"))


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ((2, 3, 2), (2, 3, 2, 4), "rank 4"),
        ((2, 3, 2, 5), (2, 3, 2, 4), "head_dim"),
        ((2, 3, 2, 4), (2, 5, 2, 4), "time and heads"),
        ((2, 3, 3, 4), (2, 3, 3, 4), "multiple"),
    ],
)
def test_tensors_that_do_not_go_together_are_refused_with_their_shapes(
    key, value, wrong
):
    arrays = [np.ones(shape, "float32") for shape in ((2, 3, 4, 4), key, value)]
    with pytest.raises(PadsafeError, match=rf"{wrong}.*\(2, 3, 4, 4\)"):
        attend(*arrays)


def test_it_can_be_part_of_a_functional_model():
    query, key = keras.Input((3, 2, 4)), keras.Input((5, 2, 4))
    real = keras.Input((5,), dtype="bool")
    output = kp.ops.masked_attention(query, key, key, key_mask=real, is_causal=True)
    model = keras.Model([query, key, real], output)
    data = [tensors(2, 3, 2, 4)[0], tensors(2, 5, 2, 4)[0], np.ones((2, 5), bool)]
    expected = attend(data[0], data[1], data[1], is_causal=True)
    result = model.predict(data, verbose=0)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_keys_that_only_padding_asks_for_may_hold_anything(causal):
    real = np.array([[True, True, False], [False] * 3])
    clean = tensors(2, 3, 2, 4)
    dirty = [
        np.where(real[..., None, None], x, np.nan).astype("float32") for x in clean
    ]
    if not causal:  # The real queries of the first sample see all of its keys.
        dirty = [
            np.concatenate([x[:1], y[1:]]) for x, y in zip(clean, dirty, strict=True)
        ]

    def attention(*tensors):
        return kp.ops.masked_attention(*tensors, query_mask=real, is_causal=causal)

    value, slopes = value_and_gradients(attention, *dirty)
    expected, right_slopes = value_and_gradients(attention, *clean)
    np.testing.assert_allclose(value, expected, atol=1e-6)
    for slope, right in zip(slopes, right_slopes, strict=True):
        np.testing.assert_allclose(slope, right, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 2), (1, 1, 1, 2, 2)])
def test_a_bias_that_does_not_fit_is_refused_by_name(shape):
    with pytest.raises(PadsafeError, match=r"`bias` must broadcast.*\(1, 1, 2, 2\)"):
        kp.ops.masked_attention(*tensors(1, 2, 1, 4), bias=np.zeros(shape, "float32"))


def test_a_bias_of_integers_counts_as_numbers():
    bias = np.array([[0, 5], [1, 0]])
    value = attend(*tensors(1, 2, 1, 4), bias=bias)
    expected = attend(*tensors(1, 2, 1, 4), bias=bias.astype("float32"))
    np.testing.assert_allclose(value, expected)
