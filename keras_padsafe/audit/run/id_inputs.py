"""Which inputs of a model are looked up in which table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import to_numpy
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.watch import LayerCall, Observer


@dataclass(frozen=True)
class IdInput:
    """An input that goes, as it is, into a table.

    Attributes:
        name: Its key or number, if the model takes several inputs.
        ids: What it holds.
        input_dim: The rows of the table.
    """

    name: str | int | None
    ids: np.ndarray
    input_dim: int


def find_id_inputs(model: keras.layers.Layer, x: Any) -> list[IdInput]:
    """Runs a batch and sees which of its inputs reach a table unchanged.

    An id outside of the table may make the model raise; what was seen until then is
    returned all the same.
    """
    lookups, runs = _Lookups(), ModelRuns(model, x)
    try:
        runs.call(lookups)
    except Exception:
        if not lookups.found:
            return []
    found: list[IdInput] = []
    for name, value in _named(runs.x):
        if keras.ops.is_tensor(value):
            array = to_numpy(value)
            sizes = [size for ids, size in lookups.found if np.array_equal(ids, array)]
            found += [IdInput(name, array, min(sizes))] if sizes else []
    return found


def _named(x: Any) -> Iterable[tuple[str | int | None, Any]]:
    if isinstance(x, dict):
        return x.items()
    return enumerate(x) if isinstance(x, (list, tuple)) else [(None, x)]


class _Lookups(Observer):
    def __init__(self) -> None:
        self.found: list[tuple[np.ndarray, int]] = []

    def enter(self, call: LayerCall) -> None:
        input_dim = getattr(call.layer, "input_dim", None)
        if isinstance(input_dim, int) and len(call.inputs) == 1:
            self.found.append((to_numpy(call.inputs[0]), input_dim))
