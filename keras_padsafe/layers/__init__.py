"""Layers that honour masks, and an embedding that makes them."""

from keras_padsafe.layers.extendable_embedding import (
    ExtendableEmbedding as ExtendableEmbedding,
)
