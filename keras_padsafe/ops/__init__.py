"""Masks, and arithmetic that honours them: tensors in, tensors out."""

from keras_padsafe.ops.masks import as_bool_mask as as_bool_mask
from keras_padsafe.ops.masks import causal_mask as causal_mask
from keras_padsafe.ops.masks import combine_masks as combine_masks
from keras_padsafe.ops.masks import mask_from_lengths as mask_from_lengths
from keras_padsafe.ops.masks import padding_mask as padding_mask
from keras_padsafe.ops.masks import segment_mask as segment_mask
from keras_padsafe.ops.masks import sliding_window_mask as sliding_window_mask
