"""Which Keras layer ours takes the place of, with which configuration, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from keras_padsafe.facts.layers import LIVE_NAMES

_OF_EVERY_LAYER = frozenset("name trainable dtype activity_regularizer".split())
_OF_ATTENTION = frozenset(
    """
    value_dim dropout use_bias use_gate output_shape attention_axes sliding_window
    kernel_initializer bias_initializer kernel_regularizer bias_regularizer
    kernel_constraint bias_constraint seed flash_attention
    """.split()
)
_OF_CONVOLUTION = frozenset(
    """
    filters kernel_size strides padding data_format dilation_rate groups activation
    use_bias kernel_initializer bias_initializer kernel_regularizer bias_regularizer
    kernel_constraint bias_constraint lora_rank lora_alpha
    """.split()
)
_OF_POOLING = frozenset(("data_format", "keepdims"))


@dataclass(frozen=True)
class Swap:
    """What takes the place of a Keras class.

    Attributes:
        class_name: The class; of ours unless `module` says otherwise.
        keys: The configuration that both understand alike; all there is in a file
            must be among it.
        module: Where the class is.
        registered_name: What it is registered as; `None` for a class of Keras.
    """

    class_name: str
    keys: frozenset[str]
    module: str
    registered_name: str | None

    def unknown_keys(self, config: Mapping[str, object]) -> list[str]:
        """The keys of a configuration that the new class does not take."""
        return sorted(config.keys() - self.keys - _OF_EVERY_LAYER)


def _ours(class_name: str, module: str, keys: frozenset[str] = frozenset()) -> Swap:
    registered = f"keras_padsafe>{class_name}"
    return Swap(class_name, keys, f"keras_padsafe.layers.{module}", registered)


SWAPS: Mapping[str, Swap] = {
    "MultiHeadAttention": _ours(
        "MaskedMultiHeadAttention",
        "masked_multi_head_attention",
        _OF_ATTENTION | {"num_heads", "key_dim"},
    ),
    "GroupQueryAttention": _ours(
        "MaskedGroupedQueryAttention",
        "masked_grouped_query_attention",
        _OF_ATTENTION | {"head_dim", "num_query_heads", "num_key_value_heads"},
    ),
    "Attention": _ours(
        "MaskedAttention",
        "masked_attention",
        frozenset(("use_scale", "score_mode", "dropout", "seed")),
    ),
    "GlobalAveragePooling1D": _ours(
        "MaskedGlobalAveragePooling1D",
        "masked_global_average_pooling_1d",
        _OF_POOLING,
    ),
    "GlobalMaxPooling1D": _ours(
        "MaskedGlobalMaxPooling1D", "masked_global_max_pooling_1d", _OF_POOLING
    ),
    "Conv1D": _ours("MaskedConv1D", "masked_conv_1d", _OF_CONVOLUTION),
    "Softmax": _ours("MaskedSoftmax", "masked_softmax", frozenset(("axis",))),
    "Add": _ours("MaskedAdd", "masked_add"),
}
"""By the name of the stock class."""

MASKED_ADD = SWAPS["Add"]
RESCALING = Swap(
    "Rescaling", frozenset(("scale", "offset")), "keras.layers", registered_name=None
)
ACTIVATION = Swap("Activation", frozenset(("activation",)), "keras.layers", None)
EXTENDABLE = _ours("ExtendableEmbedding", "extendable_embedding")
"""Takes the configuration of every table of Keras; no keys are listed."""

ACTIVATIONS: Mapping[str, str] = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
"""Operations that are the activation of that name, whose layer keeps the mask."""

OURS: Mapping[str, str] = {
    **{
        LIVE_NAMES.get(stock, stock): f"keras_padsafe.layers.{swap.class_name}"
        for stock, swap in SWAPS.items()
    },
    "Max": "keras_padsafe.ops.masked_max",
    "Mean": "keras_padsafe.ops.masked_mean",
    "Min": "keras_padsafe.ops.masked_min",
    "Sum": "keras_padsafe.ops.masked_sum",
}
"""What takes the place of a class, by its name in code."""
