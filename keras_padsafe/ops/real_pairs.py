"""Targets and predictions of which only what is real may be compared."""

import re
from typing import Any

from keras import ops

from keras_padsafe.compat import get_keras_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import align_mask, as_bool_mask, combine_masks
from keras_padsafe.types import Tensor

# No loss or metric of Keras finds fault with a prediction of one half: it is a
# probability, a logit, and the sum of several of it can be divided by.
_HARMLESS_PREDICTION = 0.5


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


def compares_vectors(loss_or_metric: Any) -> bool:
    """Whether a loss or metric of Keras compares whole vectors of the last axis."""
    function = getattr(loss_or_metric, "__name__", "")
    class_name = re.sub(
        "(?<=[a-z])(?=[A-Z])|(?<=KL)", "_", type(loss_or_metric).__name__
    )
    names = {function, class_name.lower(), getattr(loss_or_metric, "name", "")}
    return bool(names & _OF_VECTORS)


def real_pairs(
    y_true: Tensor, y_pred: Tensor, pad_label: int | float | None, vectors: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Puts harmless values where a mask or a pad label says that nothing is.

    Args:
        y_true: Targets.
        y_pred: Predictions, with or without the mask that Keras attaches.
        pad_label: The label that means "nothing here", or `None`. NaN will do.
        vectors: Whether a label is the whole of the last axis.

    Returns:
        The targets, the predictions, and the mask, `None` if there is none. The
        predictions have one axis more than the mask, or several: losses average
        over the last one.
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
        return y_true, y_pred, None
    if len(mask.shape) == len(y_pred.shape):
        y_true, y_pred = ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1)
    elif len(y_true.shape) < len(y_pred.shape) and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    y_true = hide(y_true, align_mask(mask, y_true))
    y_pred = hide(y_pred, align_mask(mask, y_pred), _HARMLESS_PREDICTION)
    return y_true, y_pred, mask


def _both(mask: Tensor | None, labelled: Tensor) -> Tensor:
    """Combines two masks whose first axes agree: a label may be of many numbers."""
    if mask is None:
        return labelled
    rank = max(len(mask.shape), len(labelled.shape))
    mask, labelled = (
        given[(..., *(None,) * (rank - len(given.shape)))] for given in (mask, labelled)
    )
    return combine_masks(mask, labelled)


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
