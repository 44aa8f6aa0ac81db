"""One batch through a model and its loss, as often as needed, nothing left behind."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.audit.run.run_model import as_tensors, left_as_it_is
from keras_padsafe.audit.run.watch import Observer, map_tensors, tensors_in, watch
from keras_padsafe.errors import AuditError
from keras_padsafe.types import Tensor

Values = Sequence[tuple[keras.Variable, Tensor]]
Loss = Callable[[Any, slice], Tensor]

EVERY_ROW = slice(None)


@dataclass(frozen=True)
class BatchRun:
    """A batch and how it is to be run.

    Attributes:
        model: The model.
        x: What it takes.
        loss: Takes the outputs and which rows of the batch they are of, returns the
            loss; `None` if there are no targets.
        targets: The targets and sample weights, by name.
        training: Whether layers such as Dropout behave as in training.
    """

    model: keras.layers.Layer
    x: Any
    loss: Loss | None
    targets: Any
    training: bool

    def __call__(
        self,
        observer: Observer,
        *,
        only: Container[int] | None = None,
        values: Values = (),
    ) -> tuple[Any, Tensor | None]:
        """Runs the batch under `observer`; returns the outputs and the loss.

        Args:
            observer: Sees each call inside the model.
            only: As `watch` takes it.
            values: What some variables are taken to hold meanwhile.
        """
        with left_as_it_is(self.model, values):
            with watch(self.model, observer, only):
                outputs = self.model(self.x, training=self.training)
            return outputs, None if self.loss is None else self.loss(outputs, EVERY_ROW)

    def loss_of(self, outputs: Any, rows: slice = EVERY_ROW) -> Tensor:
        """The loss of some outputs alone; there must be targets."""
        assert self.loss is not None
        with left_as_it_is(self.model):
            return self.loss(outputs, rows)


def make_batch_run(
    model: keras.layers.Layer,
    x: Any,
    y: Any,
    loss: Any,
    sample_weight: Any,
    training: bool,
) -> BatchRun:
    """Reads the arguments of `find_nonfinite`.

    Raises:
        AuditError: if targets were given and nothing says which loss they have.
    """
    x = as_tensors(x)
    if not tensors_in(x):
        kind = type(x).__name__
        raise AuditError(
            f"find_nonfinite: x holds no numbers. Expected one batch as the model "
            f"takes it: an array, or a list or dictionary of arrays. Received: {kind}. "
            "A data set is given batch by batch."
        )
    y, sample_weight = as_tensors(y), as_tensors(sample_weight)
    function = _loss_function(model, x, y, loss, sample_weight)
    targets = {"targets": y, "sample_weight": sample_weight}
    return BatchRun(model, x, function, targets, training)


def _loss_function(
    model: keras.layers.Layer, x: Any, y: Any, loss: Any, sample_weight: Any
) -> Loss | None:
    if y is None:
        if loss is not None:
            raise AuditError(
                "find_nonfinite: a loss was given, and no targets. Expected: y, the "
                "targets of the batch. Give y, or leave loss out."
            )
        return None
    if loss is not None:
        function = keras.losses.get(loss)

        def given(outputs: Any, rows: slice) -> Tensor:
            of_rows, weights = _rows(y, rows), _rows(sample_weight, rows)
            named = {} if weights is None else {"sample_weight": weights}
            return keras.ops.mean(function(of_rows, outputs, **named))

        return given
    if not getattr(model, "compiled", False):
        raise AuditError(
            f"find_nonfinite: targets were given, but {model.name} was not compiled, "
            "so that their loss is not known. Compile the model, or give loss=, a "
            'Keras loss or its name, such as "mse".'
        )

    def compiled(outputs: Any, rows: slice) -> Tensor:
        return model.compute_loss(
            _rows(x, rows), _rows(y, rows), outputs, _rows(sample_weight, rows)
        )

    return compiled


def _rows(structure: Any, rows: slice) -> Any:
    if rows == EVERY_ROW:
        return structure
    return map_tensors(lambda tensor: tensor[rows], structure)
