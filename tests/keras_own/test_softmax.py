"""Keras's tests of `Softmax`, against `MaskedSoftmax`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

_FLOATS = (
    "A mask of floats is refused: in one that is meant to be added, 0 is what to "
    "keep, and Keras hides it."
)

SoftmaxTest = keras_tests(
    "layers.activations.softmax_test",
    "SoftmaxTest",
    {"Softmax": kp.layers.MaskedSoftmax},
    {
        "test_softmax_correctness_with_mask": _FLOATS,
        "test_softmax_mask_broadcastable": _FLOATS,
        "test_softmax_mask_broadcastable_fewer_dims": (
            f"{_FLOATS} This one, besides, leaves out the first axis; ours fit the "
            "first axes, as the mask of a sequence does."
        ),
        "test_softmax_mask_shape_mismatch": f"{_FLOATS} So the error is another.",
        "test_softmax_mask_too_many_dims": f"{_FLOATS} So the error is another.",
    },
    through="softmax",
)
