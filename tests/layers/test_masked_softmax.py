"""A head after a masked sequence."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.errors import MaskError


@pytest.mark.parametrize("classes", [2, 3])
def test_it_can_follow_an_embedding_whatever_the_sizes(classes):
    model = keras.Sequential(
        [
            keras.layers.Embedding(9, 8, mask_zero=True),
            keras.layers.Dense(classes),
            kp.layers.MaskedSoftmax(),
        ]
    )
    weights = model.predict(np.array([[1, 2, 0]]), verbose=0)
    np.testing.assert_allclose(weights.sum(-1), [[1, 1, 0]], atol=1e-6)


def test_a_list_of_axes_shares_one_unit():
    layer = kp.layers.MaskedSoftmax(axis=[1, 2])
    mask = np.array([[[True, True], [True, False]]])
    weights = layer(np.zeros((1, 2, 2), "float32"), mask=mask)
    expected = np.where(mask, 1 / 3, 0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights), expected, rtol=1e-6)


def test_it_can_be_rebuilt_from_its_config():
    layer = kp.layers.MaskedSoftmax(axis=1)
    assert kp.layers.MaskedSoftmax.from_config(layer.get_config()).axis == 1


def test_a_mask_of_floats_is_refused():
    with pytest.raises(MaskError, match="booleans"):
        kp.layers.MaskedSoftmax()(np.zeros((1, 2)), mask=np.ones((1, 2)))
