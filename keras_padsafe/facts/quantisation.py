"""How Keras stores a layer whose weights are quantised, and how it rounds them."""

from typing import Any

_TABLE = ("embeddings", "embeddings_scale", "embeddings_zero", "g_idx")
_REVERSE = ("reverse_embeddings", "reverse_embeddings_scale", "reverse_embeddings_zero")
_KERNEL = ("kernel", "bias", "kernel_scale", "kernel_zero", "g_idx")
VARIABLES = {
    "Embedding": _TABLE,
    "ReversibleEmbedding": (*_TABLE, *_REVERSE),
    "ExtendableEmbedding": _TABLE,
    "Dense": _KERNEL,
    "EinsumDense": _KERNEL,
}
"""The variables of a layer in the order of its file; some may be missing."""

PACKED_AXIS = {"embeddings": 1, "reverse_embeddings": 0, "kernel": 1}
"""The axis along which two numbers of four bits share a byte, the first one low."""

RANGES = {8: (-127, 127), 4: (-8, 7)}
"""The whole numbers in use, by their bits."""

EPSILON = 1e-7
"""What Keras adds to the largest number of a row before it divides by it."""


def quantisation_mode(config: dict[str, Any]) -> tuple[str, int] | None:
    """The mode of a layer, as `"int8"`, and how many numbers share a scale.

    0 stands for all that belong to one id or unit. `None` if it is not quantised.
    """
    policy = config.get("dtype")
    inner = policy.get("config") if isinstance(policy, dict) else None
    mode = inner.get("mode") if isinstance(inner, dict) else policy
    if not isinstance(mode, str):
        return None
    name, _, block = mode.partition("_from_")[0].partition("/")
    if not name.startswith(("int", "gptq", "awq")):
        return None
    is_number = block.isdecimal()
    return name, int(block) if is_number else 0


def variable_names(class_name: str, config: dict[str, Any]) -> list[str] | None:
    """The names of a quantised layer's variables, in the order of its file.

    `None` if they are not known.
    """
    mode = quantisation_mode(config)
    own: Any = config
    for key in ("quantization_config", "config", "weight_quantizer"):
        own = own.get(key) if isinstance(own, dict) else own
    if mode is None or mode[0] not in ("int8", "int4") or own is not None:
        return None
    missing = set()
    if not mode[1]:
        missing |= {"g_idx", "embeddings_zero", "reverse_embeddings_zero"}
        missing |= {"kernel_zero"}
    if not config.get("use_bias", True) or config.get("bias_axes", "") is None:
        missing |= {"bias"}
    if config.get("tie_weights", True):
        missing |= {name for name in VARIABLES.get(class_name, ()) if "reverse" in name}
    return [name for name in VARIABLES.get(class_name, ()) if name not in missing]
