"""The sequences in batches that are padded already."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.data.example import Per
from keras_padsafe.data.forms import Key, assemble, by_name, file, parts_of
from keras_padsafe.errors import DataError


def unpad_batches(
    batches: Iterable[Any],
    pad_id: int = 0,
    *,
    ids: str | None = None,
    y_per: Per | Mapping[str, Per] = "step",
) -> Iterable[tuple[Any, ...]]:
    """Takes the sequences out of padded batches, for `SequenceStream`.

    The steps from the first real id of a row to its last are kept; rows without one
    are left out.

    Args:
        batches: What `fit` takes: a `keras.utils.PyDataset`, a `tf.data.Dataset`, a
            `DataLoader`, an iterable. Inputs are `(batch, time, ...)`.
        pad_id: The id that means padding.
        ids: Which input holds the ids, if `x` is a dict.
        y_per: Whether labels are `(batch, time, ...)`, padded as the ids are, or
            belong to sequences; a dict by the names of `y` for several.

    Returns:
        An iterable of examples, each `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    Example:
    >>> examples = keras_padsafe.data.unpad_batches(
    ...     [(np.array([[7, 8, 0], [5, 0, 0]]), np.array([1, 0]))], y_per="sequence"
    ... )
    >>> [(x.tolist(), int(y)) for x, y in examples]
    [([7, 8], 1), ([5], 0)]
    """
    return _Unpadded(batches, pad_id, ids, y_per)


@dataclass(frozen=True)
class _Unpadded:
    batches: Any
    pad_id: int
    ids: str | None
    y_per: Per | Mapping[str, Per]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for number, batch in enumerate(_one_epoch(self.batches)):
            arrays = {k: np.asarray(v) for k, v in file(parts_of(batch)).items()}
            all_ids = self._ids(arrays, number)
            for key, array in arrays.items():
                wanted = all_ids.shape[: 2 if self._has_steps(key, array) else 1]
                if array.shape[: len(wanted)] != wanted:
                    raise DataError(
                        f"batch {number}: expected `{key[0]}` to begin with the shape "
                        f"of the ids, {wanted}. Received: shape {array.shape}. If "
                        "labels belong to sequences, pass y_per='sequence'."
                    )
            for row, ids in enumerate(all_ids):
                (real,) = np.nonzero(ids != self.pad_id)
                if len(real):
                    steps = slice(real[0], real[-1] + 1)
                    yield assemble(
                        {
                            key: array[row, steps]
                            if self._has_steps(key, array)
                            else array[row]
                            for key, array in arrays.items()
                        }
                    )

    def _has_steps(self, key: Key, array: np.ndarray) -> bool:
        part, name = key
        per = "step" if part == "x" else by_name(self.y_per, name, "y_per")
        return per == "step" and array.ndim > 1

    def _ids(self, arrays: Mapping[Key, np.ndarray], number: int) -> np.ndarray:
        ids = arrays.get(("x", self.ids))
        if ids is None:
            names = [name for part, name in arrays if part == "x"]
            raise DataError(
                f"batch {number}: expected `ids` to name the input that holds the ids, "
                f"if x is a dict. Received: ids={self.ids!r}, and inputs named {names}."
            )
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise DataError(
                f"batch {number}: expected ids, integers of shape (batch, time). "
                f"Received: {ids.dtype} of shape {ids.shape}."
            )
        return ids


def _one_epoch(batches: Any) -> Iterator[Any]:
    if not hasattr(batches, "num_batches"):
        yield from batches
        return
    batches.on_epoch_begin()  # A `keras.utils.PyDataset`.
    yield from (batches[number] for number in range(batches.num_batches))
    batches.on_epoch_end()
