"""The calls of a model, as config.json records them, with nested models opened up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.layer_node import ConfigPath, LayerNode

_WRAPPERS_OF_ONE_CALL = ("TimeDistributed",)
MAX_CALLS = 200_000


@dataclass(eq=False)
class Call:
    """One call of one layer.

    Attributes:
        layer: The layer called; for a layer inside `TimeDistributed`, that layer.
        inputs: The calls whose outputs it takes, masks apart, in argument order.
        arguments: The recorded arguments, positional ones under "0", "1", ...
        consumers: The calls that take its output.
    """

    layer: LayerNode
    inputs: list["Call"] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    consumers: list["Call"] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Call({self.layer.name!r})"


@dataclass(frozen=True)
class ShapeRecord:
    """A place of config.json that repeats the shape of a call's output."""

    path: ConfigPath
    shape: list[Any]
    call: Call


@dataclass
class Graph:
    """The calls of a model.

    Attributes:
        calls: All of them, each after its inputs.
        outputs: Those whose result is an output of the model.
        shape_records: Where config.json repeats the shape of a call's output.
        input_layers: For each call, the InputLayers of nested models that stand for
            its output; their `batch_shape` repeats its shape too.
    """

    calls: list[Call] = field(default_factory=list)
    outputs: list[Call] = field(default_factory=list)
    shape_records: list[ShapeRecord] = field(default_factory=list)
    input_layers: list[tuple[LayerNode, Call]] = field(default_factory=list)

    @cached_property
    def _shapes(self) -> dict[Call, list[Any]]:
        """The recorded shape of each call's output, once the graph is complete."""
        return {record.call: record.shape for record in reversed(self.shape_records)}

    def calls_of(self, layer: LayerNode) -> list[Call]:
        return [call for call in self.calls if call.layer.contains(layer)]

    def shape_of(self, call: Call) -> list[Any] | None:
        """The shape of a call's output, where config.json records it."""
        if call in self._shapes:
            return self._shapes[call]
        for consumer in call.consumers:
            built = consumer.layer.serialized.get("build_config")
            shape = built.get("input_shape") if isinstance(built, dict) else None
            if isinstance(shape, list) and len(consumer.inputs) == 1:
                return shape
        return None

    def downstream(self, sources: Sequence[Call]) -> set[Call]:
        """Every call that a value of one of `sources` reaches, themselves included."""
        reached: set[Call] = set()
        pending = list(sources)
        while pending:
            call = pending.pop()
            if call not in reached:
                reached.add(call)
                pending.extend(call.consumers)
        return reached


def read_graph(root: LayerNode) -> Graph:
    """The calls of a model; empty when config.json does not spell them out."""
    graph = Graph()
    if root.is_graph:
        graph.outputs = _open(root, None, graph)
    return graph


def _open(model: LayerNode, inputs: list[Call] | None, graph: Graph) -> list[Call]:
    """Adds the calls inside `model` to the graph; returns those of its outputs."""
    if "output_layers" in model.config:
        return _open_functional(model, inputs, graph)
    return _open_sequential(model, inputs, graph)


def _open_sequential(
    model: LayerNode, inputs: list[Call] | None, graph: Graph
) -> list[Call]:
    current = inputs or []
    for layer in model.children:
        if layer.class_name == "InputLayer":
            if inputs is None:
                current = [_add(layer, [], {}, graph)]
            elif inputs:
                graph.input_layers.append((layer, inputs[0]))
        else:
            current = _call(layer, current, {}, graph)
    return current


def _open_functional(
    model: LayerNode, inputs: list[Call] | None, graph: Graph
) -> list[Call]:
    by_name = {layer.name: layer for layer in model.children}
    results: dict[tuple[str, int], list[Call]] = {}
    for position, reference in enumerate(_references(model.config["input_layers"])):
        name = reference[0]
        if inputs is None:
            results[name, 0] = [_add(by_name[name], [], {}, graph)]
        elif position < len(inputs):
            results[name, 0] = [inputs[position]]
            graph.input_layers.append((by_name[name], inputs[position]))
    pending = [
        (layer, number, node)
        for layer in model.children
        for number, node in enumerate(layer.serialized.get("inbound_nodes") or [])
    ]
    while pending:
        waiting = [call for call in pending if not _try_call(*call, results, graph)]
        if len(waiting) == len(pending):
            raise SurgeryError(
                f"Model {model.name!r}: the recorded calls of layer "
                f"{waiting[0][0].name!r} take tensors that no layer of the model "
                "makes. Expected: a config.json as `model.save` writes it. Save the "
                "model again with Keras."
            )
        pending = waiting
    outputs: list[Call] = []
    for name, number, tensor in _references(model.config["output_layers"]):
        made = _result(by_name.get(name), name, number, results)
        outputs += made[tensor : tensor + 1] or made[:1]
    return outputs


def _result(
    layer: LayerNode | None,
    name: str,
    number: int,
    results: dict[tuple[str, int], list[Call]],
) -> list[Call]:
    """What an output of the model refers to.

    Here Keras counts the calls of a Functional model from 1: the first stands for the
    model's own definition. Whether a class that config.json does not open up is one
    shows only where no call of the number given exists.
    """
    original = layer and (layer.original or layer)
    if original and "output_layers" in original.config:
        return results.get((name, number - 1), [])
    return results.get((name, number)) or results.get((name, number - 1), [])


def _try_call(
    layer: LayerNode,
    number: int,
    node: Any,
    results: dict[tuple[str, int], list[Call]],
    graph: Graph,
) -> bool:
    """Carries out one recorded call if all that it takes is there already."""
    if not isinstance(node, dict):
        raise SurgeryError(
            f"Layer {layer.name!r}: config.json records its calls in the form of "
            "Keras 2. Load the file with Keras 3 and save it again."
        )
    place = (*layer.path, "inbound_nodes", number)
    taken: list[Call] = []
    records: list[ShapeRecord] = []
    for path, tensor in _tensors(node, place):
        name, made_by, index = tensor["config"]["keras_history"]
        made = results.get((name, made_by))
        if made is None:
            return False
        call = made[index] if index < len(made) else made[0] if made else None
        if call is None:
            continue
        shape = tensor["config"].get("shape") or []
        records.append(ShapeRecord((*path, "config", "shape"), shape, call))
        if not _is_mask(path[len(place) :]):
            taken.append(call)
    graph.shape_records += records
    literal = {str(i): value for i, value in enumerate(node.get("args") or [])}
    arguments = {**literal, **(node.get("kwargs") or {})}
    results[layer.name, number] = _call(layer, taken, arguments, graph)
    return True


def _call(
    layer: LayerNode, inputs: list[Call], arguments: dict[str, Any], graph: Graph
) -> list[Call]:
    called = layer.original or layer
    while called.class_name in _WRAPPERS_OF_ONE_CALL and called.children:
        called = called.children[0].original or called.children[0]
    if called.is_graph:
        return _open(called, inputs, graph)
    return [_add(called, inputs, arguments, graph)]


def _add(
    layer: LayerNode, inputs: list[Call], arguments: dict[str, Any], graph: Graph
) -> Call:
    if len(graph.calls) >= MAX_CALLS:
        raise SurgeryError(
            f"Model: nested models open up into more than {MAX_CALLS} calls. "
            "Expected: a model that a person could have built. If it is one, please "
            "report it."
        )
    call = Call(layer, list(inputs), arguments)
    for source in inputs:
        source.consumers.append(call)
    graph.calls.append(call)
    return call


def _references(value: Any) -> Iterator[tuple[str, int, int]]:
    """The `[layer, call, tensor]` triples of `input_layers` or `output_layers`."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        if len(value) == 3 and isinstance(value[0], str):
            yield value[0], value[1], value[2]
        else:
            for inner in value:
                yield from _references(inner)


def _tensors(
    value: Any, path: ConfigPath
) -> Iterator[tuple[ConfigPath, dict[str, Any]]]:
    """The tensors among recorded arguments, each with its place in config.json."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield path, value
            return
        for key, inner in value.items():
            yield from _tensors(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _tensors(inner, (*path, index))


def _is_mask(path: ConfigPath) -> bool:
    return any(isinstance(key, str) and key.endswith("mask") for key in path)
