"""Gives the operations of a saved graph names that Keras will not give again."""

from collections.abc import Iterator
from typing import Any

from keras_padsafe.saved_model.config_path import walk_values

_ADDED = "_saved"


def rename_operations(config: dict[str, Any]) -> None:
    """Renames each operation of a graph, in place, unless it is an output.

    A file holds the operations that made its masks, such as `not_equal`. A layer that
    asks for a mask which the file did not record makes the same ones again while the
    model is loaded, by the same names, and Keras refuses a name that is used twice.
    Layers keep their names, and so do outputs, since losses and targets go by them.
    """
    inner = config.get("config")
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        return
    layers = inner["layers"]
    outputs = set(_names(inner.get("output_layers")))
    taken = {layer.get("name") for layer in layers}
    new_names: dict[str, str] = {}
    for layer in layers:
        rename_operations(layer)
        if _is_operation(layer) and layer["name"] not in outputs:
            new_name = layer["name"] + _ADDED
            while new_name in taken:
                new_name += _ADDED
            taken.add(new_name)
            new_names[layer["name"]] = new_name
            layer["name"] = layer["config"]["name"] = new_name
    for layer in layers:
        _rename_sources(layer.get("inbound_nodes"), new_names)


def _is_operation(layer: dict[str, Any]) -> bool:
    module, config = layer.get("module"), layer.get("config")
    return (
        isinstance(module, str)
        and module.startswith(("keras.src.ops", "keras.ops"))
        and isinstance(layer.get("name"), str)
        and isinstance(config, dict)
        and config.get("name") == layer["name"]
    )


def _names(outputs: Any) -> Iterator[str]:
    """The layers among nested `[name, call, tensor]`."""
    for _, value in walk_values(outputs):
        if isinstance(value, list) and value and isinstance(value[0], str):
            yield value[0]


def _rename_sources(calls: Any, new_names: dict[str, str]) -> None:
    """Follows the new names in the arguments of calls."""
    for _, value in walk_values(calls):
        history = value.get("keras_history") if isinstance(value, dict) else None
        if isinstance(history, list) and history and isinstance(history[0], str):
            history[0] = new_names.get(history[0], history[0])
