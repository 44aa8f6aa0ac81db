"""An embedding in two variables: the rows that stay as they are, and the others."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.errors import PadsafeError
from keras_padsafe.types import Shape, Tensor


class SplitEmbedding(keras.layers.ReversibleEmbedding):
    """`keras.layers.ReversibleEmbedding`, some of whose rows never move.

    Base of `ExtendableEmbedding`: all that is known of rows, and nothing of ids.
    Optimizers move all of a variable or none of it: momentum, weight decay and
    averages reach rows that no gradient reached. So in memory the first rows are a
    variable of their own, unless all rows move or none does, or the table is
    quantized. In a file the table is always one. To readers `embeddings` is the
    whole table.

    A row of zeros that no gradient reaches needs no variable: every optimizer
    leaves it as it is.

    Args:
        input_dim: Number of rows of the table.
        output_dim: Size of the vectors.
        frozen_rows: How many of the first rows never move.
        zero_rows: Ids of rows that start as zeros and get no gradient; those
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
        self.frozen_rows = frozen_rows
        self._zero_rows = tuple(row for row in zero_rows if 0 <= row < input_dim)
        self._enabling_lora = self._projecting = False

    def build(self, input_shape: Shape | None = None) -> None:
        if self.built:
            return
        if self.quantization_mode is not None or not self._holds_rows:
            super().build(input_shape)
            return
        if self._is_split:
            self._embeddings = self._add_rows("embeddings", self.frozen_rows)
            self._frozen = self._add_rows("frozen_embeddings", 0, self.frozen_rows)
        else:
            self._embeddings = self._add_rows("embeddings", 0, self.frozen_rows)
        self.built = True
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    @property
    def embeddings(self) -> Any:
        """The whole table, with what LoRA adds to it."""
        plain = not (self._is_split or self.lora_enabled or self._projecting)
        if plain or self._enabling_lora or self.quantization_mode is not None:
            return super().embeddings
        table = self._joined()
        held = self._held(ops.arange(self.input_dim, dtype="int32"))
        moved = table
        if self.lora_enabled:
            delta = self._lora_delta(ops.convert_to_tensor(self.lora_embeddings_a))
            moved = table + ops.cast(delta, table.dtype)
        return ops.where(held, ops.stop_gradient(table), moved)

    def read(self, rows: Tensor) -> Tensor:
        """Looks up rows of the table, none of them outside it."""
        if not self._is_split:
            vectors = super().call(rows)
        else:
            vectors = self._take(rows)
            if self.lora_enabled:
                a = ops.take(self.lora_embeddings_a, rows, axis=0)
                vectors = vectors + ops.cast(self._lora_delta(a), vectors.dtype)
            vectors = ops.cast(vectors, self.compute_dtype)
        return self._without_delta(vectors, rows)

    def read_quantized(self, rows: Tensor) -> Tensor:
        """Looks up rows of a quantized table."""
        return self._without_delta(super().quantized_call(rows), rows)

    def project(self, vectors: Tensor) -> Tensor:
        """Multiplies vectors by the rows of the table."""
        self._projecting = self._holds_rows
        try:
            return super().call(vectors, reverse=True)
        finally:
            self._projecting = False

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
        self._frozen.assign(table[: self.frozen_rows])
        self._embeddings.assign(table[self.frozen_rows :])

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        self._enabling_lora = True
        try:
            super().enable_lora(*args, **kwargs)
        finally:
            self._enabling_lora = False
        # These rows start without a delta, and no gradient ever gives them one.
        a = ops.convert_to_tensor(self.lora_embeddings_a)
        held = self._held(ops.arange(self.input_dim, dtype="int32"))
        self.lora_embeddings_a.assign(ops.where(held, ops.zeros_like(a), a))

    def quantize(
        self, mode: Any = None, type_check: bool = True, config: Any = None
    ) -> None:
        if self._is_split and mode in ("int8", "int4"):
            table = self._joined()
            del self._frozen, self._embeddings
            self._embeddings = table  # Keras quantizes this and puts it away.
        super().quantize(mode, type_check=False, config=config)

    def save_own_variables(self, store: Any) -> None:
        if not self.built or not self._is_split:
            super().save_own_variables(store)
            return
        store["0"] = self.embeddings

    def load_own_variables(self, store: Any) -> None:
        if not self.built or self.quantization_mode is not None:
            super().load_own_variables(store)
            return
        self.assign_table(store["0"])
        if self.lora_enabled:
            for delta in (self.lora_embeddings_a, self.lora_embeddings_b):
                delta.assign(ops.zeros(delta.shape))

    @property
    def _holds_rows(self) -> bool:
        """Whether any row of the table never moves."""
        return bool(self.frozen_rows or self._zero_rows)

    @property
    def _is_split(self) -> bool:
        """Whether the rows that move and those that do not are two variables."""
        both = 0 < self.frozen_rows < self.input_dim
        return both and self.quantization_mode is None

    def _add_rows(self, name: str, start: int, stop: int = 0) -> Any:
        """Adds a variable: frozen rows up to `stop`, or all that move from `start`."""
        trainable = not stop
        rows = slice(start, stop or self.input_dim)
        is_zero = np.isin(np.arange(self.input_dim), self._zero_rows)[:, None]

        def initializer(shape: Shape, dtype: Any = None) -> Tensor:
            table = self.embeddings_initializer(
                (self.input_dim, self.output_dim), dtype=dtype
            )
            return ops.where(is_zero, ops.zeros_like(table), table)[rows]

        return self.add_weight(
            shape=(rows.stop - rows.start, self.output_dim),
            initializer=initializer,
            name=name,
            regularizer=self.embeddings_regularizer if trainable else None,
            constraint=self.embeddings_constraint if trainable else None,
            trainable=trainable,
        )

    def _joined(self) -> Tensor:
        """Puts the table together, without what LoRA adds."""
        moving = ops.convert_to_tensor(self._embeddings)
        if not self._is_split:
            return moving
        return ops.concatenate([ops.convert_to_tensor(self._frozen), moving], axis=0)

    def _take(self, rows: Tensor) -> Tensor:
        """Reads rows of the table without putting it together."""
        frozen = rows < self.frozen_rows
        zero = ops.zeros_like(rows)
        in_frozen = ops.where(frozen, rows, zero)
        in_moving = ops.where(frozen, zero, rows - self.frozen_rows)
        return ops.where(
            ops.expand_dims(frozen, -1),
            ops.take(self._frozen, in_frozen, axis=0),
            ops.take(self._embeddings, in_moving, axis=0),
        )

    def _held(self, rows: Tensor) -> Tensor:
        """Marks the rows that never move, with an axis of 1 at the end."""
        held = rows < self.frozen_rows
        for row in self._zero_rows:
            held = ops.logical_or(held, ops.equal(rows, row))
        return ops.expand_dims(held, -1)

    def _without_delta(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """Lets no gradient of LoRA come from rows that never move."""
        if not self.lora_enabled:
            return vectors
        return ops.where(self._held(rows), ops.stop_gradient(vectors), vectors)

    def _lora_delta(self, a: Tensor) -> Tensor:
        scale = self.lora_alpha / self.lora_rank
        return scale * ops.matmul(a, self.lora_embeddings_b)
