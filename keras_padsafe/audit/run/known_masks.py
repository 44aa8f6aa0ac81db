"""Which positions are real, also in a tensor that has lost its mask."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.watch import tensors_in
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor


class KnownMasks:
    """The padding masks met so far in one run of a model.

    A tensor that carries no mask is taken to have that of the latest tensor with the
    same `(batch, time)`.
    """

    def __init__(self) -> None:
        self._latest: dict[tuple[int, ...], np.ndarray] = {}

    def note(self, mask: Tensor | np.ndarray | None) -> None:
        """Remembers a `(batch, time)` mask."""
        if mask is not None and len(mask.shape) == 2:
            array = keras.ops.convert_to_numpy(mask)
            self._latest[array.shape] = array.astype(bool)

    def note_all(self, structure: Any) -> None:
        """Remembers the masks that tensors carry, and those that are masks."""
        for tensor in tensors_in(structure):
            self.note(get_keras_mask(tensor))
            if keras.backend.standardize_dtype(tensor.dtype) == "bool":
                self.note(tensor)

    def of(self, tensor: Tensor) -> np.ndarray | None:
        """The `(batch, time)` mask of a tensor, if one is known for it."""
        shape = tuple(tensor.shape[:2])
        carried = get_keras_mask(tensor)
        if carried is not None and tuple(carried.shape) == shape:
            return keras.ops.convert_to_numpy(carried).astype(bool)
        # A second axis that is the last may be features, equal in length by chance.
        return self._latest.get(shape) if len(tensor.shape) > 2 else None

    def all(self) -> list[np.ndarray]:
        """Every mask, the latest of each shape."""
        return list(self._latest.values())
