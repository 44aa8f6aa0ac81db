"""What Keras's layers and operations do to ids, steps and units, by class name.

An operation goes by the name of its class, which is what config.json says.
"""

UNIT_BY_UNIT = frozenset(
    """
    Activation Softmax LogSoftmax ReLU LeakyReLU ELU Elu Selu Gelu
    Relu Relu6 Silu Sigmoid HardSigmoid LogSigmoid Softplus Softsign Tanh
    Exp Log Log1p Negative Absolute Sqrt Square Power Clip Cast Identity Dropout
    AlphaDropout GaussianNoise GaussianDropout Rescaling ActivityRegularization
    Masking Add Subtract Multiply Divide TrueDivide Average Maximum Minimum
    Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd LogicalOr
    LogicalNot Isnan Isinf Isfinite Sign Where GetItem StopGradient NanToNum
    GlobalMaxPooling1D GlobalAveragePooling1D
    """.split()
)
"""The output has the units of the input, one for one."""

BACK_TO_IDS = frozenset(
    ("Argmax", "Argsort", "TopK", "StringLookup", "IntegerLookup", "Squeeze")
)
"""Turns one unit for each id back into ids, or the ids into words."""

RECURRENT = frozenset(("LSTM", "GRU", "SimpleRNN", "RNN"))
"""Keeps every step with `return_sequences`, and the last one without."""

POOLING_OVER_TIME = frozenset(
    """
    GlobalAveragePooling1D GlobalMaxPooling1D
    MaskedGlobalAveragePooling1D MaskedGlobalMaxPooling1D MaskedGlobalSumPooling1D
    MaskedGlobalFirstPooling1D MaskedGlobalLastPooling1D
    MaskedGlobalAttentionPooling1D
    """.split()
)
"""Leaves no step, and so no mask."""

POOLING = POOLING_OVER_TIME | set(
    """
    GlobalAveragePooling2D GlobalMaxPooling2D Flatten Mean Max Sum Any All Min Dot
    MaskedSegmentPooling1D
    """.split()
)
"""Makes one vector of a whole sequence, whatever shapes were recorded."""

MOVES_IDS = frozenset(
    """
    Reshape Flatten Permute RepeatVector Identity Cropping1D Concatenate Cast
    Squeeze ExpandDims Transpose Ravel Tile Repeat Stack Copy Roll Flip
    ConvertToTensor
    """.split()
)
"""Moves ids about without changing any."""

SELECTS_IDS = frozenset(("GetItem", "Slice", "Split", "Take", "Unstack"))
"""The same, but each output may be a column of its own, with ids of its own."""

BOUNDS = frozenset(("Clip", "Maximum", "Minimum"))
"""Brings ids into a range, and leaves those in it as they are."""

LOOKUPS = frozenset(("StringLookup", "IntegerLookup", "TextVectorization"))
"""Gives each word an id."""

BINS = frozenset(("Hashing", "HashedCrossing", "Discretization"))
"""Gives each word or number the number of a bin, of which there are as many as ever."""

COLUMNS = {
    "CategoryEncoding": "num_tokens",
    "OneHot": "num_classes",
    "MultiHot": "num_classes",
}
"""Makes a column for each id, and the key that counts them."""

KEEPS_ZERO = frozenset(
    """
    Dropout SpatialDropout1D GaussianNoise GaussianDropout ActivityRegularization
    Identity Cast Copy StopGradient ConvertToTensor ReLU LeakyReLU ELU Relu Relu6
    LeakyRelu Elu Selu Gelu Silu Tanh Softsign Log1p Expm1 Negative Absolute Sqrt
    Square Sign Multiply Divide TrueDivide
    """.split()
)
"""Makes of each value alone another one, and of 0 a 0, when a model is not trained."""

TELLS_ZERO = frozenset(("Greater", "Less", "NotEqual"))
"""The same, where each value is compared with 0."""

ZERO_ACTIVATIONS = frozenset(
    "linear relu relu6 leaky_relu elu selu gelu silu swish tanh softsign mish".split()
)
"""Activations, by name, that make of 0 a 0."""

SUMS_UP_STEPS = frozenset(
    "GlobalAveragePooling1D GlobalMaxPooling1D AveragePooling1D MaxPooling1D".split()
)
"""Makes one vector of several, unit by unit; of zeros it makes zeros."""

REDUCES = frozenset(("Sum", "Mean", "Max", "Min"))
"""The same over the axes that are named."""

IGNORES_ZEROS = frozenset(("Any", "CountNonzero", "Sum"))
"""Reduces the axes that are named to what it would be without the zeros in them."""

INPUT_KERNELS = {
    "Dense": {"vars/0": 0},
    "Conv1D": {"vars/0": 1},
    "Conv2D": {"vars/0": 2},
    "Conv3D": {"vars/0": 3},
    "LSTM": {"cell/vars/0": 0},
    "GRU": {"cell/vars/0": 0},
    "SimpleRNN": {"cell/vars/0": 0},
    "Bidirectional": {
        "forward_layer/cell/vars/0": 0,
        "backward_layer/cell/vars/0": 0,
    },
}
"""The weights with an entry for each unit of the input, and the axis of those."""

COMPARES = frozenset(("Equal", "NotEqual"))
"""Compares each value with another one: a number beside ids is an id itself."""

NAME_IDS = frozenset(("ignore_class", "class_id", "target_class_ids"))
"""Arguments of Keras's losses and metrics that are ids, or lists of them."""

WEIGH_UNITS = frozenset(("alpha", "label_weights"))
"""Arguments of theirs that may have a number for each unit."""

COUNT_UNITS = frozenset(("num_classes", "num_labels"))
"""Arguments of theirs that count the units of an output."""
