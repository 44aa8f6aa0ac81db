"""One batch through a model and its loss."""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import to_numpy
from keras_padsafe.audit.run.model_runs import ModelRuns, Values, as_tensors
from keras_padsafe.audit.run.watch import (
    Key,
    LayerCall,
    Moment,
    Observer,
    Spot,
    map_tensors,
    tensors_in,
)
from keras_padsafe.backends.running import is_staged
from keras_padsafe.compat import labels_pass
from keras_padsafe.errors import AuditError
from keras_padsafe.types import Tensor

_EVERY_ROW = slice(None)


class BatchRun(ModelRuns):
    """A batch with its targets, as `find_nonfinite` takes them.

    Attributes:
        labels: What the loss was given for labels and for how many classes, once it ran
            and some of them are of none.

    Raises:
        AuditError: if targets were given and nothing says which loss they have.
    """

    def __init__(
        self,
        model: keras.layers.Layer,
        x: Any,
        y: Any,
        loss: Any,
        sample_weight: Any,
        training: bool,
    ) -> None:
        super().__init__(model, x, training)
        if not tensors_in(self.x):
            kind = type(self.x).__name__
            raise AuditError(
                "find_nonfinite: x holds no numbers. Expected: one batch as the "
                "model takes it, an array, or a list or dictionary of arrays. "
                f"Received: {kind}. Pass a data set batch by batch."
            )
        self._y, self._weights = as_tensors(y), as_tensors(sample_weight)
        for name, part in (("y", self._y), ("sample_weight", self._weights)):
            counts = {_count(self.x), _count(part)} - {None}
            if len(counts) > 1:
                raise AuditError(
                    f"find_nonfinite: {name}: expected as many rows as x has, "
                    f"{_count(self.x)}; received {_count(part)}."
                )
        self.targets = {"targets": self._y, "sample_weight": self._weights}
        self.has_loss = y is not None
        self.labels: tuple[np.ndarray, int] | None = None
        self._given = self._read_loss(loss)

    @property
    def trainable(self) -> list[keras.Variable]:
        """The weights that training moves."""
        return list(self.model.trainable_variables)

    def __call__(
        self,
        *observers: Observer,
        only: Container[Key] | None = None,
        variables: Values = (),
    ) -> tuple[Any, Tensor | None]:
        """Runs the batch; returns the outputs and, if there are targets, the loss."""

        def then(outputs: Any) -> tuple[Any, Tensor | None]:
            return outputs, self._loss(outputs) if self.has_loss else None

        return self.call(*observers, only=only, variables=variables, then=then)

    def kept(
        self, spot: Spot, *changed: Observer, variables: Values = ()
    ) -> list[Tensor]:
        """The tensors at one spot of a run that may be changed."""
        kept: list[Tensor] = []

        def at(call: LayerCall, moment: Moment, structure: Any) -> None:
            if (call.index, moment) == spot:
                kept.extend(tensors_in(structure))

        self(*changed, at, variables=variables)
        return kept

    def loss_of(self, outputs: Any, rows: slice = _EVERY_ROW) -> Tensor:
        """The loss of some outputs alone; there must be targets."""
        with self.untouched():
            return self._loss(outputs, rows)

    def _read_loss(self, loss: Any) -> Callable[..., Any] | None:
        """The loss that was given; `None` stands for that of the compiled model."""
        model, y = self.model, self._y
        if y is None and loss is not None:
            raise AuditError(
                "find_nonfinite: received a loss, but no targets. Expected: y, the "
                "targets of the batch. Pass y, or leave loss out."
            )
        if y is not None and loss is None and not getattr(model, "compiled", False):
            raise AuditError(
                f"find_nonfinite: received targets, but {model.name} is not "
                "compiled, so the loss is not known. Compile the model, or pass "
                "loss=, a Keras loss or its name, such as 'mse'."
            )
        try:
            return None if loss is None else keras.losses.get(loss)
        except (TypeError, ValueError) as error:
            raise AuditError(
                "find_nonfinite: loss: expected a Keras loss, its name, or a function "
                f"of targets and outputs; received {loss!r:.60}."
            ) from error

    def _loss(self, outputs: Any, rows: slice = _EVERY_ROW) -> Tensor:
        batch = self.x, self._y, outputs, self._weights
        if rows != _EVERY_ROW:
            batch = map_tensors(lambda tensor: tensor[rows], batch)
        x, y, outputs, weights = batch
        with labels_pass(self._within):
            if self._given is None:
                model: Any = self.model
                return model.compute_loss(x, y, outputs, weights)
            named = {} if weights is None else {"sample_weight": weights}
            return keras.ops.mean(self._given(y, outputs, **named))

    def _within(self, labels: Any, classes: int) -> Any:
        """Labels, with 0 for what is none: there backends raise, or give NaN or 0."""
        if is_staged(labels):
            return labels
        array = to_numpy(keras.ops.convert_to_tensor(labels))
        inside = (array >= 0) & (array < classes)
        if inside.all():
            return labels
        if self.labels is None:
            self.labels = array, classes
        return keras.ops.convert_to_tensor(np.where(inside, array, 0))


@contextmanager
def unrolled(layers: Iterable[keras.layers.RNN]) -> Iterator[None]:
    """While it lasts, these layers loop in Python, so that each step is seen."""
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(mock.patch.object(layer, "unroll", True))
        yield


def _count(structure: Any) -> int | None:
    """How many rows there are, if all tensors have as many."""
    shapes = [tensor.shape for tensor in tensors_in(structure)]
    sizes = {shape[0] if shape else None for shape in shapes}
    return sizes.pop() if len(sizes) == 1 else None
