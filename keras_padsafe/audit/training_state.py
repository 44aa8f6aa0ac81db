"""Everything that a training step may change in a model."""

from collections.abc import Callable, Iterator
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

    Args:
        model: A built model.

    Attributes:
        variables: The variables.
        watched: Whether each of them is watched.
        lost: The paths of those that are not finite to begin with, and should be.
    """

    def __init__(self, model: Any) -> None:
        self.variables: list[Any] = []
        self.watched: list[bool] = []
        self.lost: list[str] = []
        # On JAX a training step has no other optimizer.
        functional = keras.backend.backend() == "jax"
        self._optimizers = [model.optimizer] if functional else _optimizers_of(model)
        for variable in model.trainable_variables + model.non_trainable_variables:
            self._append_checked(variable, may_be_constant=not variable.trainable)
        for optimizer in self._optimizers:
            for variable in optimizer.variables:
                self._append_checked(variable)
        for variable in model.metrics_variables:
            self._append(variable, watched=False)

    @property
    def names(self) -> list[str]:
        """The paths of the watched variables."""
        pairs = zip(self.variables, self.watched, strict=True)
        return [variable.path for variable, watched in pairs if watched]

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
    def noting_new_slots(self, note: Callable[[Any], None]) -> Iterator[None]:
        """Adds the slots that an optimizer makes in its first step.

        Args:
            note: Called with each new variable before anything is written to it.
        """

        def noted(optimizer: Any) -> Callable[[Any], None]:
            build, known = optimizer.build, {id(v) for v in optimizer.variables}

            def build_and_note(variables: Any) -> None:
                build(variables)
                for variable in optimizer.variables:
                    if id(variable) not in known:
                        self._append(variable)
                        note(variable)

            return build_and_note

        unbuilt = [o for o in self._optimizers if not o.built]
        for optimizer in unbuilt:
            optimizer.build = noted(optimizer)
        try:
            yield
        finally:
            for optimizer in unbuilt:
                del optimizer.build


def _optimizers_of(model: Any) -> list[Any]:
    """Returns every optimizer that a model or one of its layers holds."""
    found, seen, to_see = [], set(), [model]
    while to_see:
        thing = to_see.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, keras.optimizers.Optimizer):
            found.append(thing)
        elif isinstance(thing, keras.layers.Layer):
            to_see.extend(vars(thing).values())
        elif isinstance(thing, dict):
            to_see.extend(thing.values())
        elif isinstance(thing, list | tuple):
            to_see.extend(thing)
    return found
