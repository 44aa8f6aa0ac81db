"""Keras's tests of `Embedding`, against `ExtendableEmbedding`."""

import keras

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

SUBCLASS = "Keras refuses to quantize a subclass; this one is made for it."

DIFFERENCES = {
    "test_embedding_basics": (
        "Counts the variables: with `mask_zero` the pad row is one of its own."
    ),
    "test_quantize_on_subclass_int4": SUBCLASS,
    "test_quantize_on_subclass_int8": SUBCLASS,
    "test_ragged": "Takes padded ids, with any pad id; ragged ids know no padding.",
}
if keras.backend.backend() == "tensorflow":
    BAD_IDS = "Feeds an exported model ids outside the table, which is an error."
    DIFFERENCES["test_quantize_lora_integration_int4"] = BAD_IDS
    DIFFERENCES["test_quantize_lora_integration_int8"] = BAD_IDS

EmbeddingTest = keras_tests(
    "layers.core.embedding_test",
    "EmbeddingTest",
    {"Embedding": kp.layers.ExtendableEmbedding},
    DIFFERENCES,
)
