"""Makes rows for a saved model, with and without padding."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.audit.mending.mask_flow import is_opaque
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.id_sources import sources_of_table

_ROWS, _STEPS = 8, 6
_OF_IDS = ("input_dim", "vocabulary_size")


@dataclass(frozen=True)
class SampleInput:
    """What one input of a model takes.

    Attributes:
        ids: How many ids there are; `None` for an input of values.
        pad: What stands for padding; `None` if nothing does.
    """

    ids: int | None
    pad: float | None


def read_sample_inputs(graph: Graph) -> dict[str, SampleInput]:
    """What each input takes, by name, as the calls of the model show."""
    sizes: dict[str, int] = {}
    pads: dict[str, float] = {}
    for call in graph.calls:
        size = _table_size(call)
        if size is not None:
            for source, _ in sources_of_table([call]):
                sizes[source.name] = min(size, sizes.get(source.name, size))
                pads |= _named(source.name, _pad_id(call.layer))
        elif call.inputs and call.inputs[0].layer.class_name == "InputLayer":
            pads |= _named(call.inputs[0].layer.name, _pad_value(call))
    return {
        name: SampleInput(sizes.get(name), pads.get(name)) for name in {**sizes, **pads}
    }


class RowSampler:
    """Makes a value for each input; the same seed makes the same ordinary rows.

    Args:
        inputs: What the inputs take.
        padded: Whether rows end in padding: by one step more from row to row.

    Attributes:
        has_padded: Whether there was an input of which it is known what pads it.
    """

    def __init__(self, inputs: dict[str, SampleInput], *, padded: bool) -> None:
        self._inputs = inputs
        self._padded = padded
        self.has_padded = False
        self._random = np.random.default_rng(0)

    def sample(self, name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
        """Values for one input."""
        size = tuple(
            dim if dim is not None else (_STEPS if axis else _ROWS)
            for axis, dim in enumerate(shape)
        )
        values, pad = self._ordinary(name, size, dtype)
        if self._padded and pad is not None and len(size) > 1:
            values[_padding(size[0], size[1])] = pad
            self.has_padded = True
        return values

    def _ordinary(
        self, name: str, size: tuple[int, ...], dtype: str
    ) -> tuple[np.ndarray, Any]:
        known = self._inputs.get(name)
        if known is not None and known.ids is not None:
            choice = [one for one in range(min(known.ids, 1000)) if one != known.pad]
            return self._random.choice(choice or [0], size).astype("int32"), known.pad
        if dtype == "bool" or "mask" in name:
            return np.ones(size, "bool" if dtype == "bool" else "int32"), 0
        if dtype == "string":
            return np.full(size, "word", object), None
        if dtype.startswith(("int", "uint")):
            return np.zeros(size, dtype), None
        values = self._random.normal(size=size).astype("float32")
        return values, None if known is None else known.pad


def _padding(rows: int, steps: int) -> np.ndarray:
    """Marks the last steps: none in the first row, all in the last."""
    real = np.round(np.linspace(steps, 0, rows)).astype(int)
    return np.arange(steps) >= real[:, None]


def _table_size(call: Call) -> int | None:
    """How many ids a call looks up, if it does."""
    layer = call.layer
    for key in _OF_IDS:
        size = layer.config.get(key)
        if isinstance(size, int) and size > 0:
            return size
    if not is_opaque(layer):
        return None
    # A class unknown that takes ids: no more than its smallest table has rows.
    rows = [
        a.shape[0]
        for node in layer.walk()
        for a in node.arrays.values()
        if len(a.shape) == 2
    ]
    return min(rows, default=None)


def _named(name: str, pad: float | None) -> dict[str, float]:
    return {} if pad is None else {name: pad}


def _pad_value(call: Call) -> float | None:
    """What stands for padding in an input that a call takes as it is."""
    if call.layer.class_name == "Masking":
        value = call.layer.config.get("mask_value", 0.0)
        return value if isinstance(value, int | float) else None
    if call.layer.class_name == "NaNMasking":
        return np.nan
    if call.layer.is_operation and call.layer.class_name == "NotEqual":
        return next((v for v in call.arguments.values() if isinstance(v, int)), None)
    return None


def _pad_id(layer: LayerNode) -> int | None:
    pad = layer.config.get("pad_id")
    if isinstance(pad, list | tuple):
        pad = pad[0] if pad else None
    if isinstance(pad, int):
        return pad
    return 0 if layer.config.get("mask_zero") or is_opaque(layer) else None
