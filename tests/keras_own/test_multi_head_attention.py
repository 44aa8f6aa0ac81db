"""Keras's tests of `MultiHeadAttention`, against `MaskedMultiHeadAttention`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

DIFFERENCES = {
    "test_masking_with_different_shapes": (
        "An `attention_mask` of rank 2 is refused: Keras takes (batch, key) padding "
        "for (query, key) whenever the sizes agree. This one is of floats, besides."
    ),
}

MultiHeadAttentionTest = keras_tests(
    "layers.attention.multi_head_attention_test",
    "MultiHeadAttentionTest",
    {"MultiHeadAttention": kp.layers.MaskedMultiHeadAttention},
    DIFFERENCES,
)
