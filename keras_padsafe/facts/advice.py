"""What to do about padding that a layer lets through."""

MASK_IN = (
    "Keep the mask up to this layer (keras_padsafe.layers.MaskedAdd instead of `x + "
    "y` and Add, keras_padsafe.layers.KeepMask after other operations)"
)
POOLING = (
    "keras_padsafe.layers.MaskedGlobalAveragePooling1D, MaskedGlobalMaxPooling1D, "
    "MaskedGlobalLastPooling1D or MaskedGlobalAttentionPooling1D"
)

INSTEAD = {
    "Conv1D": "Use keras_padsafe.layers.MaskedConv1D.",
    "GlobalMaxPooling1D": "Use keras_padsafe.layers.MaskedGlobalMaxPooling1D.",
    "GlobalAveragePooling1D": (
        f"{MASK_IN}, or use keras_padsafe.layers.MaskedGlobalAveragePooling1D."
    ),
    "MultiHeadAttention": (
        f"{MASK_IN}, or pass attention_mask=mask[:, None, :]; or use "
        "keras_padsafe.layers.MaskedMultiHeadAttention."
    ),
    "CachedMultiHeadAttention": "Pass attention_mask=mask[:, None, :].",
    "GroupedQueryAttention": (
        f"{MASK_IN}, or pass attention_mask=mask[:, None, :]; or use "
        "keras_padsafe.layers.MaskedGroupedQueryAttention."
    ),
    "Attention": f"{MASK_IN}, or use keras_padsafe.layers.MaskedAttention.",
    "AdditiveAttention": f"{MASK_IN}, or pass mask=[query_mask, value_mask].",
    "Softmax": "Use keras_padsafe.layers.MaskedSoftmax, and pass it the mask.",
    "Flatten": f"Pool over the real positions first: {POOLING}.",
    "RNN": f"{MASK_IN}, or pass mask=.",
    "Bidirectional": f"{MASK_IN}, or pass mask=.",
    "BatchNormalization": (
        "Call it with training=False at inference, and pass it the mask in training."
    ),
    "LayerNormalization": "Normalise over the features only: axis=-1.",
    "FNetEncoder": (
        "Its Fourier transform mixes all positions and takes no mask. Use attention, "
        "or sequences of the same length."
    ),
}
"""What to do about a class that lets padding through, by its name in code."""

OVER_WINDOWS = frozenset(("MaxPooling1D", "AveragePooling1D"))
"""Makes one step of several."""
