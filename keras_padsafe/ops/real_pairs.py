"""Targets and predictions of which only what is real may be compared."""

import re
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_padsafe.backends.running import are_at_hand, is_staged
from keras_padsafe.compat import compiles_for_xla, get_keras_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import align_mask, as_bool_mask, combine_masks, of_rank
from keras_padsafe.ops.take_rows import take_rows
from keras_padsafe.types import Tensor

# No loss or metric of Keras finds fault with a prediction of one half: it is a
# probability, a logit, and the sum of several of it can be divided by.
_HARMLESS_PREDICTION = 0.5


# Each of these makes one value of one position and looks at no other.
_OF_NUMBERS = {
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "hinge",
    "huber",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
}
# What these compare is a vector, and so their label is one: a position is padding if
# the vector is made of pad labels. For all others each number is a label.
_OF_VECTORS = {
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "kl_divergence",
    "top_k_categorical_accuracy",
}


class Pairs(NamedTuple):
    """Targets and predictions, and which of them are real.

    Attributes:
        y_true: Targets.
        y_pred: Predictions. They have one axis more than the mask, or several: losses
            average over the last one.
        mask: A tensor of which the axes are the first of both, or 1; `None` if all is
            real.
    """

    y_true: Tensor
    y_pred: Tensor
    mask: Any


def compares_vectors(loss_or_metric: Any) -> bool:
    """Whether a loss or metric of Keras compares whole vectors of the last axis."""
    name = getattr(loss_or_metric, "name", "")
    return bool({_function_name(loss_or_metric), name} & _OF_VECTORS)


def compares_positions(loss: Any, pairs: Pairs) -> bool:
    """Whether a loss makes a value of each position, and looks at no other there."""
    kind = loss if hasattr(loss, "__name__") else type(loss)
    is_stock = kind.__module__.split(".")[0] == "keras"
    known = _function_name(loss) in _OF_NUMBERS | _OF_VECTORS
    axis = loss.get_config().get("axis", -1) if hasattr(loss, "get_config") else -1
    leading = len(pairs.y_pred.shape) - 1
    alike = tuple(pairs.y_true.shape[:leading]) == tuple(pairs.y_pred.shape[:leading])
    return is_stock and known and axis == -1 and alike


def read_pairs(
    y_true: Tensor, y_pred: Tensor, pad_label: int | float | None, vectors: bool = False
) -> Pairs:
    """Finds what is real by a mask or a pad label.

    Args:
        y_true: Targets.
        y_pred: Predictions, with or without the mask that Keras attaches.
        pad_label: The label that means "nothing here", or `None`. NaN will do.
        vectors: Whether a label is the whole of the last axis.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    mask = get_keras_mask(y_pred)
    if mask is not None:
        mask = _without_last_of_one(as_bool_mask(mask, "y_pred mask"), y_pred)
    if pad_label is not None:
        labelled = _is_other(y_true, pad_label)
        if vectors and len(y_true.shape) == len(y_pred.shape):
            labelled = ops.any(labelled, axis=-1)
        mask = _both(mask, _without_last_of_one(labelled, y_pred))
    if mask is None:
        return Pairs(y_true, y_pred, None)
    if len(mask.shape) == len(y_pred.shape):
        y_true, y_pred = ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1)
    elif len(y_true.shape) < len(y_pred.shape) and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    return Pairs(y_true, y_pred, mask)


def hide_padding(pairs: Pairs) -> Pairs:
    """Puts harmless values where nothing is real."""
    y_true, y_pred, mask = pairs
    if mask is None:
        return pairs
    y_true = hide(y_true, align_mask(mask, y_true))
    y_pred = hide(y_pred, align_mask(mask, y_pred), _HARMLESS_PREDICTION)
    return Pairs(y_true, y_pred, mask)


def can_take(pairs: Pairs) -> bool:
    """Whether the real positions may be taken out, however many there are."""
    backend = keras.backend.backend()
    if backend == "torch":
        return are_at_hand(pairs)
    return backend == "tensorflow" and not compiles_for_xla()


def take_real(mask: Any, *tensors: Tensor) -> list[Tensor]:
    """The real positions of tensors, as rows.

    Args:
        mask: True is real.
        tensors: Their first axes are those of the mask.
    """
    rank = len(mask.shape)
    rows = [ops.reshape(x, (-1, *x.shape[rank:])) for x in tensors]
    if not is_staged(mask) and ops.all(mask):
        return rows
    (numbers,) = ops.nonzero(ops.reshape(mask, (-1,)))
    if keras.backend.backend() == "torch":
        # Keras would look them up as in an embedding, whose gradient is slow.
        return [x.index_select(0, numbers) for x in rows]
    return [take_rows(x, numbers) for x in rows]


def _function_name(loss_or_metric: Any) -> str:
    name = getattr(loss_or_metric, "__name__", None) or type(loss_or_metric).__name__
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=KL)", "_", name).lower()


def _both(mask: Tensor | None, labelled: Tensor) -> Tensor:
    """Combines two masks whose first axes agree: a label may be of many numbers."""
    if mask is None:
        return labelled
    rank = max(len(mask.shape), len(labelled.shape))
    return combine_masks(of_rank(mask, rank), of_rank(labelled, rank))


def _is_other(labels: Tensor, pad_label: int | float) -> Tensor:
    if pad_label != pad_label:  # NaN, which equals nothing
        return ops.logical_not(ops.isnan(labels))
    return ops.not_equal(labels, ops.cast(pad_label, labels.dtype))


def _without_last_of_one(mask: Tensor, y_pred: Tensor) -> Tensor:
    """Drops an axis of labels, `(batch, time, 1)`, that predictions lack."""
    ranks_agree = len(mask.shape) == len(y_pred.shape)
    if ranks_agree and mask.shape[-1] == 1 and y_pred.shape[-1] != 1:
        return ops.squeeze(mask, -1)
    return mask
