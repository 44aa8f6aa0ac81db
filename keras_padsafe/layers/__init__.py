"""Layers that honour masks, and an embedding that makes them."""

from keras_padsafe.layers.extendable_embedding import (
    ExtendableEmbedding as ExtendableEmbedding,
)
from keras_padsafe.layers.keep_mask import KeepMask as KeepMask
from keras_padsafe.layers.masked_add import MaskedAdd as MaskedAdd
from keras_padsafe.layers.masked_attention import MaskedAttention as MaskedAttention
from keras_padsafe.layers.masked_conv_1d import MaskedConv1D as MaskedConv1D
from keras_padsafe.layers.masked_global_attention_pooling_1d import (
    MaskedGlobalAttentionPooling1D as MaskedGlobalAttentionPooling1D,
)
from keras_padsafe.layers.masked_global_average_pooling_1d import (
    MaskedGlobalAveragePooling1D as MaskedGlobalAveragePooling1D,
)
from keras_padsafe.layers.masked_global_first_pooling_1d import (
    MaskedGlobalFirstPooling1D as MaskedGlobalFirstPooling1D,
)
from keras_padsafe.layers.masked_global_last_pooling_1d import (
    MaskedGlobalLastPooling1D as MaskedGlobalLastPooling1D,
)
from keras_padsafe.layers.masked_global_max_pooling_1d import (
    MaskedGlobalMaxPooling1D as MaskedGlobalMaxPooling1D,
)
from keras_padsafe.layers.masked_global_sum_pooling_1d import (
    MaskedGlobalSumPooling1D as MaskedGlobalSumPooling1D,
)
from keras_padsafe.layers.masked_grouped_query_attention import (
    MaskedGroupedQueryAttention as MaskedGroupedQueryAttention,
)
from keras_padsafe.layers.masked_multi_head_attention import (
    MaskedMultiHeadAttention as MaskedMultiHeadAttention,
)
from keras_padsafe.layers.masked_segment_pooling_1d import (
    MaskedSegmentPooling1D as MaskedSegmentPooling1D,
)
from keras_padsafe.layers.masked_softmax import MaskedSoftmax as MaskedSoftmax
from keras_padsafe.layers.nan_masking import NaNMasking as NaNMasking
from keras_padsafe.layers.real_tokens import RealTokens as RealTokens

# As Keras spells it; saved files know the class by the first name.
MaskedGroupQueryAttention = MaskedGroupedQueryAttention
