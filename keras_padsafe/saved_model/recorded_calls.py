"""Reads how config.json records the calls of a Functional model.

The one place that touches the recorded form; what it returns has the types it says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import ConfigPath, walk_values
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count, malformed


class Reference(NamedTuple):
    """One tensor: which output of which call of which layer."""

    layer: str
    call: int
    tensor: int


@dataclass(frozen=True)
class RecordedTensor:
    """A tensor among the arguments of a recorded call.

    Attributes:
        made_by: What made it.
        shape: Its shape, as recorded.
        path: Where config.json records that.
        is_mask: Whether it was passed as a mask.
    """

    made_by: Reference
    shape: list[Any]
    path: ConfigPath
    is_mask: bool


@dataclass(frozen=True)
class RecordedCall:
    """One call of one layer.

    Attributes:
        layer: The layer called.
        number: Which of its calls this is.
        tensors: The tensors that it takes, in argument order.
        arguments: All arguments, positional ones under "0", "1", ...
        places: Where config.json records each argument.
    """

    layer: LayerNode
    number: int
    tensors: list[RecordedTensor]
    arguments: dict[str, Any]
    places: dict[str, ConfigPath]


def read_calls(layer: LayerNode) -> list[RecordedCall]:
    """The recorded calls of a layer of a Functional model.

    Raises:
        SurgeryError: if they are not recorded as Keras 3 does.
    """
    nodes = layer.serialized.get("inbound_nodes") or []
    path = (*layer.path, "inbound_nodes")
    if not isinstance(nodes, list):
        raise malformed(layer.title, path, "a list of calls", nodes)
    return [_read_call(layer, number, node) for number, node in enumerate(nodes)]


def read_references(model: LayerNode, key: str) -> list[Reference]:
    """The tensors that `input_layers` or `output_layers` of a model names."""
    value = model.config.get(key)
    path = (*model.path, "config", key)
    if not isinstance(value, list | dict):
        raise malformed(model.title, path, _TRIPLES, value)
    return list(_references(value, path, model))


_ARRAYS = ("__tensor__", "__numpy__")
_TRIPLES = "[layer, call, tensor] triples, in lists or dictionaries"


def held_value(argument: Any) -> Any:
    """The numbers of an array that a recorded argument holds; `None` if it is none."""
    is_held = isinstance(argument, dict) and argument.get("class_name") in _ARRAYS
    config = argument.get("config") if is_held else None
    return config.get("value") if isinstance(config, dict) else None


def _references(value: Any, path: ConfigPath, model: LayerNode) -> Iterator[Reference]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _references(inner, (*path, key), model)
    elif isinstance(value, list) and not (value and isinstance(value[0], str)):
        for index, inner in enumerate(value):
            yield from _references(inner, (*path, index), model)
    elif value is not None:
        yield _reference(value, path, model)


def _reference(value: Any, path: ConfigPath, owner: LayerNode) -> Reference:
    match value:
        case [str(name), call, tensor] if is_count(call) and is_count(tensor):
            return Reference(name, call, tensor)
    raise malformed(
        owner.title, path, "a triple: the name of a layer and two numbers", value
    )


def _read_call(layer: LayerNode, number: int, node: Any) -> RecordedCall:
    if isinstance(node, list):
        raise SurgeryError(
            f"Layer {layer.name!r}: config.json records its calls in the form of "
            "Keras 2. Load the file with Keras 3 and save it again."
        )
    path = (*layer.path, "inbound_nodes", number)
    if not isinstance(node, dict):
        raise malformed(layer.title, path, "a call, with args and kwargs", node)
    args, kwargs = node.get("args") or [], node.get("kwargs") or {}
    if not isinstance(args, list):
        raise malformed(layer.title, (*path, "args"), "a list", args)
    if not isinstance(kwargs, dict):
        raise malformed(layer.title, (*path, "kwargs"), "a dictionary", kwargs)
    tensors = [
        _read_tensor(layer, tensor, place, is_mask=_is_mask(place[len(path) :]))
        for place, tensor in _tensors(node, path)
    ]
    positional = {str(index): value for index, value in enumerate(args)}
    places: dict[str, ConfigPath] = {
        **{str(index): (*path, "args", index) for index in range(len(args))},
        **{key: (*path, "kwargs", key) for key in kwargs},
    }
    return RecordedCall(layer, number, tensors, {**positional, **kwargs}, places)


def _read_tensor(
    layer: LayerNode, tensor: dict[str, Any], path: ConfigPath, *, is_mask: bool
) -> RecordedTensor:
    config = tensor.get("config")
    if not isinstance(config, dict):
        place = (*path, "config")
        raise malformed(layer.title, place, "the description of a tensor", config)
    history = (*path, "config", "keras_history")
    made_by = _reference(config.get("keras_history"), history, layer)
    shape = config.get("shape") or []
    if not isinstance(shape, list):
        raise malformed(layer.title, (*path, "config", "shape"), "a shape", shape)
    return RecordedTensor(made_by, shape, (*path, "config", "shape"), is_mask)


def _tensors(
    value: Any, path: ConfigPath
) -> Iterator[tuple[ConfigPath, dict[str, Any]]]:
    """The tensors among recorded arguments, each with its place in config.json."""
    for place, inner in walk_values(value, path):
        if isinstance(inner, dict) and inner.get("class_name") == "__keras_tensor__":
            yield place, inner


def _is_mask(path: ConfigPath) -> bool:
    return any(isinstance(key, str) and key.endswith("mask") for key in path)
