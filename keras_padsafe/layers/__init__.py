"""Layers that honour masks, and an embedding that makes them."""

from keras_padsafe.layers.extendable_embedding import (
    ExtendableEmbedding as ExtendableEmbedding,
)
from keras_padsafe.layers.masked_attention import MaskedAttention as MaskedAttention
from keras_padsafe.layers.masked_grouped_query_attention import (
    MaskedGroupedQueryAttention as MaskedGroupedQueryAttention,
)
from keras_padsafe.layers.masked_multi_head_attention import (
    MaskedMultiHeadAttention as MaskedMultiHeadAttention,
)
from keras_padsafe.layers.masked_softmax import MaskedSoftmax as MaskedSoftmax
