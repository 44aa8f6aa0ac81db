"""Keras's tests of `Attention`, against `MaskedAttention`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

DIFFERENCES = {
    "test_attention_with_mask": (
        "The weights of a padded query are zeros, like its output, and as in "
        "`MultiHeadAttention`; Keras gives it the weights of a real query."
    ),
}

AttentionTest = keras_tests(
    "layers.attention.attention_test",
    "AttentionTest",
    {"Attention": kp.layers.MaskedAttention},
    DIFFERENCES,
)
