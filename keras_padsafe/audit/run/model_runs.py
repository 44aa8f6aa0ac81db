"""A model and a batch for it, run as often as an audit needs, nothing left behind."""

import random
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import to_numpy
from keras_padsafe.audit.run.record_calls import CallRecord, RecordCalls
from keras_padsafe.audit.run.timeline import Input
from keras_padsafe.audit.run.watch import Key, Observer, watch
from keras_padsafe.backends.running import own_random_state, start_random_numbers_at
from keras_padsafe.compat import random_states
from keras_padsafe.types import Tensor

Kept = TypeVar("Kept")
Values = Sequence[tuple[keras.Variable, Tensor]]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ModelRuns:
    """A model and a batch for it.

    Variables, BatchNorm statistics, seeds and compiled functions stay as they are. A
    model that was never built is built first, as its first call would do.
    """

    def __init__(
        self, model: keras.layers.Layer, batch: Any, training: bool = False
    ) -> None:
        self.model = model
        self.x = as_tensors(batch)
        self._training = training
        self._agrees: dict[Any, bool] = {}

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """The arrays of the batch, with their names."""
        found = []
        for path, leaf in keras.tree.flatten_with_path(self.x):
            is_tensor = keras.ops.is_tensor(leaf)
            array = to_numpy(leaf) if is_tensor else np.asarray(leaf)
            found.append(Input("/".join(map(str, path)) or "0", array))
        names = [tensor.name for tensor in getattr(self.model, "inputs", None) or []]
        if len(names) == len(found) and all(entry.name.isdigit() for entry in found):
            found = [Input(n, e.values) for n, e in zip(names, found, strict=True)]
        return tuple(found)

    def build(self, *observers: Observer) -> None:
        """Calls the model once, if it never was."""
        if not self.model.built:
            with watch(self.model, observers, None, self._agrees):
                self.model(self.x)

    def record(
        self,
        values: Sequence[np.ndarray] | None = None,
        *alters: Observer,
        keep: Callable[[CallRecord], Any] = lambda call: call,
        **options: Any,
    ) -> dict[Key, Any]:
        """The calls of one run, or what `keep` makes of each; the model's comes last.

        Alters may replace what goes into a call or comes out of it; else as `call`.
        """
        recorder = RecordCalls(keep)
        self.call(*alters, recorder, values=values, **options)
        return recorder.kept

    def refusal(
        self, *observers: Observer, values: Sequence[Any] | None = None
    ) -> str | None:
        """What the model says of a batch that it does not take; `None` if it does."""
        try:
            self.call(*observers, values=values)
        except Exception as error:  # Whatever a model of the user's raises.
            return what_was_said(error)
        return None

    def call(
        self,
        *observers: Observer,
        values: Sequence[Any] | None = None,
        only: Container[Key] | None = None,
        variables: Values = (),
        reseeded: int = 0,
        then: Callable[[Any], Any] = lambda outputs: outputs,
    ) -> Any:
        """Calls the model and lets observers see each call in it.

        Args:
            observers: What sees the calls.
            values: The arrays of the batch; by default its own.
            only: As `watch` takes it.
            variables: What some variables are taken to hold.
            reseeded: Another number draws other random numbers, where the model does.
            then: What to make of the outputs, before all is as it was again.
        """
        self.build()
        x = self.x
        if values is not None:
            x = keras.tree.pack_sequence_as(x, [*map(_as_before, values)])
        states = random_states(self.model) if reseeded else []
        seeds = [(state, state.value + reseeded) for state in states]
        with self.untouched([*seeds, *variables]):
            with watch(self.model, observers, only, self._agrees):
                if reseeded:
                    start_random_numbers_at(reseeded)
                outputs = self.model(x, training=self._training)
            return then(outputs)

    @contextmanager
    def untouched(self, variables: Values = ()) -> Iterator[None]:
        """While it lasts, no assignment reaches a Keras variable or a random state."""
        # Without a scope Keras reads a regularized weight itself, in one only here.
        every = self.model.variables
        regularized = [(v, v.value) for v in every if getattr(v, "regularizer", None)]
        python, numpy = random.getstate(), np.random.get_state()
        scope = keras.StatelessScope(
            state_mapping=[*regularized, *variables], collect_losses=True
        )
        with scope, own_random_state():
            try:
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)


def outputs_of(record: Mapping[Key, Kept]) -> Kept:
    """What was kept of the call of the model itself."""
    return list(record.values())[-1]


def what_was_said(error: Exception) -> str:
    """One line of what an error says; Keras's own first line says only where."""
    lines = [_COLOUR.sub("", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line] or [""]
    if lines[0].startswith("Exception encountered") and len(lines) > 1:
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0][:160]}"


def as_tensors(structure: Any) -> Any:
    """Numbers as tensors of the running backend; nested lists of numbers are arrays."""
    if isinstance(structure, dict):
        return {name: as_tensors(part) for name, part in structure.items()}
    leaves = keras.tree.flatten(structure)
    is_array = all(isinstance(leaf, (bool, int, float)) for leaf in leaves)
    if isinstance(structure, (list, tuple)) and not is_array:
        return type(structure)(as_tensors(part) for part in structure)
    if structure is None or keras.ops.is_tensor(structure):
        return structure
    return _as_before(np.asarray(structure))


def _as_before(value: Any) -> Any:
    # "V" is how NumPy sees bfloat16; text is for the layers that take it.
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufV":
        return keras.ops.convert_to_tensor(value)
    return value
