"""Which inputs of a model are looked up in which table."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import to_numpy
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.watch import LayerCall, Observer


def find_id_inputs(
    model: keras.layers.Layer, x: Any
) -> list[tuple[str | None, np.ndarray, int]]:
    """Runs a batch and sees which of its inputs reach a table unchanged.

    An id outside of the table may make the model raise; what was seen until then is
    returned all the same.

    Returns:
        The name of each such input, `None` if there is but one; its ids; and the rows
        of the table.
    """
    lookups, runs = _Lookups(), ModelRuns(model, x)
    runs.refusal(lookups)
    found: list[tuple[str | None, np.ndarray, int]] = []
    for entry in runs.inputs:
        ids = entry.values
        sizes = [size for seen, size in lookups.found if np.array_equal(seen, ids)]
        name = entry.name if len(runs.inputs) > 1 else None
        found += [(name, ids, min(sizes))] if sizes else []
    return found


class _Lookups(Observer):
    def __init__(self) -> None:
        self.found: list[tuple[np.ndarray, int]] = []

    def enter(self, call: LayerCall) -> None:
        input_dim = getattr(call.layer, "input_dim", None)
        if isinstance(input_dim, int) and len(call.inputs) == 1:
            self.found.append((to_numpy(call.inputs[0]), input_dim))
