"""Everything that a training step may change in a model."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


class TrainingState:
    """The variables of a model, its optimizers and its metrics.

    They stand in the order in which JAX hands them to a training step. A variable is
    watched if it may not become infinite or NaN: weights, statistics and slots of a
    float dtype. A constant that is infinite by design is not watched, nor are
    metrics, which may divide by zero as they like.

    Attributes:
        watched: Whether each of the variables is watched.
        lost: The paths of those that are not finite to begin with, and should be.
        late_metrics: Metrics whose variables were made, unread, in the first step.
    """

    def __init__(self, model: Any) -> None:
        self.variables: list[Any] = []
        self.watched: list[bool] = []
        self.lost: list[str] = []
        self.late_metrics: list[Any] = []
        # On JAX a training step has no other optimizer, and makes no variables.
        functional = keras.backend.backend() == "jax"
        owners = [model.optimizer] if functional else _owners_in(model)
        self._unbuilt = [o for o in owners if not getattr(o, "built", True)]
        self.add_weights(model)
        for owner in owners:
            if not isinstance(owner, keras.metrics.Metric):
                for variable in owner.variables:
                    self._append_checked(variable)
        for variable in model.metrics_variables:
            self._append(variable, watched=False)

    def watched_of(self, values: Iterable[Any]) -> list[Any]:
        """Those of some values, one a variable, that belong to the watched ones."""
        return [x for x, watch in zip(values, self.watched, strict=True) if watch]

    def new_weights(self, model: Any) -> list[Any]:
        """The weights of a model that were made since."""
        known = {id(variable) for variable in self.variables}
        every = model.trainable_variables + model.non_trainable_variables
        return [variable for variable in every if id(variable) not in known]

    def add_weights(self, model: Any) -> None:
        """Adds the weights of a model that are new."""
        for variable in self.new_weights(model):
            self._append_checked(variable, may_be_constant=not variable.trainable)

    def _append(self, variable: Any, watched: bool = True) -> None:
        self.variables.append(variable)
        is_float = keras.backend.is_float_dtype(variable.dtype)
        self.watched.append(watched and is_float)

    def _append_checked(self, variable: Any, may_be_constant: bool = False) -> None:
        is_float = keras.backend.is_float_dtype(variable.dtype)
        finite = not is_float or bool(ops.all(ops.isfinite(variable)))
        if not finite and (not may_be_constant or bool(ops.any(ops.isnan(variable)))):
            self.lost.append(variable.path)
        self._append(variable, watched=finite or not may_be_constant)

    @contextmanager
    def copied(self, copy: Callable[[Any], Any]) -> Iterator[list[Any]]:
        """Copies of all values, with those that a first step makes, as they begin."""
        copies = [copy(variable.value) for variable in self.variables]

        def noted(owner: Any) -> Callable[..., None]:
            build, known = owner.build, {id(v) for v in owner.variables}
            watched = not isinstance(owner, keras.metrics.Metric)

            def build_and_note(*args: Any) -> None:
                build(*args)
                for variable in owner.variables:
                    if id(variable) not in known:
                        self._append(variable, watched)
                        copies.append(copy(variable.value))

            return build_and_note

        unbuilt = [owner for owner in self._unbuilt if not owner.built]
        for owner in unbuilt:
            owner.build = noted(owner)
        try:
            yield copies
        finally:
            for owner in unbuilt:
                del owner.build

    def add_late_metrics(self, model: Any) -> None:
        """Adds the metrics that made variables in this step without saying so."""
        known = {id(variable) for variable in self.variables}
        for metric in model.metrics:
            new = [v for v in metric.variables if id(v) not in known]
            for variable in new:
                self._append(variable, watched=False)
            if new:
                self.late_metrics.append(metric)


def _owners_in(model: Any) -> list[Any]:
    """Returns the optimizers and metrics that a model or one of its layers holds."""
    found, seen, to_see = [], set(), [model]
    while to_see:
        thing = to_see.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, keras.optimizers.Optimizer | keras.metrics.Metric):
            found.append(thing)
        elif isinstance(thing, keras.layers.Layer):
            to_see.extend(vars(thing).values())
        elif isinstance(thing, dict):
            to_see.extend(thing.values())
        elif isinstance(thing, list | tuple):
            to_see.extend(thing)
    return found
