"""Keras's tests of `GroupedQueryAttention`, against ours."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

DIFFERENCES: dict[str, str] = {}

GroupedQueryAttentionTest = keras_tests(
    "layers.attention.grouped_query_attention_test",
    "GroupedQueryAttentionTest",
    {"GroupedQueryAttention": kp.layers.MaskedGroupedQueryAttention},
    DIFFERENCES,
)
