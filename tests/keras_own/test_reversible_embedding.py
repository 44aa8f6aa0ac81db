"""Keras's tests of `ReversibleEmbedding`, against `ExtendableEmbedding`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

_UNTIED = "One table for both directions: `tie_weights=False` is refused."

ReversibleEmbeddingTest = keras_tests(
    "layers.core.reversible_embedding_test",
    "ReversibleEmbeddingTest",
    {"ReversibleEmbedding": kp.layers.ExtendableEmbedding},
    dict.fromkeys(
        (
            "test_int4_block_size_serialization_128_false",
            "test_int4_block_size_serialization_64_false",
            "test_int4_block_size_serialization_none_false",
            "test_int4_grouped_vs_perchannel_scale_shapes_untie_grouped",
            "test_int4_grouped_vs_perchannel_scale_shapes_untie_perchannel",
            "test_int4_quantization_block_size_-1_false",
            "test_int4_quantization_block_size_128_false",
            "test_int4_quantization_block_size_64_false",
            "test_int4_quantization_block_size_none_false",
            "test_quantize_dtype_argument_int4_untie_weights",
            "test_quantize_dtype_argument_int8_untie_weights",
            "test_quantize_int_int4_false",
            "test_quantize_int_int8_false",
            "test_reversible_embedding_basics_untie_weights",
            "test_saving_untie_weights",
        ),
        _UNTIED,
    ),
)
