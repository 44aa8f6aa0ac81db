"""Targets and predictions of which only what is real may be compared."""

from keras import backend, ops

from keras_padsafe.compat import get_keras_mask
from keras_padsafe.ops.masks import align_mask, as_bool_mask, combine_masks
from keras_padsafe.types import Tensor

# No loss or metric of Keras finds fault with a prediction of one half: it is a
# probability, a logit, and the sum of several of it can be divided by.
_HARMLESS_PREDICTION = 0.5


def real_pairs(
    y_true: Tensor, y_pred: Tensor, pad_label: int | float | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Puts harmless values where a mask or a pad label says that nothing is.

    Args:
        y_true: Targets.
        y_pred: Predictions, with or without the mask that Keras attaches.
        pad_label: The label that means "nothing here", or `None`.

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
        labelled = ops.not_equal(y_true, ops.cast(pad_label, y_true.dtype))
        mask = combine_masks(mask, _without_last_of_one(labelled, y_pred))
    if mask is None:
        return y_true, y_pred, None
    if len(mask.shape) == len(y_pred.shape):
        y_true, y_pred = ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1)
    elif len(y_true.shape) < len(y_pred.shape) and y_pred.shape[-1] == 1:
        y_true = ops.expand_dims(y_true, -1)
    y_true = ops.where(align_mask(mask, y_true), y_true, ops.zeros_like(y_true))
    harmless = ops.cast(_HARMLESS_PREDICTION, backend.standardize_dtype(y_pred.dtype))
    y_pred = ops.where(align_mask(mask, y_pred), y_pred, harmless)
    return y_true, y_pred, mask


def _without_last_of_one(mask: Tensor, y_pred: Tensor) -> Tensor:
    """Drops an axis of labels, `(batch, time, 1)`, that predictions lack."""
    ranks_agree = len(mask.shape) == len(y_pred.shape)
    if ranks_agree and mask.shape[-1] == 1 and y_pred.shape[-1] != 1:
        return ops.squeeze(mask, -1)
    return mask
