"""The calls of a model, in whatever order config.json lists its layers."""

import time
from typing import Any

from keras_padsafe.saved_model.graph import Graph, read_graph
from keras_padsafe.saved_model.layer_node import LayerNode

from .reference import only_once

pytestmark = only_once
LAYERS = 2_000


def _layer(number: int) -> dict[str, Any]:
    history = [f"layer_{number - 1}", 0, 0]
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": history}}
    return {
        "class_name": "Dense" if number else "InputLayer",
        "config": {"name": f"layer_{number}"},
        "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if number else [],
    }


def _read(layers: list[dict[str, Any]]) -> Graph:
    model = {
        "name": "chain",
        "layers": layers,
        "input_layers": [["layer_0", 0, 0]],
        "output_layers": [[f"layer_{LAYERS - 1}", 0, 0]],
    }
    root = LayerNode((), {"class_name": "Functional", "config": model})
    root.children = [
        LayerNode(("config", "layers", index), layer, root)
        for index, layer in enumerate(layers)
    ]
    return read_graph(root)


def test_order_of_the_layers_does_not_matter() -> None:
    """Nor does it cost time: recorded last to first, a call waits for one other."""
    layers = [_layer(number) for number in range(LAYERS)]
    started = time.process_time()
    forwards, backwards = _read(layers), _read(layers[::-1])
    assert time.process_time() - started < 3
    names = [f"layer_{number}" for number in range(LAYERS)]
    assert [call.layer.name for call in forwards.calls] == names
    assert [call.layer.name for call in backwards.calls] == names
    assert [call.layer.name for call in backwards.outputs] == names[-1:]
