"""Takes data as `fit` takes it, batch by batch, and reads the ids as NumPy rows."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_padsafe.errors import IdError

# What KerasHub and other tokenizers call the ids among masks and segments.
_IDS_BY_NAME = ("token_ids", "input_ids")
# Rows are looked at in blocks of about so many ids, however large the array is.
_BLOCK = 1 << 20

Block = tuple[np.ndarray, np.ndarray]
"""Ids, `(rows, ..., time)`, and which of them are a row's own, if rows differ."""


def batches_of(data: Any) -> Iterator[Any]:
    """Each batch of `data`, once."""
    is_array, has_items = hasattr(data, "shape"), hasattr(data, "__getitem__")
    has_items = depth(data) if is_array else has_items or isinstance(data, Iterable)
    if isinstance(data, str | bytes) or not has_items:
        raise IdError(
            "batches: expected ids, (batch, time), or an iterable of batches, such as "
            "a PyDataset, a tf.data.Dataset or a DataLoader; received "
            f"{type(data).__name__}."
        )
    count: Any = getattr(data, "cardinality", None)
    if callable(count) and int(count()) == -1:  # type: ignore[arg-type]
        raise IdError(
            "batches: this tf.data.Dataset never ends. Pass a part of it: "
            "`dataset.take(steps)`."
        )
    keras = sys.modules.get("keras")  # Whoever has a PyDataset has imported Keras.
    if keras is not None and isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise IdError(
                "batches: this PyDataset never ends (its `num_batches` is None). Pass "
                "a part of it: `(dataset[i] for i in range(steps))`."
            )
        epoch: Any = data
        epoch.on_epoch_begin()
        yield from (epoch[number] for number in range(epoch.num_batches))
        epoch.on_epoch_end()
    elif isinstance(data, Mapping | tuple) or is_array:
        yield data
    elif isinstance(data, list) and depth(data) <= 2:
        yield (data,)  # rows, and no part of it labels
    elif isinstance(data, Iterable):
        yield from data
    else:
        yield from (data[number] for number in range(len(data)))


def ids_of(batch: Any, input_name: str | int | None, place: str) -> tuple[str, Any]:
    """The ids of a batch `x`, `(x, y)` or `(x, y, sample_weight)`, and their name."""
    name, ids = "ids", _inputs(batch, place)
    if _are_several(ids, input_name):
        ids = dict(enumerate(ids))
    if isinstance(ids, Mapping):
        key = _choose(ids, input_name, place)
        name, ids = f"input {key!r}", ids[key]
    elif input_name is not None:
        raise IdError(
            f"{place}: there is only one input, and it has no name. Received: "
            f"input_name={input_name!r}. Leave `input_name` out."
        )
    if ids is None or isinstance(ids, Mapping | str | bytes):
        raise IdError(
            f"{place}: expected {name} to be ids, (batch, time); received "
            f"{type(ids).__name__}."
        )
    return name, ids


def _inputs(batch: Any, place: str) -> Any:
    """The `x` of a batch, told apart as Keras does."""
    if not isinstance(batch, list | tuple) or depth(batch) == 1:
        return batch
    if isinstance(batch, list) and _are_rows(batch):
        return batch
    if len(batch) > 3:
        raise IdError(
            f"{place}: expected x, (x, y) or (x, y, sample_weight); received "
            f"{len(batch)} parts. Pass only the inputs; if there are several, as "
            "a dict or as ([a, b, ...], y)."
        )
    return next(iter(batch))


def _are_rows(batch: list[Any]) -> bool:
    """Whether a list is a batch of rows; else Keras reads it as a tuple."""
    if isinstance(batch[0], list | tuple):
        deep = depth(batch[0])
        return all(isinstance(r, list | tuple) and depth(r) == deep for r in batch)
    if depth(batch) != 2 or batch[0] is None or isinstance(batch[0], Mapping):
        return False
    lengths = {len(row) if depth(row) else -1 for row in batch}
    return len(batch) > 3 or len(lengths) > 1


def _are_several(inputs: Any, input_name: str | int | None) -> bool:
    """Whether `x` is a list of inputs, not of rows."""
    if not isinstance(inputs, list | tuple):
        return False
    first = next(iter(inputs), None)
    if not hasattr(first, "shape"):
        return isinstance(first, Mapping)
    return depth(inputs) > 2 or (depth(inputs) == 2 and input_name is not None)


def _choose(inputs: Mapping[Any, Any], name: str | int | None, place: str) -> Any:
    if name is not None and name in inputs:
        return name
    likely = [key for key in inputs if len(inputs) == 1 or key in _IDS_BY_NAME]
    if name is None and len(likely) == 1:
        return likely[0]
    listed = ", ".join(map(repr, inputs)) or "none"
    if name is None:
        raise IdError(
            f"{place}: there are {len(inputs)} inputs: {listed}. Say which one holds "
            f"the ids, as `input_name={next(iter(inputs), 'name')!r}`. If several "
            "hold ids, check them one after the other."
        )
    raise IdError(f"{place}: there is no input {name!r}. There are: {listed}.")


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
    lengths = np.array([*map(len, rows)])
    present = np.arange(lengths.max()) < lengths[:, None]
    dtype = np.result_type(*{row.dtype for row in rows})
    # No integer type holds both int64 and uint64.
    ids = np.zeros(present.shape, object if dtype.kind == "f" else dtype)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
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
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    if dtype is None or name.startswith(("int", "uint")):
        return
    expected = f"{place}: expected integer ids"
    if "float" in name:
        if 0 not in getattr(values, "shape", ()):
            raise IdError(
                f"{expected}; received {name}, which cannot hold every id exactly. "
                "Cast them where they are made, for example with `x.astype('int32')`."
            )
    elif name.startswith("bool"):
        raise IdError(
            f"{expected}; received {name}, which looks like a mask. Pass the ids "
            "themselves. If there are several inputs, choose one with `input_name`."
        )
    elif name.startswith(("str", "bytes")):
        raise IdError(
            f"{expected}; received text. Turn it into ids first, with the lookup layer "
            "or tokenizer of your model."
        )
    else:
        raise IdError(
            f"{expected} of at most 64 bits; received {name}. Cast them to int32 or "
            "int64."
        )
