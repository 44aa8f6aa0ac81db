"""The sequences in batches that are padded already."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.data.example import Per, parts_of
from keras_padsafe.errors import DataError


def unpad_batches(
    batches: Iterable[Any],
    pad_id: int = 0,
    *,
    ids: str | None = None,
    y_per: Per | Mapping[str, Per] = "step",
) -> Iterable[tuple[Any, ...]]:
    """Takes the sequences out of padded batches, for `pack_stream`.

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
            parts = parts_of(batch)
            for row, ids in enumerate(self._ids(parts[0], f"batch {number}")):
                real = np.flatnonzero(ids != self.pad_id)
                if len(real):
                    steps = slice(real[0], real[-1] + 1)
                    yield (
                        _row(parts[0], row, lambda _: steps),
                        *(_row(part, row, self._steps_of(steps)) for part in parts[1:]),
                    )

    def _ids(self, x: Any, place: str) -> np.ndarray:
        several = isinstance(x, Mapping)
        if several != (self.ids is not None) or (several and self.ids not in x):
            names = ", ".join(map(repr, x)) if several else "one without a name"
            raise DataError(
                f"{place}: expected `ids` to name the input that holds the ids, if x is "
                f"a dict. Received: ids={self.ids!r}, and the inputs {names}."
            )
        ids = np.asarray(x[self.ids] if several else x)
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise DataError(
                f"{place}: expected ids, integers of shape (batch, time). Received: "
                f"{ids.dtype} of shape {ids.shape}."
            )
        return ids

    def _steps_of(self, steps: slice) -> Callable[[str | None], slice | None]:
        def of(name: str | None) -> slice | None:
            by_name = isinstance(self.y_per, Mapping)
            per = self.y_per.get(name) if by_name else self.y_per  # type: ignore
            return steps if per == "step" else None

        return of


def _row(part: Any, row: int, steps_of: Callable[[str | None], slice | None]) -> Any:
    """One row of arrays, or of a mapping of them, without its padding."""
    if isinstance(part, Mapping):
        return {
            name: _row(a, row, lambda _, n=name: steps_of(n))
            for name, a in part.items()
        }
    array, steps = np.asarray(part[row]), steps_of(None)
    return array[steps] if steps is not None and array.ndim else array


def _one_epoch(batches: Any) -> Iterator[Any]:
    if not hasattr(batches, "num_batches"):
        yield from batches
        return
    batches.on_epoch_begin()  # A `keras.utils.PyDataset`.
    yield from (batches[number] for number in range(batches.num_batches))
    batches.on_epoch_end()
