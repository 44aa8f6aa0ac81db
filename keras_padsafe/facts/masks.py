"""What each Keras class does with a mask, by class name, as measured on Keras 3.15."""

from keras_padsafe.facts import operations

KEEPS = frozenset(
    """
    Activation ActivityRegularization AdditiveAttention AlphaDropout Attention
    BatchNormalization Dense Dropout ELU GaussianDropout GaussianNoise
    GroupNormalization GroupQueryAttention Identity LayerNormalization LeakyReLU
    Masking MultiHeadAttention Normalization PReLU ReLU Rescaling ReversibleEmbedding
    Softmax SpatialDropout1D UnitNormalization
    MaskedAttention MaskedConv1D MaskedGroupedQueryAttention MaskedMultiHeadAttention
    MaskedSoftmax NaNMasking
    """.split()
)
"""The output carries the mask of the first input."""

READS_VALUES = frozenset(("Masking", "NaNMasking"))
"""Makes a mask of what steps hold, where a table makes one of ids."""

OF_SEGMENTS = frozenset(("MaskedSegmentPooling1D",))
"""Makes a mask of the segments that there are."""

MERGES = frozenset("Add Average Concatenate Maximum Minimum Multiply Subtract".split())
"""Keeps the mask if the mask is known of every input."""

KEEPS_ANY = frozenset(("KeepMask", "MaskedAdd"))
"""Keeps the mask of whichever input has one."""

RECURRENT = operations.RECURRENT | {"Bidirectional", "ConvLSTM1D"}
"""Uses the mask, and hands it on if every step is kept."""

USES = frozenset(
    "MultiHeadAttention GroupQueryAttention Attention GlobalAveragePooling1D "
    "Softmax".split()
)
"""Uses a mask, so that ordinary rows are safe: what fails are empty rows, NaN behind
the mask, and masks taken from the tensors of others."""

READS_STEPS = frozenset(
    """
    AdditiveAttention Attention Bidirectional Conv1D GRU GlobalAveragePooling1D
    GlobalMaxPooling1D GroupQueryAttention LSTM MultiHeadAttention RNN SimpleRNN
    """.split()
)
"""Padding that no mask hides enters what it answers."""

MIXES_STEPS = frozenset(("AdditiveAttention", "GroupNormalization"))
"""Keeps the mask and mixes values of one step into another all the same."""

MIXES_OVER_AXIS = frozenset(("LayerNormalization", "UnitNormalization"))
"""Does so if one of its axes is that of time."""

ASIDE = frozenset(
    """
    Equal Greater GreaterEqual Isfinite Isinf Isnan Less LessEqual
    LogicalNot NotEqual OnesLike ZerosLike
    """.split()
)
"""Operations that look at a sequence and make another kind of thing of it."""

REDUCTIONS = frozenset(
    "Any All Amax Amin Average Logsumexp Max Mean Median Min Prod Std Sum Var".split()
)
"""Operations that reduce over the axes that are named."""

HOLDERS = frozenset(("SpectralNormalization", "TimeDistributed"))
"""Holds another layer under a name of its own and calls it as it is."""

WITHOUT_MASK = frozenset(("ConvertToTensor",))
"""Operations whose output is the input itself."""
