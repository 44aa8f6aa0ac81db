"""Pooling layers: only what is real counts, and nothing real gives zeros."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.compiled import compiled
from tests.gradients import value_and_gradients

MASK = np.array([[1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
POISONS = [np.nan, np.inf, -np.inf, 1e30]


def softmax_mean(steps):
    weights = np.exp(steps.sum(1, keepdims=True))
    return (steps * weights).sum(0) / weights.sum()


REFERENCE = {
    "Average": lambda steps: steps.mean(0),
    "Max": lambda steps: steps.max(0),
    "Sum": lambda steps: steps.sum(0),
    "First": lambda steps: steps[0],
    "Last": lambda steps: steps[-1],
    "Attention": softmax_mean,
}


def layer_of(kind, **kwargs):
    if kind == "Attention":
        kwargs["kernel_initializer"] = "ones"
    return getattr(kp.layers, f"MaskedGlobal{kind}Pooling1D")(**kwargs)


def expected(kind, x=X, mask=MASK):
    rows = [x[i, mask[i]].astype("float64") for i in range(len(x))]
    return [REFERENCE[kind](row) if len(row) else np.zeros(2) for row in rows]


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("way", [lambda f: f, compiled])
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("kind", REFERENCE)
def test_what_is_masked_does_not_count(kind, poison, way):
    layer = layer_of(kind)
    layer.build((None, 4, 2))
    x = np.where(MASK[..., None], X, np.float32(poison))
    run = way(lambda x: layer(x, mask=keras.ops.convert_to_tensor(MASK)))
    pooled = numpy_of(run(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(pooled, expected(kind), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", REFERENCE)
def test_no_gradient_comes_from_or_reaches_padding(kind):
    layer = layer_of(kind)
    layer.build((None, 4, 2))
    gradients = [
        value_and_gradients(
            lambda x: layer(x, mask=MASK) ** 2,
            np.where(MASK[..., None], X, np.float32(poison)),
        )[1][0]
        for poison in (0.0, *POISONS)
    ]
    assert not gradients[0][~MASK].any()
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, gradients[0])


@pytest.mark.parametrize("kind", REFERENCE)
def test_without_a_mask_everything_counts(kind):
    everything = np.ones_like(MASK)
    pooled = numpy_of(layer_of(kind)(X))
    reference = expected(kind, mask=everything)
    np.testing.assert_allclose(pooled, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", REFERENCE)
def test_channels_first_and_keepdims(kind, keepdims):
    for data_format in ("channels_last", "channels_first"):
        first = data_format == "channels_first"
        x = X.transpose(0, 2, 1) if first else X
        layer = layer_of(kind, data_format=data_format, keepdims=keepdims)
        pooled = layer(x, mask=MASK)
        assert tuple(pooled.shape) == layer.compute_output_shape(x.shape)
        np.testing.assert_allclose(
            numpy_of(pooled).reshape(3, 2), expected(kind), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", REFERENCE)
def test_reduced_precision(kind, policy):
    pooled = layer_of(kind, dtype=policy)(X, mask=MASK)
    assert keras.backend.standardize_dtype(pooled.dtype) == policy.split("_")[1]
    pooled = numpy_of(keras.ops.cast(pooled, "float32"))
    np.testing.assert_allclose(pooled, expected(kind), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", REFERENCE)
def test_a_sequence_of_no_length_gives_zeros(kind):
    pooled = layer_of(kind)(np.zeros((2, 0, 3), "float32"))
    assert numpy_of(pooled).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("kind", ["Average", "Max"])
def test_the_configuration_is_that_of_the_stock_layer(kind):
    stock = getattr(keras.layers, f"Global{kind}Pooling1D")(keepdims=True, name="pool")
    ours = type(layer_of(kind)).from_config(stock.get_config())
    assert ours.get_config() == stock.get_config()


def test_an_unknown_data_format_is_refused():
    with pytest.raises(ValueError, match=r"'channels_first'.*'last'"):
        kp.layers.MaskedGlobalMaxPooling1D(data_format="last")


@pytest.mark.parametrize("kind", ["Average", "Attention"])
def test_a_mask_of_another_length_is_refused_with_both_shapes(kind):
    layer = getattr(kp.layers, f"MaskedGlobal{kind}Pooling1D")()
    with pytest.raises(ValueError, match=r"shape \(2, 4\) and x of shape \(2, 3, 5\)"):
        layer(np.zeros((2, 3, 5)), mask=np.ones((2, 4), bool))
