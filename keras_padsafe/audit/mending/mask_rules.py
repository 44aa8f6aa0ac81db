"""What each Keras class does with a mask, as measured on Keras 3.15."""

from typing import Any

from keras_padsafe.saved_model.graph import Call
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.id_sources import is_reverse

# The output carries the mask of the first input.
KEEPS = frozenset(
    """
    Activation ActivityRegularization AdditiveAttention AlphaDropout Attention
    BatchNormalization Dense Dropout ELU GaussianDropout GaussianNoise
    GroupNormalization GroupQueryAttention Identity LayerNormalization LeakyReLU
    Masking MultiHeadAttention Normalization PReLU ReLU Rescaling ReversibleEmbedding
    Softmax SpatialDropout1D SpectralNormalization UnitNormalization
    MaskedAttention MaskedConv1D MaskedGroupedQueryAttention MaskedMultiHeadAttention
    MaskedSoftmax NaNMasking
    """.split()
)
# The mask has done its work: no step is left, or none of the kind that it marked.
CONSUMES = frozenset(
    """
    GlobalAveragePooling1D GlobalMaxPooling1D MaskedGlobalAttentionPooling1D
    MaskedGlobalAveragePooling1D MaskedGlobalFirstPooling1D MaskedGlobalLastPooling1D
    MaskedGlobalMaxPooling1D MaskedGlobalSumPooling1D MaskedSegmentPooling1D
    """.split()
)
# Keep the mask if the mask is known of every input.
MERGES = frozenset("Add Average Concatenate Maximum Minimum Multiply Subtract".split())
# Keep the mask of whichever input has one.
KEEPS_ANY = frozenset(("KeepMask", "MaskedAdd"))
# Padding that no mask hides enters what they answer.
READS_STEPS = frozenset(
    """
    AdditiveAttention Attention Bidirectional Conv1D GRU GlobalAveragePooling1D
    GlobalMaxPooling1D GroupQueryAttention LSTM MultiHeadAttention RNN SimpleRNN
    """.split()
)
RECURRENT = frozenset("Bidirectional ConvLSTM1D GRU LSTM RNN SimpleRNN".split())
# Operations that look at a sequence and make another kind of thing of it.
ASIDE = frozenset(
    """
    Equal Greater GreaterEqual IsFinite IsInf IsNan Isfinite Isinf Isnan Less LessEqual
    LogicalNot NotEqual OnesLike ZerosLike
    """.split()
)
REDUCTIONS = frozenset(
    "Any All Amax Amin Average Logsumexp Max Mean Median Min Prod Std Sum Var".split()
)
# The axes over which a layer mixes values, by its configuration.
_MIXES_OVER_AXIS = frozenset(("LayerNormalization", "UnitNormalization"))


def makes_mask(call: Call) -> bool:
    """Whether the output of this call carries a mask that no input carried."""
    config, kind = call.layer.config, call.layer.class_name
    if kind in ("Masking", "NaNMasking"):
        return True
    if kind == "ExtendableEmbedding":
        return config.get("pad_id") is not None
    return bool(config.get("mask_zero")) and not is_reverse(call)


def returns_sequences(layer: LayerNode) -> bool:
    """Whether a recurrent layer gives an output for each step."""
    inside = (child for child in layer.children if child.attribute == "layer")
    return bool(next(inside, layer).config.get("return_sequences"))


def mixes_steps(layer: LayerNode, rank: int | None) -> bool:
    """Whether a layer that keeps masks mixes values of one step into another."""
    if layer.class_name in ("AdditiveAttention", "GroupNormalization"):
        return True
    if layer.class_name not in _MIXES_OVER_AXIS:
        return False
    return covers_time(layer.config.get("axis", -1), rank)


def covers_time(axis: Any, rank: int | None) -> bool:
    """Whether an axis, or one of a list, is that of time; `None` stands for all."""
    if axis is None:
        return True
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return any(one == 1 or (rank is not None and one == 1 - rank) for one in axes)
