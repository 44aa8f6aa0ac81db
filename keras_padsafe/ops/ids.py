"""Ids: what counts as one, and what happens to those outside the table."""

import operator
from collections.abc import Iterable
from numbers import Integral

import numpy as np
from keras import backend, ops

from keras_padsafe.errors import PadsafeError
from keras_padsafe.ops.raising import raise_if
from keras_padsafe.types import Tensor

_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


def as_ids(ids: Tensor) -> Tensor:
    """Reads ids as int32 or int64 without turning a bad one into a good one.

    Keras hands layers floats when nobody said `dtype="int32"`. A plain cast makes
    NaN and infinity whatever the backend likes, row 0 included, and rounds -0.5
    to row 0. Here those become negative, so that they are seen for what they are.

    Numbers too big for the result, int64 on JAX among them, become negative too. A
    tensor of JAX has lost their high bits before it comes here.

    Args:
        ids: Tensor of integers, or of floats that hold integers.

    Returns:
        A tensor of the same shape, int64 if `ids` is and the backend has it, else
        int32.
    """
    if not ops.is_tensor(ids) and not backend.is_keras_tensor(ids):
        ids = _without_huge(np.asarray(ids))
    # A dense symbolic tensor stays itself: a conversion is a box in a plot.
    if not backend.is_keras_tensor(ids) or ids.sparse:
        ids = ops.convert_to_tensor(ids, sparse=False)
    dtype = backend.standardize_dtype(ids.dtype)
    if dtype in ("int32", "int64"):
        return ids
    if "float" in dtype:
        representable = ops.less(ops.abs(ids), 2.0**31)  # False for NaN
        ids = ops.where(representable, ops.floor(ids), float(_INT32_MIN))
    if dtype in ("uint32", "uint64"):
        huge = ops.greater(ids, _INT32_MAX)
        return ops.where(huge, _INT32_MIN, ops.cast(ids, "int32"))
    return ops.cast(ids, "int32")


def as_pad_ids(pad_id: int | Iterable[int]) -> tuple[int, ...]:
    """Returns one pad id, or several, as a tuple of Python integers."""
    several = pad_id if isinstance(pad_id, Iterable) else (pad_id,)
    pad_ids = tuple(operator.index(pad) for pad in several)
    if any(not _INT32_MIN < pad <= _INT32_MAX for pad in pad_ids):
        raise PadsafeError(
            f"A pad id must lie between -2**31 and 2**31. Received: {pad_ids}."
        )
    return pad_ids


def apply_out_of_range(
    ids: Tensor,
    input_dim: int,
    policy: str | int = "raise",
    pad_id: int | Iterable[int] = (),
    name: str = "the table",
) -> Tensor:
    """Settles the ids that no row of a table answers to.

    Pad ids are never out of range, whether or not the table has a row for them.

    Args:
        ids: Integer tensor of any shape.
        input_dim: Number of rows of the table.
        policy: What to do with an id that is neither a row nor a pad id:
            `"raise"` an error; treat it as padding, `"pad"`; or the id to read in
            its place, usually that of the unknown token.
        pad_id: The pad id, or ids.
        name: What to call the table in an error.

    Returns:
        The ids, the bad ones replaced. Under `"raise"` they come back as they are
        from where nothing can be raised (TensorFlow compiled by XLA, an exported
        JAX or torch program), and the caller must not read a row for them.

    Example:
    >>> rows = keras_padsafe.ops.apply_out_of_range([2, 9, -1], 5, policy=1)
    >>> keras.ops.convert_to_numpy(rows).tolist()
    [2, 1, 1]
    """
    ids, pad_id = as_ids(ids), as_pad_ids(pad_id)
    bad = _is_bad(ops, ids, input_dim, pad_id)
    if policy == "raise":
        return _raise_if_bad(ids, bad, input_dim, pad_id, name)
    replacement = pad_id[0] if policy == "pad" else policy
    return ops.where(bad, ops.cast(replacement, ids.dtype), ids)


def check_policy(policy: str | int, input_dim: int, pad_id: tuple[int, ...]) -> None:
    """Raises if `policy` is none that `apply_out_of_range` can follow."""
    if policy == "raise" or (policy == "pad" and pad_id):
        return
    if policy == "pad":
        raise PadsafeError(
            "`out_of_range='pad'` treats a bad id as padding, and needs a `pad_id`. "
            "Received: pad_id=None. Give one; -1 needs no row of the table."
        )
    is_id = isinstance(policy, Integral) and not isinstance(policy, bool)
    if not is_id or (policy not in range(input_dim) and policy not in pad_id):
        raise PadsafeError(
            "`out_of_range` must be 'raise', 'pad', or the id whose row is read in "
            f"place of a bad one, from 0 to {input_dim - 1}. Received: {policy!r}."
        )


def _without_huge(ids: np.ndarray) -> np.ndarray:
    """Makes integers negative that the backend would fold into its own range."""
    narrow = ids.dtype.kind == "u" or backend.backend() == "jax"
    if ids.dtype.kind not in "iu" or ids.dtype.itemsize < 4 or not narrow:
        return ids
    huge = (ids > _INT32_MAX) | (ids < _INT32_MIN)
    # NumPy 2.5 puts no negative number among unsigned ones.
    return np.where(huge, np.int32(_INT32_MIN), ids.astype("int32"))


def _is_bad(library, ids, input_dim: int, pad_id: tuple[int, ...]):
    """Marks bad ids in arrays of `library`, `keras.ops` or NumPy."""
    bad = library.logical_or(
        library.less(ids, 0), library.greater_equal(ids, input_dim)
    )
    for pad in pad_id:
        bad = library.logical_and(bad, library.not_equal(ids, pad))
    return bad


def _raise_if_bad(
    ids: Tensor, bad: Tensor, input_dim: int, pad_id: tuple[int, ...], name: str
) -> Tensor:
    expected = f"ids from 0 to {input_dim - 1}"
    if pad_id:
        expected += f", or pad ids {pad_id}"
    fix = (
        "Correct the ids, give the table more rows, or set `out_of_range` to 'pad' or "
        "to the id of the unknown token."
    )

    def explain(values: np.ndarray) -> str | None:
        bad = _is_bad(np, values, input_dim, pad_id)
        if not bad.any():
            return None
        where = tuple(int(index) for index in np.argwhere(bad)[0])
        return (
            f"{int(bad.sum())} of {values.size} ids are outside {name}. The first is "
            f"{int(values[where])}, at position {where} of ids of shape "
            f"{values.shape}. Expected: {expected}. {fix}"
        )

    summary = f"Ids are outside {name}. Expected: {expected}. {fix}"
    return raise_if(bad, ids, explain, summary)
