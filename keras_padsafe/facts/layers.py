"""What is known of the layers of Keras, by class name."""

import re
from typing import Any

UNTRAINED_AT_END = {
    "BatchNormalization": 2,
    "Normalization": 3,
    "SpectralNormalization": 1,
}
"""How many variables at the end of a layer's own training does not touch."""

WRAPPERS_OF_ONE_CALL = frozenset(("TimeDistributed",))
"""Calls the layer inside once for each step, and adds nothing of its own."""

LIVE_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}
"""The name of the class itself, where files say another one."""

SAME_AS = {"TFDConcat": "Concatenate", "TFDIdentity": "Identity"}
"""What a `FeatureSpace` puts into a model, and the class that does the same."""

MODULES_OF_NO_LAYERS = (
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.utils",
)
"""Modules of serialized objects that hang below a layer and are no layers."""

_BUILT_ON = frozenset(("input_shape", "shapes_dict"))

TABLES = frozenset(("Embedding", "ExtendableEmbedding", "ReversibleEmbedding"))
"""Turns ids into vectors, and makes a mask if it is told what padding is."""


def records_shapes(build_config: Any) -> bool:
    """Whether it is what Keras itself writes there, shapes: no number of it counts."""
    return isinstance(build_config, dict) and build_config.keys() <= _BUILT_ON


def snake_case(class_name: str) -> str:
    """The name that Keras gives a layer's group, from its class name."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
