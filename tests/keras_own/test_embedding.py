"""Keras's tests of `Embedding`, against `ExtendableEmbedding`."""

import keras

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

_SUBCLASS = (
    "Keras quantizes its own class and refuses every subclass. Ours is a subclass "
    "that can be quantized."
)
_RAGGED = "Rows are padded, with any pad id: ragged ids know no padding."
_NEGATIVE = "The test draws negative ids. Keras reads other rows for them; we raise."

DIFFERENCES = {
    "test_quantize_on_subclass_int4": _SUBCLASS,
    "test_quantize_on_subclass_int8": _SUBCLASS,
}
if keras.backend.backend() == "tensorflow":
    DIFFERENCES |= {
        "test_ragged": _RAGGED,
        "test_quantize_lora_integration_int4": _NEGATIVE,
        "test_quantize_lora_integration_int8": _NEGATIVE,
    }

EmbeddingTest = keras_tests(
    "layers.core.embedding_test",
    "EmbeddingTest",
    {"Embedding": kp.layers.ExtendableEmbedding},
    DIFFERENCES,
)
