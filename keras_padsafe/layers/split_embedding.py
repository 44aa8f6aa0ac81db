"""An embedding in two variables: the rows that stay as they are, and the others."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.errors import PadsafeError
from keras_padsafe.ops.row_split import RowSplit
from keras_padsafe.types import Shape, Tensor


class SplitEmbedding(keras.layers.ReversibleEmbedding):
    """`keras.layers.ReversibleEmbedding`, some of whose rows never move.

    Base of `ExtendableEmbedding`: all that is known of rows, and nothing of ids. In
    memory the table is two variables, unless all rows move or none does, or the
    table is quantized; in a file it is always one. To readers `embeddings` is the
    whole table.

    Args:
        input_dim: Number of rows of the table.
        output_dim: Size of the vectors.
        frozen_rows: How many of the first rows never move.
        zero_rows: Ids of rows that never move either, and start as zeros; those
            outside the table do not matter.
        **kwargs: As `keras.layers.ReversibleEmbedding`.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        frozen_rows: int,
        zero_rows: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self._rows = RowSplit(input_dim, frozen_rows, zero_rows)
        self._enabling_lora = False

    def build(self, input_shape: Shape | None = None) -> None:
        if self.built:
            return
        if self.quantization_mode is not None or not len(self._rows.fixed):
            super().build(input_shape)
            return
        if self._is_split:
            self._embeddings = self._add_piece("embeddings", self._rows.moving, True)
            self._fixed = self._add_piece("fixed_embeddings", self._rows.fixed, False)
        else:
            self._embeddings = self._add_piece("embeddings", self._rows.fixed, False)
        self.built = True
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    @property
    def embeddings(self) -> Any:
        """The whole table, with what LoRA adds to it."""
        if not self._is_split or self._enabling_lora:
            return super().embeddings
        table = self._joined()
        if not self.lora_enabled:
            return table
        delta = self._lora_delta(self.lora_embeddings_a)
        return ops.where(
            self._fixed_rows(), table, table + ops.cast(delta, table.dtype)
        )

    def read(self, rows: Tensor) -> Tensor:
        """Looks up rows of the table, none of them outside it."""
        if not self._is_split:
            vectors = super().call(rows)
        else:
            vectors = self._rows.take(self._fixed, self._embeddings, rows)
            if self.lora_enabled:
                a = ops.take(self.lora_embeddings_a, rows, axis=0)
                vectors = vectors + ops.cast(self._lora_delta(a), vectors.dtype)
            vectors = ops.cast(vectors, self.compute_dtype)
        return self._hold_fixed(vectors, rows)

    def read_quantized(self, rows: Tensor) -> Tensor:
        """Looks up rows of a quantized table."""
        return self._hold_fixed(super().quantized_call(rows), rows)

    def assign_table(self, table: Any) -> None:
        """Replaces the whole table, the rows that never move too."""
        table = ops.convert_to_tensor(table, dtype=self.variable_dtype)
        expected = (self.input_dim, self.output_dim)
        if tuple(table.shape) != expected:
            raise PadsafeError(
                f"The table of layer '{self.name}' has shape {expected}. Received: one "
                f"of shape {tuple(table.shape)}. Load it into a layer of its size, "
                "then call `extend`."
            )
        if not self._is_split:
            self._embeddings.assign(table)
            return
        self._fixed.assign(ops.take(table, self._rows.fixed, axis=0))
        self._embeddings.assign(ops.take(table, self._rows.moving, axis=0))

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        self._enabling_lora = True
        try:
            super().enable_lora(*args, **kwargs)
        finally:
            self._enabling_lora = False
        # Fixed rows start without a delta, and no gradient ever gives them one.
        a = ops.convert_to_tensor(self.lora_embeddings_a)
        a = ops.where(self._fixed_rows(), ops.zeros_like(a), a)
        self.lora_embeddings_a.assign(a)

    def quantize(
        self, mode: Any = None, type_check: bool = True, config: Any = None
    ) -> None:
        if self._is_split:
            table = self._joined()
            del self._fixed, self._embeddings
            self._embeddings = table  # Keras quantizes this and puts it away.
        super().quantize(mode, type_check=False, config=config)

    def save_own_variables(self, store: Any) -> None:
        if not self.built or not self._is_split:
            super().save_own_variables(store)
            return
        store["0"] = self.embeddings

    def load_own_variables(self, store: Any) -> None:
        if not self.built or not self._is_split:
            super().load_own_variables(store)
            return
        self.assign_table(store["0"])
        if self.lora_enabled:
            for delta in (self.lora_embeddings_a, self.lora_embeddings_b):
                delta.assign(ops.zeros(delta.shape))

    @property
    def _is_split(self) -> bool:
        """Whether the rows that move and those that do not are two variables."""
        both = len(self._rows.fixed) and len(self._rows.moving)
        return bool(both) and self.quantization_mode is None

    def _add_piece(self, name: str, rows: np.ndarray, trainable: bool) -> Any:
        is_zero = np.isin(np.arange(self.input_dim), self._rows.others)[:, None]

        def initializer(shape: Shape, dtype: Any = None) -> Tensor:
            table = self.embeddings_initializer(
                (self.input_dim, self.output_dim), dtype=dtype
            )
            table = ops.where(is_zero, ops.zeros_like(table), table)
            return ops.take(table, rows, axis=0)

        return self.add_weight(
            shape=(len(rows), self.output_dim),
            initializer=initializer,
            name=name,
            regularizer=self.embeddings_regularizer if trainable else None,
            constraint=self.embeddings_constraint if trainable else None,
            trainable=trainable,
        )

    def _joined(self) -> Tensor:
        fixed = ops.convert_to_tensor(self._fixed)
        return self._rows.join(fixed, ops.convert_to_tensor(self._embeddings))

    def _fixed_rows(self) -> Tensor:
        """Marks the rows that never move, `(input_dim, 1)`."""
        rows = ops.arange(self.input_dim, dtype="int32")
        return ops.expand_dims(self._rows.is_fixed(rows), -1)

    def _hold_fixed(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """Lets no gradient of LoRA come from rows that never move."""
        if not self.lora_enabled:
            return vectors
        fixed = ops.expand_dims(self._rows.is_fixed(rows), -1)
        return ops.where(fixed, ops.stop_gradient(vectors), vectors)

    def _lora_delta(self, a: Tensor) -> Tensor:
        scale = self.lora_alpha / self.lora_rank
        return scale * ops.matmul(a, self.lora_embeddings_b)
