"""Reductions of what is real, against NumPy on the real elements alone."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_padsafe as kp
from tests.gradients import value_and_gradients

REDUCTIONS = ["sum", "mean", "max", "min", "logsumexp"]
POISONS = [0.0, 7.0, np.nan, np.inf, -np.inf, 6e4]
SHAPES = [(2, 5), (3, 4, 2), (1, 1, 3), (2, 0, 3)]
TOLERANCE = {"float16": 2e-2, "bfloat16": 2e-1, "float32": 1e-5}


def numpy_of(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype("float64")


def reference(name, values):
    """Returns the value and the gradient over the real `values` of one row."""
    if not values.size:
        return 0.0, values
    if name == "sum":
        return values.sum(), np.ones_like(values)
    if name == "mean":
        return values.mean(), np.full_like(values, 1 / values.size)
    if name == "logsumexp":
        shares = np.exp(values - values.max())
        return np.log(shares.sum()) + values.max(), shares / shares.sum()
    extreme = values.max() if name == "max" else values.min()
    chosen = values == extreme
    return extreme, chosen / chosen.sum()


def reference_over_time(name, x, mask):
    """Reduces axis 1 of `x` one row and channel at a time."""
    x = x.astype("float64").reshape(*x.shape[:2], x.shape[2] if x.ndim > 2 else 1)
    value, gradient = np.zeros((x.shape[0], x.shape[2])), np.zeros(x.shape)
    for row, channel in np.ndindex(*value.shape):
        real = mask[row]
        value[row, channel], gradient[row, real, channel] = reference(
            name, x[row, real, channel]
        )
    return value, gradient


@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_is_masked_reaches_neither_value_nor_gradient(name, data):
    dtype = data.draw(st.sampled_from(["float32", "float16", "bfloat16"]))
    shape = data.draw(st.sampled_from(SHAPES))
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    mask = random.random(shape[:2]) < data.draw(st.sampled_from([0, 0.5, 1]))
    x = np.round(random.normal(size=shape) * 4, 1)
    x = keras.ops.cast(x, dtype)  # rounded to the dtype before both take it
    clean = numpy_of(x)
    poison = data.draw(st.sampled_from(POISONS))
    hidden = mask.reshape(mask.shape + (1,) * (len(shape) - 2))
    x = keras.ops.where(hidden, x, keras.ops.cast(poison, dtype))

    reduce = getattr(kp.ops, f"masked_{name}")
    value, (gradient,) = value_and_gradients(lambda x: reduce(x, mask, axis=1), x)

    expected, expected_gradient = reference_over_time(name, clean, mask)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(
        value, expected.reshape(value.shape), rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(
        gradient, expected_gradient.reshape(shape), rtol=tolerance, atol=tolerance
    )
    assert not gradient[~mask].any()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_nothing_real_gives_zeros_of_the_right_shape(name):
    reduce = getattr(kp.ops, f"masked_{name}")
    for shape, axis in [((2, 0, 3), 1), ((0, 4, 3), 1), ((2, 0, 3), (1, 2))]:
        mask = np.ones(shape[:2], bool)
        value = reduce(np.zeros(shape, "float32"), mask, axis)
        assert numpy_of(value).tolist() == np.zeros(shape).sum(axis).tolist()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_nan_at_a_real_position_is_not_hidden(name):
    x = np.array([[np.nan, 1.0], [2.0, 3.0]], "float32")
    value = numpy_of(getattr(kp.ops, f"masked_{name}")(x, None, axis=1))
    assert np.isnan(value[0])
    assert np.isfinite(value[1])


def test_logsumexp_of_real_minus_infinities_is_minus_infinity():
    x = np.full((1, 2), -np.inf, "float32")
    value, (gradient,) = value_and_gradients(
        lambda x: kp.ops.masked_logsumexp(x, None, axis=1), x
    )
    assert value.tolist() == [-np.inf]
    assert gradient.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_long_16_bit_rows_are_exact(dtype):
    x = keras.ops.full((1, 70_000), 100.0, dtype=dtype)
    mean = kp.ops.masked_mean(x, None, axis=1)
    assert keras.backend.standardize_dtype(mean.dtype) == dtype
    assert numpy_of(mean).tolist() == [100.0]


@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_integers_stay_integers(name):
    x = np.array([[1, 5, 9], [1, 2, 3]], "int32")
    mask = np.array([[True, True, False], [False] * 3])
    value = getattr(kp.ops, f"masked_{name}")(x, mask, axis=1)
    assert keras.backend.standardize_dtype(value.dtype) == "int32"
    expected = {"sum": [6, 0], "max": [5, 0], "min": [1, 0]}
    assert numpy_of(value).tolist() == expected[name]


def test_a_mask_of_size_one_counts_once_for_each_element_it_covers():
    x = np.arange(6.0, dtype="float32").reshape(1, 3, 2)
    mask = np.array([[[True], [True], [False]]])
    assert numpy_of(kp.ops.masked_mean(x, mask, axis=(1, 2))).tolist() == [1.5]
    kept = kp.ops.masked_mean(x, mask, axis=(1, 2), keepdims=True)
    assert tuple(kept.shape) == (1, 1, 1)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_symbolic_tensors_reduce_to_symbolic_tensors(name):
    reduce = getattr(kp.ops, f"masked_{name}")
    x, mask = keras.Input((None, 4)), keras.Input((None,), dtype="bool")
    assert reduce(x, mask, axis=1).shape == (None, 4)
    assert reduce(x, None, axis=(1, 2), keepdims=True).shape == (None, 1, 1)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 1), (2, 4)])
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(shape):
    message = rf"\({', '.join(map(str, shape))},?\) and x of shape \(2, 3, 4\)"
    with pytest.raises(ValueError, match=message):
        kp.ops.masked_sum(np.zeros((2, 3, 4)), np.ones(shape, bool), axis=1)


def test_no_axis_means_all_of_them():
    x, mask = np.arange(6.0).reshape(2, 3), np.array([[True, True, False], [False] * 3])
    results = [
        float(getattr(kp.ops, f"masked_{name}")(x, mask, axis=None))
        for name in ("sum", "mean", "max", "min", "logsumexp")
    ]
    np.testing.assert_allclose(results, [1, 0.5, 1, 0, np.log(1 + np.e)], rtol=1e-5)
