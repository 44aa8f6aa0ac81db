"""`MaskedConv1D`: each row gives what it gives alone, without its padding."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask
from tests.gradients import value_and_gradients

ROW = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
CASES = [
    ("valid", 1, 1),
    ("valid", 2, 1),
    ("valid", 1, 2),
    ("same", 1, 1),
    ("same", 1, 2),
    ("causal", 1, 1),
    ("causal", 2, 1),
]


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def conv(padding, strides, dilation, **kwargs):
    return kp.layers.MaskedConv1D(
        3,
        3,
        strides,
        padding,
        dilation_rate=dilation,
        bias_initializer="ones",
        **kwargs,
    )


@pytest.mark.parametrize("poison", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("padding", "strides", "dilation"), CASES)
def test_a_padded_row_gives_what_it_gives_alone(
    padding, strides, dilation, side, poison
):
    if side == "left" and strides > 1:
        pytest.skip("with strides, padding goes on the right")
    layer = conv(padding, strides, dilation)
    alone = numpy_of(layer(ROW[None]))[0]
    padded = np.full((2, 9, 2), poison, "float32")
    where = slice(0, 5) if side == "right" else slice(4, 9)
    padded[0, where] = ROW
    mask = np.zeros((2, 9), bool)
    mask[0, where] = True

    outputs, (gradient,) = value_and_gradients(lambda x: layer(x, mask=mask), padded)
    new_mask = numpy_of(get_keras_mask(layer(padded, mask=mask)))
    np.testing.assert_allclose(outputs[new_mask], alone, rtol=1e-5, atol=1e-6)
    assert not outputs[~new_mask].any()
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()


def test_without_a_mask_it_is_the_stock_layer():
    layer = conv("same", 2, 1)
    stock = keras.layers.Conv1D.from_config(layer.get_config())
    x = ROW[None]
    layer(x), stock(x)
    stock.set_weights(layer.get_weights())
    np.testing.assert_array_equal(numpy_of(layer(x)), numpy_of(stock(x)))


def test_channels_first_takes_the_same_mask():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on a CPU")
    mask = np.array([[True, True, True, False, False]])
    last, first = conv("same", 1, 1), conv("same", 1, 1, data_format="channels_first")
    expected = numpy_of(last(ROW[None], mask=mask))
    first.build((None, 2, 5))
    first.set_weights(last.get_weights())
    outputs = numpy_of(first(ROW.T[None], mask=mask))
    np.testing.assert_allclose(
        outputs.transpose(0, 2, 1), expected, rtol=1e-5, atol=1e-6
    )


def test_same_padding_with_strides_is_refused_under_a_mask():
    with pytest.raises(ValueError, match=r"strides=2 in layer 'c'. Use 'causal'"):
        conv("same", 2, 1, name="c")(ROW[None], mask=np.ones((1, 5), bool))


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_an_empty_batch_gives_an_empty_batch(padding):
    layer = kp.layers.MaskedConv1D(2, 3, padding=padding)
    outputs = layer(np.zeros((0, 5, 3)), mask=np.zeros((0, 5), bool))
    assert tuple(outputs.shape) == (0, 3 if padding == "valid" else 5, 2)
