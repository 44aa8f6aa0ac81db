"""Which inputs of a model are looked up in which table, and which ids have no row."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.record_calls import CallRecord, Record, RecordCalls
from keras_padsafe.errors import PadsafeError


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
    recorder, runs = RecordCalls(), ModelRuns(model, x)
    runs.refusal(recorder)
    calls = [*recorder.kept.values(), *recorder.unfinished.values()]
    calls = [call for call in calls if len(call.inputs) == 1]
    taken = [(c.inputs[0].array, getattr(c.layer, "input_dim", None)) for c in calls]
    tables = [(ids, size) for ids, size in taken if isinstance(size, int)]
    found: list[tuple[str | None, np.ndarray, int]] = []
    for entry in runs.inputs:
        sizes = [size for ids, size in tables if np.array_equal(ids, entry.values)]
        name = entry.name if len(runs.inputs) > 1 else None
        found += [(name, entry.values, min(sizes))] if sizes else []
    return found


def own_record(runs: ModelRuns, error: type[PadsafeError]) -> Record:
    """The calls of the batch as it is.

    Raises:
        PadsafeError: of this kind, if a table has no row for an id. Where nothing is
            raised then, NaN comes out.
    """
    building, recorder = RecordCalls(keep=lambda call: None), RecordCalls()
    try:
        runs.build(building)
        runs.call(recorder, values=[entry.values for entry in runs.inputs])
    except Exception as raised:
        open_calls = building.unfinished | recorder.unfinished
        for call in list(open_calls.values())[-1:]:
            _refuse_ids(call, error, raised)
        raise
    for call in recorder.kept.values():
        if any(v.is_float and np.isnan(v.array).any() for v in call.outputs):
            _refuse_ids(call, error)
    return recorder.kept


def without_row(
    layer: keras.Operation, arrays: Iterable[np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray] | None:
    """How many rows a layer's table has, the first ids, and which of them it lacks."""
    sizes = [v.shape[0] for v in getattr(layer, "variables", ()) if len(v.shape) == 2]
    if not sizes:
        return None
    rows = getattr(layer, "input_dim", None) or max(sizes)
    # A Sequential model without an Input hands ids on as floats.
    kinds = "iuf" if isinstance(layer, keras.layers.Embedding) else "iu"
    for array in arrays:
        if array.dtype.kind in kinds and np.isfinite(array).all():
            ids = array.astype("int64")
            outside = (ids >= rows) | (ids < -rows)
            if outside.any():
                return int(rows), ids, outside
    return None


def _refuse_ids(
    call: CallRecord, error: type[PadsafeError], raised: Exception | None = None
) -> None:
    found = without_row(call.layer, [value.array for value in call.inputs])
    if found is not None:
        rows, ids, outside = found
        first = ", ".join(map(str, np.argwhere(outside)[0]))
        raise error(
            f"batch: expected ids of the {rows} rows of '{call.path}' "
            f"({call.class_name}); received {int(outside.sum())} of {ids.size} that it "
            f"has no row for, the first at [{first}]. Map them to ids that it has, or "
            "add rows with keras_padsafe.surgery.grow. keras_padsafe.audit.check_ids "
            "finds such ids in your data."
        ) from raised
