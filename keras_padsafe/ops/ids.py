"""Ids: what counts as one, and what happens to those outside the table."""

from keras import backend, ops

from keras_padsafe.types import Tensor

_INT32_MIN = -(2**31)


def as_ids(ids: Tensor) -> Tensor:
    """Reads ids as int32 or int64 without turning a bad one into a good one.

    Keras hands layers floats when nobody said `dtype="int32"`. A plain cast makes
    NaN and infinity whatever the backend likes, row 0 included, and rounds -0.5
    to row 0. Here those become negative, so that they are seen for what they are.

    Args:
        ids: Tensor of integers, or of floats that hold integers.

    Returns:
        A tensor of the same shape, int64 if `ids` is, else int32.
    """
    ids = ops.convert_to_tensor(ids)
    dtype = backend.standardize_dtype(ids.dtype)
    if dtype in ("int32", "int64"):
        return ids
    if "float" in dtype:
        representable = ops.less(ops.abs(ids), 2.0**31)  # False for NaN
        ids = ops.where(representable, ops.floor(ids), float(_INT32_MIN))
    return ops.cast(ids, "int32")
