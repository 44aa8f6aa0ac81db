"""Inputs that take a column of each id, made outside the model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.model_inputs import ModelInput, model_inputs
from keras_padsafe.saved_model.row_map import NEW, RowMap


class ColumnInputs:
    """Those inputs of a changed model that take as many columns more as it has ids.

    Args:
        inputs: The inputs of the model before, with lengths settled.
        after: The model after.
        change: How ids changed; `None` if they did not.
    """

    def __init__(
        self, inputs: tuple[ModelInput, ...], after: Any, change: IdChange | None
    ) -> None:
        self._maps: dict[int, tuple[int, RowMap]] = {}
        both = zip(inputs, keras.tree.flatten(model_inputs(after)), strict=False)
        for number, (one, other) in enumerate(both if change else ()):
            sizes = zip(one.shape, other.shape, strict=False)
            for axis, (old, new) in enumerate(sizes):
                row_map = change and new and change.along(int(old or 0), new)
                if row_map and old != new:
                    self._maps[number] = axis, row_map

    def __bool__(self) -> bool:
        return bool(self._maps)

    def kept(self, batch: Any) -> Any:
        """A batch for the model before, in which columns of ids that go are 0."""

        def made(leaf: np.ndarray, row_map: RowMap) -> np.ndarray:
            stays = np.isin(np.arange(row_map.old_size), row_map.ids)
            return np.where(stays, leaf, 0)

        return self._changed(batch, made)

    def widened(self, batch: Any, *, new: bool = False) -> Any:
        """A batch for the model after; new columns are 0.

        If `new`, each vector has a 1 in the column of a new id instead.
        """

        def made(leaf: np.ndarray, row_map: RowMap) -> np.ndarray:
            if not new:
                return np.where(row_map.ids == NEW, 0, leaf[..., row_map.ids])
            count = leaf[..., 0].size
            ids = np.resize(row_map.new_ids, count).reshape(leaf.shape[:-1])
            return ids[..., None] == np.arange(row_map.size)

        return self._changed(batch, made)

    def _changed(
        self, batch: Any, made: Callable[[np.ndarray, RowMap], np.ndarray]
    ) -> Any:
        """A batch with other columns, which are made along the last axis."""
        leaves = keras.tree.flatten(batch)
        for number, (axis, row_map) in self._maps.items():
            leaf = np.moveaxis(leaves[number], axis, -1)
            columns = made(leaf, row_map).astype(leaf.dtype)
            leaves[number] = np.moveaxis(columns, -1, axis)
        return keras.tree.pack_sequence_as(batch, leaves)
