"""Masks, and arithmetic that honours them: tensors in, tensors out."""

# First: our layers, which are registered as soon as Keras is there, use what follows.
import keras as _keras  # noqa: F401

from keras_padsafe.ops.ids import apply_out_of_range as apply_out_of_range
from keras_padsafe.ops.masked_attention import masked_attention as masked_attention
from keras_padsafe.ops.masked_softmax import masked_softmax as masked_softmax
from keras_padsafe.ops.masks import as_bool_mask as as_bool_mask
from keras_padsafe.ops.masks import causal_mask as causal_mask
from keras_padsafe.ops.masks import combine_masks as combine_masks
from keras_padsafe.ops.masks import mask_from_lengths as mask_from_lengths
from keras_padsafe.ops.masks import padding_mask as padding_mask
from keras_padsafe.ops.masks import segment_mask as segment_mask
from keras_padsafe.ops.masks import sliding_window_mask as sliding_window_mask
from keras_padsafe.ops.real_tokens import follow_real_tokens as follow_real_tokens
from keras_padsafe.ops.reductions import masked_logsumexp as masked_logsumexp
from keras_padsafe.ops.reductions import masked_max as masked_max
from keras_padsafe.ops.reductions import masked_mean as masked_mean
from keras_padsafe.ops.reductions import masked_min as masked_min
from keras_padsafe.ops.reductions import masked_sum as masked_sum
from keras_padsafe.ops.safe_fill import safe_fill as safe_fill
