"""`MaskedAdd`, `KeepMask` and `NaNMasking`: a mask is made, and stays alive."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask
from tests.gradients import gradient

IDS = np.array([[5, 8, 0, 0], [0, 3, 1, 2]], "int32")


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def masked_steps():
    ids = keras.Input((4,), dtype="int32")
    return ids, kp.layers.ExtendableEmbedding(9, 3, pad_id=0)(ids)


def mask_seen_by_the_last_layer(inputs, outputs):
    """Pools counts of ones: what it returns is how many positions are real."""
    ones = keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer="ones")
    pooled = kp.layers.MaskedGlobalSumPooling1D()(ones(outputs))
    return numpy_of(keras.Model(inputs, pooled)(IDS))[:, 0].tolist()


def test_tokens_plus_positions_stay_masked():
    ids, x = masked_steps()
    positions = keras.layers.Embedding(4, 3)(keras.ops.arange(4))
    x = kp.layers.MaskedAdd()([x, positions[None]])
    assert mask_seen_by_the_last_layer(ids, x) == [2, 3]


@pytest.mark.parametrize("shape", [(1, 4, 3), (4, 3)])
def test_shapes_broadcast_as_those_of_operators_do(shape):
    x = kp.layers.ExtendableEmbedding(9, 3, pad_id=0)(IDS)
    total = kp.layers.MaskedAdd()([x, np.ones(shape, "float32")])
    np.testing.assert_array_equal(numpy_of(total), numpy_of(x) + 1)
    assert numpy_of(get_keras_mask(total)).sum(1).tolist() == [2, 3]


def test_a_residual_stays_masked():
    ids, x = masked_steps()
    for _ in range(3):
        x = kp.layers.MaskedAdd()([x, keras.ops.tanh(keras.layers.Dense(3)(x))])
    assert mask_seen_by_the_last_layer(ids, x) == [2, 3]


def test_two_masks_hide_what_either_hides():
    first, second = kp.layers.NaNMasking(), kp.layers.NaNMasking()
    x, y = np.ones((1, 3, 1)), np.ones((1, 3, 1))
    x[0, 0] = y[0, 2] = np.nan
    mask = get_keras_mask(kp.layers.MaskedAdd()([first(x), second(y)]))
    assert numpy_of(mask).tolist() == [[False, True, False]]


def test_an_operator_keeps_the_mask():
    ids, x = masked_steps()
    x = kp.layers.KeepMask()([keras.ops.relu(2 * x), x])
    assert mask_seen_by_the_last_layer(ids, x) == [2, 3]


def test_the_tensors_of_the_caller_are_left_alone():
    x = kp.layers.ExtendableEmbedding(9, 3, pad_id=0)(IDS)
    y = 2 * x
    kept = kp.layers.KeepMask()([y, x])
    assert get_keras_mask(y) is None
    assert get_keras_mask(x) is not None
    np.testing.assert_array_equal(numpy_of(kept), numpy_of(y))


def test_steps_that_are_missing_are_masked_and_cleaned():
    x = np.array([[[1.0, np.nan], [np.nan, np.nan], [np.inf, 2.0]]], "float32")
    layer = kp.layers.NaNMasking()
    outputs = layer(x)
    assert numpy_of(outputs).tolist() == [[[1.0, 0.0], [0.0, 0.0], [np.inf, 2.0]]]
    assert numpy_of(get_keras_mask(outputs)).tolist() == [[True, False, True]]
    np.testing.assert_array_equal(gradient(layer, x), ~np.isnan(x))


def test_missing_steps_and_a_given_mask_are_combined():
    x = np.array([[[1.0], [np.nan], [3.0]]], "float32")
    outputs = kp.layers.NaNMasking()(x, mask=np.array([[True, True, False]]))
    assert numpy_of(outputs)[0, :, 0].tolist() == [1.0, 0.0, 0.0]
    assert numpy_of(get_keras_mask(outputs)).tolist() == [[True, False, False]]


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_an_rnn_reads_the_steps_that_are_there(cell):
    x = np.random.default_rng(0).normal(size=(1, 5, 2)).astype("float32")
    x[0, 3:] = np.nan
    model = keras.Sequential([kp.layers.NaNMasking(), getattr(keras.layers, cell)(3)])
    outputs = numpy_of(model(x))
    np.testing.assert_allclose(outputs, numpy_of(model(x[:, :3])), rtol=1e-5)


def test_a_mask_of_other_positions_is_refused():
    x = kp.layers.ExtendableEmbedding(9, 3, pad_id=0)(IDS)
    with pytest.raises(
        ValueError, match=r"mask of shape \(2, 4\) and x of shape \(2, 3"
    ):
        kp.layers.KeepMask()([x[:, 1:], x])
