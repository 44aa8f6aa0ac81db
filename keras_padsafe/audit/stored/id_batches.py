"""Takes data as `fit` takes it, batch by batch, and finds the ids in a batch."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_padsafe.audit.stored.id_shapes import depth
from keras_padsafe.errors import IdError

# What KerasHub and other tokenizers call the ids among masks and segments.
_IDS_BY_NAME = ("token_ids", "input_ids")


def batches_of(data: Any) -> Iterator[Any]:
    """Each batch of `data`, once.

    Raises:
        IdError: if `data` is nothing to take batches from, or has no end.
    """
    if isinstance(data, str | bytes) or not _has_items(data):
        raise IdError(
            "batches: expected ids, (batch, time), or an iterable of batches, such as "
            "a PyDataset, a tf.data.Dataset or a DataLoader; received "
            f"{type(data).__name__}."
        )
    _refuse_endless(data)
    if isinstance(data, Mapping | tuple) or hasattr(data, "shape"):
        yield data
    elif isinstance(data, list) and depth(data) <= 2:
        yield (data,)  # rows, and no part of it labels
    else:
        yield from _one_epoch(data)


def ids_of(batch: Any, input_name: str | int | None, place: str) -> tuple[str, Any]:
    """The ids of a batch `x`, `(x, y)` or `(x, y, sample_weight)`, and their name.

    Raises:
        IdError: if several inputs could be meant; the message names them.
    """
    inputs = _inputs(batch, place)
    if isinstance(inputs, Mapping):
        key = _choose(inputs, input_name, place)
        name, ids = f"input {key!r}", inputs[key]
    elif _are_several(inputs, input_name):
        number = _choose(dict(enumerate(inputs)), input_name, place)
        name, ids = f"input {number}", inputs[number]
    elif input_name is not None:
        raise IdError(
            f"{place}: there is only one input, and it has no name. Received: "
            f"input_name={input_name!r}. Leave `input_name` out."
        )
    else:
        name, ids = "ids", inputs
    if ids is None or isinstance(ids, Mapping | str | bytes):
        raise IdError(
            f"{place}: expected {name} to be ids, (batch, time); received "
            f"{type(ids).__name__}."
        )
    return name, ids


def _has_items(data: Any) -> bool:
    if hasattr(data, "shape"):
        return depth(data) > 0
    return isinstance(data, Iterable) or hasattr(data, "__getitem__")


def _refuse_endless(data: Any) -> None:
    count: Any = getattr(data, "cardinality", None)
    if callable(count) and int(count()) == -1:  # type: ignore[arg-type]
        raise IdError(
            "batches: this tf.data.Dataset never ends. Pass a part of it: "
            "`dataset.take(steps)`."
        )
    if _is_py_dataset(data) and data.num_batches is None:
        raise IdError(
            "batches: this PyDataset never ends (its `num_batches` is None). Pass a "
            "part of it: `(dataset[i] for i in range(steps))`."
        )


def _is_py_dataset(data: Any) -> bool:
    keras = sys.modules.get("keras")  # whoever has one has imported Keras
    return keras is not None and isinstance(data, keras.utils.PyDataset)


def _one_epoch(data: Any) -> Iterator[Any]:
    if _is_py_dataset(data):
        data.on_epoch_begin()
        for number in range(data.num_batches):
            yield data[number]
        data.on_epoch_end()
    elif isinstance(data, Iterable):
        yield from data
    else:
        yield from (data[number] for number in range(len(data)))


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
    known = [key for key in _IDS_BY_NAME if key in inputs]
    if name is None and len(inputs) == 1:
        return next(iter(inputs))
    if name is None and len(known) == 1:
        return known[0]
    listed = ", ".join(map(repr, inputs)) or "none"
    if name is None:
        raise IdError(
            f"{place}: there are {len(inputs)} inputs: {listed}. Say which one holds "
            f"the ids, as `input_name={next(iter(inputs), 'name')!r}`. If several "
            "hold ids, check them one after the other."
        )
    raise IdError(f"{place}: there is no input {name!r}. There are: {listed}.")
