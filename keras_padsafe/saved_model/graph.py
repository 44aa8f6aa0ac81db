"""The calls of a model, as config.json records them, with nested models opened up."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.layers import WRAPPERS_OF_ONE_CALL
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import too_large
from keras_padsafe.saved_model.recorded_calls import (
    RecordedCall,
    RecordedTensor,
    read_calls,
    read_references,
)

_T = TypeVar("_T")

_MOST_DEPTH = 64  # of models that call each other, more than a person nests
_FEWEST_STEPS, _STEPS_PER_LAYER = 20_000, 50


@dataclass(eq=False, slots=True)
class Call:
    """One call of one layer.

    Attributes:
        layer: The layer called; for a layer inside `TimeDistributed`, that layer.
        inputs: The calls whose outputs it takes, masks apart, in argument order.
        arguments: The recorded arguments, positional ones under "0", "1", ...
        places: Where config.json records each.
        consumers: The calls that take its output.
        records: Where config.json repeats the shape of its output.
        stand_ins: The InputLayers of nested models that stand for its output; their
            `batch_shape` repeats its shape too.
    """

    layer: LayerNode
    inputs: list["Call"] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    places: dict[str, ConfigPath] = field(default_factory=dict)
    consumers: list["Call"] = field(default_factory=list)
    records: list[RecordedTensor] = field(default_factory=list)
    stand_ins: list[LayerNode] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Call({self.layer.name!r})"


@dataclass
class Graph:
    """The calls of a model.

    Attributes:
        calls: All of them, each after its inputs.
        outputs: Those whose result is an output of the model.
    """

    calls: list[Call]
    outputs: list[Call]

    @cached_property
    def _order(self) -> dict[Call, int]:
        return {call: number for number, call in enumerate(self.calls)}

    def in_order(self, calls: Iterable[Call]) -> list[Call]:
        """Some calls, each once, in the order of `calls`."""
        return sorted(set(calls), key=self._order.__getitem__)

    @cached_property
    def _by_layer(self) -> dict[LayerNode, list[Call]]:
        found: dict[LayerNode, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.layer.original or call.layer, []).append(call)
        return found

    def calls_of(self, layer: LayerNode) -> list[Call]:
        """The calls of a layer, or of one that it lies in."""
        around = {node.original or node for node in layer.outwards()}
        return self.in_order(c for node in around for c in self._by_layer.get(node, ()))

    def shape_of(self, call: Call) -> list[Any] | None:
        """The shape of a call's output, where config.json records it."""
        if call.records:
            return call.records[0].shape
        for consumer in call.consumers:
            built = consumer.layer.serialized.get("build_config")
            shape = built.get("input_shape") if isinstance(built, dict) else None
            if isinstance(shape, list) and len(consumer.inputs) == 1:
                return shape
        return None

    def back_from_outputs(self, stops: Callable[[Call], bool]) -> list[Call]:
        """The first calls on the way back from the outputs at which `stops` holds."""
        back = reached(self.outputs, lambda call: [] if stops(call) else call.inputs)
        return [call for call in back if stops(call)]

    def spread(
        self,
        groups: Iterable[tuple[_T, Iterable[Call]]],
        passes: Callable[[Call], bool] = lambda call: True,
    ) -> Callable[[Call], list[_T]]:
        """Tells of each call which groups it is in or takes values of.

        One walk serves all groups. Each comes with what stands for it; `passes` says
        whether what enters a call counts for its output.
        """
        found = dict.fromkeys(self.calls, 0)  # A bit for each group.
        owners: list[_T] = []
        for owner, group in groups:
            for call in group:
                found[call] |= 1 << len(owners)
            owners.append(owner)
        for call in self.calls:
            taken = 0
            for source in call.inputs:
                taken |= found[source]
            if taken & ~found[call] and passes(call):
                found[call] |= taken
        return lambda call: [o for n, o in enumerate(owners) if found[call] >> n & 1]

    def downstream(self, sources: Iterable[Call]) -> list[Call]:
        """Every call that a value of one of `sources` reaches, they too, in order."""
        return self.in_order(reached(sources, lambda call: call.consumers))


def reached(starts: Iterable[_T], onward: Callable[[_T], Iterable[_T]]) -> Iterator[_T]:
    """All that can be reached from some things, they too, each once."""
    pending, seen = list(starts), set[_T]()
    while pending:
        one = pending.pop()
        if one not in seen:
            seen.add(one)
            yield one
            pending.extend(onward(one))


_Results = dict[tuple[str, int], list[Call]]
"""What each call of each layer gave, while a model is opened up."""


def read_graph(root: LayerNode) -> Graph:
    """The calls of a model; empty when config.json does not spell them out."""
    layers = sum(1 for _ in root.walk())
    opener = _Opener(_FEWEST_STEPS + _STEPS_PER_LAYER * layers)
    outputs = opener.open(root, None) if root.is_graph else []
    return Graph(opener.calls, outputs)


@dataclass
class _Opener:
    """Opens models up into their calls.

    Attributes:
        steps_left: How much may still be opened up; shared models can make of a small
            file many.
        depth: How many models lie around the one that is open.
        calls: The calls so far, each after its inputs.
    """

    steps_left: int
    depth: int = 0
    calls: list[Call] = field(default_factory=list)

    def open(self, model: LayerNode, inputs: list[Call] | None) -> list[Call]:
        """Adds the calls inside `model`; returns those of its outputs."""
        if self.depth > _MOST_DEPTH:
            raise too_large(
                f"Model {model.name!r}: models call each other more than {_MOST_DEPTH} "
                "deep"
            )
        self.depth += 1
        is_functional = "output_layers" in model.config
        opened = self._functional if is_functional else self._sequential
        outputs = opened(model, inputs)
        self.depth -= 1
        return outputs

    def _sequential(self, model: LayerNode, inputs: list[Call] | None) -> list[Call]:
        current = inputs or []
        for layer in model.children:
            if layer.class_name == "InputLayer":
                if inputs is None:
                    current = [self._add(Call(layer))]
                elif inputs:
                    inputs[0].stand_ins.append(layer)
            else:
                current = self._call(Call(layer, current))
        return current

    def _functional(self, model: LayerNode, inputs: list[Call] | None) -> list[Call]:
        by_name = {layer.name: layer for layer in model.children}
        results = _Results()
        for position, made_by in enumerate(read_references(model, "input_layers")):
            layer = by_name.get(made_by.layer)
            if layer is None:
                raise _unknown_tensor(model, "its input_layers name", made_by.layer)
            if inputs is None:
                results[layer.name, 0] = [self._add(Call(layer))]
            elif position < len(inputs):
                results[layer.name, 0] = [inputs[position]]
                inputs[position].stand_ins.append(layer)
        self._carry_out(model, results)
        outputs: list[Call] = []
        for name, number, tensor in read_references(model, "output_layers"):
            made = _result(by_name.get(name), name, number, results)
            outputs += made[tensor : tensor + 1] or made[:1]
        return outputs

    def _carry_out(self, model: LayerNode, results: _Results) -> None:
        """Adds each call once all that it takes is there; any order may be recorded."""
        calls = [call for layer in model.children for call in read_calls(layer)]
        missing: dict[int, int] = {}
        waiting: dict[tuple[str, int], list[RecordedCall]] = {}
        for call in calls:
            needs = {tensor.made_by[:2] for tensor in call.tensors} - results.keys()
            missing[id(call)] = len(needs)
            for need in needs:
                waiting.setdefault(need, []).append(call)
        ready = deque(call for call in calls if not missing[id(call)])
        done: set[int] = set()
        while ready:
            call = ready.popleft()
            done.add(id(call))
            made = (call.layer.name, call.number)
            results[made] = self._take(call, results)
            for other in waiting.pop(made, []):
                missing[id(other)] -= 1
                if not missing[id(other)]:
                    ready.append(other)
        stuck = next((call for call in calls if id(call) not in done), None)
        if stuck is not None:
            what = "the recorded calls take tensors that no layer makes, of layer"
            raise _unknown_tensor(model, what, stuck.layer.name)

    def _take(self, call: RecordedCall, results: _Results) -> list[Call]:
        """Adds one recorded call, whose inputs are all there."""
        taken: list[Call] = []
        for tensor in call.tensors:
            made = results[tensor.made_by[:2]]
            index = tensor.made_by.tensor
            source = made[index] if index < len(made) else made[0] if made else None
            if source is None:
                continue
            source.records.append(tensor)
            if not tensor.is_mask:
                taken.append(source)
        return self._call(Call(call.layer, taken, call.arguments, call.places))

    def _call(self, call: Call) -> list[Call]:
        self._spend()
        called = call.layer.original or call.layer
        while called.class_name in WRAPPERS_OF_ONE_CALL and called.children:
            self._spend()
            called = called.children[0].original or called.children[0]
        if called.is_graph:
            return self.open(called, call.inputs)
        call.layer = called
        return [self._add(call)]

    def _spend(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise too_large(
                "Model: the models in it, which are shared, open up into far more "
                "calls than config.json has layers"
            )

    def _add(self, call: Call) -> Call:
        for source in call.inputs:
            source.consumers.append(call)
        self.calls.append(call)
        return call


def _unknown_tensor(model: LayerNode, what: str, name: str) -> SurgeryError:
    return SurgeryError(
        f"Model {model.name!r}: {what} {name!r}. Expected: a config.json as "
        "`model.save` writes it, in which every tensor is made by a layer. Save the "
        "model again with Keras."
    )


def _result(
    layer: LayerNode | None, name: str, number: int, results: _Results
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
