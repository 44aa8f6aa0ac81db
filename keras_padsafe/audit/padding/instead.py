"""What to use instead of a layer that lets padding through."""

import keras

_MASK_IN = (
    "Hand it the mask: keep it alive on the way (keras_padsafe.layers.MaskedAdd "
    "instead of `x + y` and Add, keras_padsafe.layers.KeepMask after any other "
    "operation)"
)
_POOLING = (
    "keras_padsafe.layers.MaskedGlobalAveragePooling1D, MaskedGlobalMaxPooling1D, "
    "MaskedGlobalLastPooling1D or MaskedGlobalAttentionPooling1D"
)

# By class name: a layer of a later Keras or of Keras Hub is not there to compare with.
_BY_CLASS = {
    "Conv1D": "Use keras_padsafe.layers.MaskedConv1D.",
    "GlobalMaxPooling1D": "Use keras_padsafe.layers.MaskedGlobalMaxPooling1D.",
    "GlobalAveragePooling1D": (
        f"{_MASK_IN}, or use keras_padsafe.layers.MaskedGlobalAveragePooling1D."
    ),
    "MultiHeadAttention": (
        f"{_MASK_IN}, or pass attention_mask=mask[:, None, :]; or use "
        "keras_padsafe.layers.MaskedMultiHeadAttention."
    ),
    "CachedMultiHeadAttention": "Pass attention_mask=mask[:, None, :].",
    "GroupedQueryAttention": (
        f"{_MASK_IN}, or pass attention_mask=mask[:, None, :]; or use "
        "keras_padsafe.layers.MaskedGroupedQueryAttention."
    ),
    "Attention": f"{_MASK_IN}, or use keras_padsafe.layers.MaskedAttention.",
    "AdditiveAttention": f"{_MASK_IN}, or pass mask=[query_mask, value_mask].",
    "Softmax": "Use keras_padsafe.layers.MaskedSoftmax, and give it the mask.",
    "Flatten": f"Pool over the real positions first: {_POOLING}.",
    "RNN": f"{_MASK_IN}, or pass mask=.",
    "Bidirectional": f"{_MASK_IN}, or pass mask=.",
    "BatchNormalization": (
        "Call it with training=False at inference, and hand it the mask in training."
    ),
    "LayerNormalization": "Normalise over the features alone: axis=-1.",
    "FNetEncoder": (
        "Its Fourier transform mixes all positions and takes no mask: use attention, "
        "or sequences of one length."
    ),
}
_POOLINGS_OVER_WINDOWS = ("MaxPooling1D", "AveragePooling1D")


def what_instead(layer: keras.Operation, own_code: bool, pools: bool) -> str:
    """What to use instead.

    Args:
        layer: The layer in which real positions first moved.
        own_code: Whether it was in code of the user's, between layers.
        pools: Whether no time is left in what comes out.
    """
    if not own_code:
        for kind in type(layer).__mro__:
            if kind.__name__ in _BY_CLASS:
                return _BY_CLASS[kind.__name__]
            if kind.__name__ in _POOLINGS_OVER_WINDOWS:
                return f"Set padding to zero before it, or pool over time: {_POOLING}."
    if pools:
        return (
            "Leave padding out there, by the mask (True = real): "
            "keras_padsafe.ops.masked_mean, masked_max or masked_sum; or "
            f"pool with {_POOLING}."
        )
    return (
        "Leave padding out there, by the mask (True = real): hide the scores of padded "
        "keys with keras_padsafe.ops.masked_softmax or masked_attention, and take sums "
        "over time with masked_mean."
    )
