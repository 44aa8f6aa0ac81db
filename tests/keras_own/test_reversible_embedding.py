"""Keras's tests of `ReversibleEmbedding`, against `ExtendableEmbedding`."""

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

DIFFERENCES: dict[str, str] = {}

ReversibleEmbeddingTest = keras_tests(
    "layers.core.reversible_embedding_test",
    "ReversibleEmbeddingTest",
    {"ReversibleEmbedding": kp.layers.ExtendableEmbedding},
    DIFFERENCES,
)
