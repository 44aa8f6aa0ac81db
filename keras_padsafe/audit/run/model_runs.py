"""Running a model on a padded batch, as often as an audit needs."""

import re
import warnings
from collections.abc import Container, Sequence
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.backends import start_random_numbers_at
from keras_padsafe.audit.run.record_calls import (
    Alter,
    CallRecord,
    Record,
    RecordCalls,
    is_float,
)
from keras_padsafe.audit.run.run_model import as_tensors, left_as_it_is
from keras_padsafe.audit.run.timeline import Input
from keras_padsafe.audit.run.watch import Observer, watch

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ModelRuns:
    """A model and the structure of its batch.

    Args:
        model: The model; built by a first call if it never was.
        batch: What it takes.
    """

    def __init__(self, model: keras.layers.Layer, batch: Any) -> None:
        self.model = model
        self._structure = as_tensors(batch)
        self.inputs = tuple(_inputs(model, self._structure))
        if not model.built:
            model(self._structure)

    def record(
        self,
        values: Sequence[np.ndarray],
        alter: Alter | None = None,
        given: Alter | None = None,
        reseeded: int = 0,
    ) -> Record:
        """The calls of one run; the last is that of the model.

        Args:
            values: The arrays of the batch.
            alter: May replace what comes out of a call.
            given: May replace what goes into one.
            reseeded: Another number draws other random numbers, where the model does.
        """
        recorder = RecordCalls(alter, given)
        self.call(values, recorder, reseeded=reseeded)
        return recorder.record

    def record_until_error(
        self, values: Sequence[np.ndarray]
    ) -> tuple[Record, str | None]:
        """The calls of a run that the model may refuse, and what it said then."""
        recorder = RecordCalls()
        try:
            self.call(values, recorder)
        except Exception as error:  # Whatever a model of the user's raises.
            return recorder.record, what_was_said(error)
        return recorder.record, None

    def call(
        self,
        values: Sequence[Any],
        observer: Observer,
        only: Container[int] | None = None,
        reseeded: int = 0,
    ) -> Any:
        """Calls the model and lets `observer` see each call in it."""
        x = keras.tree.pack_sequence_as(
            self._structure, [_as_before(value) for value in values]
        )
        with (
            left_as_it_is(self.model, self._seeds(reseeded)),
            watch(self.model, observer, only),
            warnings.catch_warnings(),
        ):
            # What becomes of a mask that is dropped is what the audit finds.
            warnings.filterwarnings("ignore", message=".*destroy the mask information")
            if reseeded:
                start_random_numbers_at(reseeded)
            return self.model(x, training=False)

    def _seeds(self, added: int) -> list[tuple[keras.Variable, Any]]:
        if not added:
            return []
        return [
            (variable, variable.value + added)
            for variable in self.model.variables
            if "seed_generator_state" in variable.path
        ]


def outputs_of(record: Record) -> CallRecord:
    """The call of the model itself."""
    return list(record.values())[-1]


def _as_before(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufV":
        return keras.ops.convert_to_tensor(value)
    return value


def _inputs(model: keras.layers.Layer, structure: Any) -> list[Input]:
    found = []
    for path, leaf in keras.tree.flatten_with_path(structure):
        name = "/".join(map(str, path)) or "0"
        found.append(Input(name, _to_array(leaf)))
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    numbered = all(entry.name.isdigit() for entry in found)
    if numbered and len(names) == len(found):
        return [Input(n, entry.values) for n, entry in zip(names, found, strict=True)]
    return found


def _to_array(leaf: Any) -> np.ndarray:
    if not keras.ops.is_tensor(leaf):
        return np.asarray(leaf)
    if is_float(leaf) and "64" not in str(leaf.dtype):
        # NumPy has no bfloat16; the model casts its inputs again.
        leaf = keras.ops.cast(leaf, "float32")
    return keras.ops.convert_to_numpy(leaf)


def what_was_said(error: Exception) -> str:
    """One line of what an error says; Keras's own first line says only where."""
    lines = [_COLOUR.sub("", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [""]
    if lines[0].startswith("Exception encountered") and len(lines) > 1:
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0][:160]}"
