"""Reads one batch of ids, whatever holds them, as blocks of NumPy rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_padsafe.errors import IdError

# Rows are looked at in blocks of about so many ids, however large the array is.
_BLOCK = 1 << 20

Block = tuple[np.ndarray, np.ndarray]
"""Ids, `(rows, ..., time)`, and which of them are a row's own, if rows differ."""


def depth(value: Any) -> int:
    """The number of axes: a tensor's own, a list's by its first member.

    What can only be a whole input, a dict or a missing one, counts as a batch.
    """
    if hasattr(value, "shape"):
        return len(value.shape)
    if value is None or isinstance(value, Mapping):
        return 2
    if isinstance(value, list | tuple):
        return 1 + (depth(value[0]) if value else 0)
    return 0


def blocks_of(ids: Any, place: str) -> Iterator[Block]:
    """The rows of a batch: an array, or a list of rows of any lengths.

    One sequence is one row, and one id a row with one id in it.
    """
    if hasattr(ids, "row_splits") and hasattr(ids, "to_list"):
        ids = ids.to_list()  # a RaggedTensor
    if isinstance(ids, np.ndarray) and ids.dtype == object:
        ids = list(ids)
    if isinstance(ids, list | tuple) and (depth(ids) >= 2 or not ids):
        yield from _ragged_blocks(ids, place)
        return
    array = _read_array(ids, place)
    array = array.reshape(1, -1) if array.ndim < 2 else array
    step = max(1, _BLOCK // max(array[:1].size, 1))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        yield block, np.ones(block.shape, bool)


def _ragged_blocks(rows: Sequence[Any], place: str) -> Iterator[Block]:
    pending: list[np.ndarray] = []
    longest = 0
    for number, row in enumerate(rows):
        array = _read_array(row, f"{place}, row {number}")
        if array.ndim != 1:
            raise IdError(
                f"{place}, row {number}: expected a row of ids with one axis; "
                f"received one with {array.ndim}. Pass one array, (batch, ..., "
                "time), or flatten the row."
            )
        longest = max(longest, len(array))
        if pending and (len(pending) + 1) * longest > _BLOCK:
            yield _side_by_side(pending)
            pending, longest = [], len(array)
        pending.append(array)
    if pending:
        yield _side_by_side(pending)


def _side_by_side(rows: list[np.ndarray]) -> Block:
    lengths = np.array([len(row) for row in rows])
    present = np.arange(lengths.max()) < lengths[:, None]
    dtype = np.result_type(*{row.dtype for row in rows})
    if dtype.kind == "f":  # int64 beside uint64, which no integer type holds both
        dtype = np.dtype(object)
        rows = [row.astype(object) for row in rows]
    ids = np.zeros(present.shape, dtype)
    ids[present] = np.concatenate(rows)
    return ids, present


def _read_array(values: Any, place: str) -> np.ndarray:
    """Integers as NumPy holds them; nothing else is made into integers."""
    _refuse_dtype(values, place)
    if hasattr(values, "dense_shape") or getattr(values, "is_sparse", False):
        raise IdError(
            f"{place}: expected a dense tensor of ids; received a sparse one. "
            "Convert it first, for example with `tf.sparse.to_dense(x)`."
        )
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
        array = values.numpy() if hasattr(values, "numpy") else np.asarray(values)
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        raise IdError(
            f"{place}: expected integers, (batch, time); received a "
            f"{type(values).__name__} that holds no such values. Pass arrays or eager "
            "tensors, or lists of ids."
        ) from None
    if not array.size:
        return array.astype("int64")
    _refuse_dtype(array, place)
    return array


def _refuse_dtype(values: Any, place: str) -> None:
    dtype = getattr(values, "dtype", None)
    if dtype is None:
        return
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if name.startswith(("int", "uint")):
        return
    if "float" in name and 0 not in getattr(values, "shape", ()):
        raise IdError(
            f"{place}: expected integer ids; received {name}, which cannot hold "
            "every id exactly. Cast them where they are made, for example with "
            "`x.astype('int32')`."
        )
    if name.startswith("bool"):
        raise IdError(
            f"{place}: expected integer ids; received {name}, which looks like a "
            "mask. Pass the ids themselves. If there are several inputs, choose one "
            "with `input_name`."
        )
    if name.startswith(("str", "bytes")):
        raise IdError(
            f"{place}: expected integer ids; received text. Turn it into ids first, "
            "with the lookup layer or tokenizer of your model."
        )
    if "float" not in name:
        raise IdError(
            f"{place}: expected integer ids of at most 64 bits; received {name}. Cast "
            "them to int32 or int64."
        )
