"""Keras's tests of `ReversibleEmbedding`, against `ExtendableEmbedding`."""

import re

from keras.src.layers.core import reversible_embedding_test

import keras_padsafe as kp
from tests.keras_own.substitute import keras_tests

UNTIED = re.compile(r"untie|test_(int4|quantize)_.*_false$")

DIFFERENCES = {
    name: "Has one table for both directions: `tie_weights=False` is refused."
    for name in dir(reversible_embedding_test.ReversibleEmbeddingTest)
    if UNTIED.search(name)
}

ReversibleEmbeddingTest = keras_tests(
    "layers.core.reversible_embedding_test",
    "ReversibleEmbeddingTest",
    {"ReversibleEmbedding": kp.layers.ExtendableEmbedding},
    DIFFERENCES,
)
