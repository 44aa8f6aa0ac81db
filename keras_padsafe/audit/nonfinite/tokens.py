"""The words behind rows and positions of a batch, where a vocabulary is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import tensors_in

_SHOWN = 12


class Tokens:
    """Spells rows and positions of the ids of a batch.

    Args:
        x: The batch; its first integer input of `(batch, time)` holds the ids.
        vocabulary: The words by id; `None` if they are not known.
    """

    def __init__(
        self, x: Any, vocabulary: Sequence[str] | Mapping[int, str] | None
    ) -> None:
        self._vocabulary = vocabulary
        self._ids = None if vocabulary is None else _ids_of(x)

    def evidence(self, rows: Sequence[int], positions: Any) -> dict[str, Any]:
        """The text of some rows and the words at some positions, as plain data."""
        if self._ids is None:
            return {}
        ids = self._ids
        found: dict[str, Any] = {
            "text": [
                " ".join(self._word(i) for i in ids[row][:_SHOWN]).strip()
                for row in rows
                if row < len(ids)
            ]
        }
        inside = [(r, t) for r, t in positions if r < len(ids) and t < ids.shape[1]]
        if inside:
            found["words"] = [self._word(ids[row, step]) for row, step in inside]
        return found

    def _word(self, number: Any) -> str:
        number = int(number)
        if isinstance(self._vocabulary, Mapping):
            return str(self._vocabulary.get(number, f"[{number}]"))
        if self._vocabulary is not None and 0 <= number < len(self._vocabulary):
            return str(self._vocabulary[number])
        return f"[{number}]"


def _ids_of(x: Any) -> np.ndarray | None:
    for tensor in tensors_in(x):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if keras.backend.is_int_dtype(dtype) and len(tensor.shape) == 2:
            return keras.ops.convert_to_numpy(tensor)
    return None
