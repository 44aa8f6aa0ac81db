"""Checks what config.json says of each layer, before anything relies on it.

Only what surgery reads is checked. A value of another kind than Keras writes is
refused, never worked around: the file was altered or damaged, and nothing is guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count, malformed

# More ids for unknown words than any model has; a file could ask for any number.
_MOST_OOV_INDICES = 1 << 20


@dataclass(frozen=True)
class _Kind:
    """What a value may be, apart from `None`, which stands for the default."""

    expected: str
    fits: Callable[[Any], bool]


def check_layer(layer: LayerNode) -> None:
    """Refuses an entry of config.json that Keras would not have written.

    Raises:
        SurgeryError: naming the layer, the place, what was expected and received.
    """
    _check(layer, layer.serialized, _OF_ALL, ())
    _check(layer, layer.config, _OF_CLASS.get(layer.class_name, {}), ("config",))
    if layer.parent is None:
        _check_compiled(layer)


def _check(
    layer: LayerNode,
    values: Mapping[str, Any],
    kinds: Mapping[str, _Kind],
    within: tuple[str, ...],
) -> None:
    for key, kind in kinds.items():
        value = values.get(key)
        if value is not None and not kind.fits(value):
            raise malformed(
                layer.title,
                (*layer.path, *within, key),
                kind.expected,
                value,
            )


def _check_compiled(model: LayerNode) -> None:
    """`compile` as it was called: the optimizer, of which the slots are read."""
    _check(model, model.serialized, {"compile_config": _MAPPING}, ())
    compiled = model.serialized.get("compile_config") or {}
    optimizer, within = compiled.get("optimizer"), ("compile_config", "optimizer")
    while isinstance(optimizer, dict):
        _check(model, optimizer, _OF_OPTIMIZER, within)
        config, within = optimizer.get("config") or {}, (*within, "config")
        _check(model, config, _OF_OPTIMIZER_CONFIG, within)
        optimizer, within = config.get("inner_optimizer"), (*within, "inner_optimizer")


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int)


def _is_dimension(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(_is_dimension(inner) for inner in value)


_MAPPING = _Kind("a dictionary", lambda value: isinstance(value, dict))
_TEXT = _Kind("text", lambda value: isinstance(value, str))
_WORD = _Kind("a word or an integer", _is_word)
_WORDS = _Kind(
    "a list of words or integers",
    lambda value: (
        isinstance(value, str)
        or (isinstance(value, list) and all(_is_word(word) for word in value))
    ),
)
_COUNT = _Kind("a number that counts", is_count)
_FLAG = _Kind("true, false or a number", lambda value: isinstance(value, int | float))
_OOV_INDICES = _Kind(
    f"a number from 0 to {_MOST_OOV_INDICES}",
    lambda value: is_count(value) and value <= _MOST_OOV_INDICES,
)
_BUILD = _Kind(
    "the shapes with which the layer was built",
    lambda value: isinstance(value, dict | list),
)

_INTEGER = _Kind("an integer", lambda value: isinstance(value, int))
_OF_ALL = {
    "shared_object_id": _INTEGER,
    "build_config": _BUILD,
}
_OF_LOOKUP = {
    "vocabulary": _WORDS,
    "num_oov_indices": _OOV_INDICES,
    "oov_token": _WORD,
    "mask_token": _WORD,
    "output_mode": _TEXT,
    "vocabulary_dtype": _TEXT,
}
_OF_CLASS: Mapping[str, Mapping[str, _Kind]] = {
    "InputLayer": {"batch_shape": _Kind("a shape", _is_shape)},
    "EinsumDense": {
        "equation": _TEXT,
        "output_shape": _Kind(
            "the number of units, or a shape that ends in it",
            lambda value: is_count(value) or (bool(value) and _is_shape(value)),
        ),
        "bias_axes": _TEXT,
    },
    "StringLookup": _OF_LOOKUP,
    "IntegerLookup": {**_OF_LOOKUP, "oov_token": _INTEGER, "mask_token": _INTEGER},
    "TextVectorization": _OF_LOOKUP,
    "ExtendableEmbedding": {"input_dim": _COUNT, "frozen_rows": _COUNT},
}
_OF_OPTIMIZER = {"class_name": _TEXT, "config": _MAPPING}
_OF_OPTIMIZER_CONFIG = {
    "initial_accumulator_value": _Kind(
        "a number",
        lambda value: isinstance(value, int | float) and abs(value) < float("inf"),
    ),
    "gradient_accumulation_steps": _FLAG,
    "use_ema": _FLAG,
    "amsgrad": _FLAG,
    "momentum": _FLAG,
    "centered": _FLAG,
}
