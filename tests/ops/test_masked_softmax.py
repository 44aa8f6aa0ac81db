"""Exact zeros behind the mask, zeros for empty rows, and nothing hidden."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_padsafe as kp
from keras_padsafe.errors import MaskError
from tests.gradients import gradient, value_and_gradients

POISON = [np.nan, np.inf, -np.inf, 1e30, -1e30]
TOLERANCE = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}


def softmax(x, mask=None):
    tensor = kp.ops.masked_softmax(keras.ops.convert_to_tensor(x), mask)
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def reference(x, mask):
    """Float64 weights, and their pull on `upstream`, row by row."""
    weights = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        real = x[row][mask[row]].astype("float64")
        if real.size:
            exponentials = np.exp(real - real.max())
            weights[row][mask[row]] = exponentials / exponentials.sum()
    return weights


@settings(max_examples=40, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(sorted(TOLERANCE)))
def test_it_equals_the_reference_whatever_lies_behind_the_mask(data, dtype):
    shape = data.draw(st.sampled_from([(1,), (4,), (3, 3), (2, 3, 5), (2, 2, 2, 2)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    scores = rng.normal(scale=4, size=shape).astype("float16").astype("float32")
    mask = rng.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    upstream = rng.normal(size=shape).astype("float32")
    poisoned = np.where(mask, scores, data.draw(st.sampled_from(POISON)))

    def weighted(x):
        weights = kp.ops.masked_softmax(keras.ops.cast(x, dtype), mask)
        return keras.ops.multiply(keras.ops.cast(weights, "float32"), upstream)

    value, (slope,) = value_and_gradients(weighted, poisoned.astype("float32"))
    exact = scores.astype("float32")
    if dtype == "bfloat16":
        exact = keras.ops.convert_to_numpy(
            keras.ops.cast(keras.ops.cast(exact, dtype), "float32")
        )
    weights = reference(exact, mask)
    expected = weights * (upstream - (weights * upstream).sum(-1, keepdims=True))
    tolerance = TOLERANCE[dtype] * 8
    np.testing.assert_allclose(value, weights * upstream, atol=tolerance)
    np.testing.assert_allclose(slope, expected, atol=tolerance)
    assert not value[~mask].any()
    assert not slope[~mask].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_empty_row_is_zeros_with_zero_gradients(dtype):
    x = keras.ops.cast(np.full((2, 3), np.nan, "float32"), dtype)
    mask = np.zeros((2, 3), bool)
    value, (slope,) = value_and_gradients(lambda s: kp.ops.masked_softmax(s, mask), x)
    assert not value.any()
    assert not slope.any()


@pytest.mark.parametrize("low", [-3e4, -6e4])
def test_a_real_float16_score_below_the_fill_of_keras_keeps_its_weight(low):
    x = np.array([[low, 6e4]], "float16")
    np.testing.assert_array_equal(softmax(x, [[True, False]]), [[1.0, 0.0]])


@pytest.mark.parametrize("extreme", [3.4e38, -3.4e38])
def test_any_finite_real_score_counts(extreme):
    x = np.array([[extreme, extreme, 0.0]], "float32")
    expected = [[0.5, 0.5, 0.0]]
    np.testing.assert_array_equal(softmax(x, [[True, True, False]]), expected)


def test_a_real_minus_infinity_weighs_nothing_and_a_row_of_them_is_empty():
    x = np.array([[-np.inf, 2.0], [-np.inf, -np.inf]], "float32")
    for mask in (None, [[True, True], [True, True]]):
        np.testing.assert_array_equal(softmax(x, mask), [[0.0, 1.0], [0.0, 0.0]])
        slope = gradient(lambda s, m=mask: kp.ops.masked_softmax(s, m)[..., :1], x)
        assert not slope.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_real_nan_is_not_hidden(bad):
    x = np.array([[bad, 2.0, 0.0], [1.0, 1.0, 0.0]], "float32")
    weights = softmax(x, [[True, True, False]] * 2)
    assert np.isnan(weights[0, 0])
    assert weights[0, 2] == 0
    np.testing.assert_array_equal(weights[1], [0.5, 0.5, 0.0])


def test_several_axes_share_one_unit():
    x = np.log(np.arange(1, 9, dtype="float32").reshape(2, 2, 2))
    mask = np.ones((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1] = False
    weights = kp.ops.masked_softmax(keras.ops.convert_to_tensor(x), mask, axis=(1, 2))
    expected = np.array([[[0, 2], [3, 4]], [[0, 0], [0, 0]]]) / 9
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights), expected, rtol=1e-6)


def test_a_mask_of_lower_rank_hides_whole_rows():
    weights = softmax(np.zeros((2, 2, 2), "float32"), [[True, False], [True, True]])
    np.testing.assert_array_equal(weights[0], [[0.5, 0.5], [0.0, 0.0]])


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(MaskError, match=r"\(3,\).*\(2, 3\)"):
        softmax(np.zeros((2, 3), "float32"), [True, True, False])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(shape):
    assert softmax(np.zeros(shape, "float32"), np.ones(shape, bool)).shape == shape


def test_it_can_be_part_of_a_functional_model():
    scores, mask = keras.Input((3,)), keras.Input((3,), dtype="bool")
    model = keras.Model([scores, mask], kp.ops.masked_softmax(scores, mask))
    x = np.array([[0.0, 0.0, np.nan]], "float32")
    real = np.array([[True, True, False]])
    np.testing.assert_array_equal(model.predict([x, real], verbose=0), [[0.5, 0.5, 0]])


# A classifier in which class 0 of the first sample is not allowed, and is the target.
TARGETS = np.eye(2, dtype="float32")
ALLOWED = np.array([[False, True], [True, True]])
EXPECTED = [[-1.0, 1.0], [0.2689, -0.2689]]


def cross_entropy(logits, mask):
    """Summed over the samples: log of the sum of the allowed, less the target."""
    total = kp.ops.masked_logsumexp(logits, mask, axis=-1)
    target = keras.ops.where(TARGETS > 0, logits, 0.0)
    return keras.ops.sum(total) - keras.ops.sum(target)


@pytest.mark.parametrize("behind", [-np.inf, 0.0, np.nan, 50.0])
def test_a_masked_logit_is_worth_minus_infinity_whatever_is_stored_there(behind):
    logits = np.array([[behind, 2.0], [1.0, 2.0]], "float32")
    slope = gradient(lambda x: cross_entropy(x, ALLOWED), logits)
    np.testing.assert_allclose(slope, EXPECTED, atol=1e-4)
    np.testing.assert_allclose(softmax(logits, ALLOWED) - TARGETS, EXPECTED, atol=1e-4)


def test_minus_infinity_without_a_mask_gives_the_same_gradient():
    logits = np.array([[-np.inf, 2.0], [1.0, 2.0]], "float32")
    slope = gradient(lambda x: cross_entropy(x, None), logits)
    np.testing.assert_allclose(slope, EXPECTED, atol=1e-4)
    np.testing.assert_allclose(softmax(logits) - TARGETS, EXPECTED, atol=1e-4)


def test_a_fill_of_zero_would_let_the_masked_class_take_weight():
    logits = np.array([[0.0, 2.0], [1.0, 2.0]], "float32")
    slope = gradient(lambda x: cross_entropy(x, None), logits)
    np.testing.assert_allclose(slope[0], [-0.8808, 0.8808], atol=1e-4)


def test_a_linear_classifier_learns_through_it():
    inputs = np.array([[1.3032, 0.5701], [0.2671, 1.3900]], "float32")
    kernel = np.array([[-0.0473, 0.0679], [-0.6429, -0.5586]], "float32")

    def outputs(weights):
        return keras.ops.matmul(inputs, keras.ops.transpose(weights))

    value = keras.ops.convert_to_numpy(outputs(keras.ops.convert_to_tensor(kernel)))
    expected = [[-0.0230, -1.1563], [0.0817, -0.9482]]
    np.testing.assert_allclose(value, expected, atol=1e-4)
    slope = gradient(lambda w: cross_entropy(outputs(w), np.ones((2, 2), bool)), kernel)
    expected = [[-0.1206, 0.8855], [0.1206, -0.8855]]
    np.testing.assert_allclose(slope, expected, atol=1e-4)


def test_float64_scores_are_weighed_in_the_dtype_that_keras_gives_them():
    x = keras.ops.convert_to_tensor(np.array([[0.0, 1.0, 5.0]]))
    weights = kp.ops.masked_softmax(x, np.array([[True, True, False]]))
    dtype = keras.backend.result_type(x.dtype, float)  # float64 on TensorFlow alone
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    expected = [[1 / (1 + np.e), np.e / (1 + np.e), 0]]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights), expected, rtol=1e-6)
