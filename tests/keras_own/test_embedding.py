"""Keras's tests of `Embedding`, against `ExtendableEmbedding`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

DIFFERENCES: dict[str, str] = {}

EmbeddingTest = keras_tests(
    "layers.core.embedding_test",
    "EmbeddingTest",
    {"Embedding": kp.layers.ExtendableEmbedding},
    DIFFERENCES,
)
