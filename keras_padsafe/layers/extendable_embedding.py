"""An embedding with any pad id, rows that never move, and room to grow."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.compat import set_keras_mask
from keras_padsafe.errors import PadsafeError
from keras_padsafe.initializers import ConcatenatedRows
from keras_padsafe.layers.pretrained_rows import added_rows, as_matrix, check_pad_rows
from keras_padsafe.ops.ids import apply_out_of_range, as_pad_ids, check_policy
from keras_padsafe.ops.masks import padding_mask
from keras_padsafe.ops.row_split import RowSplit
from keras_padsafe.registration import serializable
from keras_padsafe.types import Shape, Tensor


@serializable
class ExtendableEmbedding(keras.layers.ReversibleEmbedding):
    """Turns ids into vectors, as `keras.layers.Embedding`, and lets the table grow.

    It takes everything that `keras.layers.Embedding` takes, LoRA and quantization
    included, and can be called in reverse with tied weights. It is saved as one
    ordinary table, `(input_dim, output_dim)`, which a stock `Embedding` can load.

    Args:
        input_dim: Number of rows of the table.
        output_dim: Size of the vectors.
        pad_id: The id, or ids, that mean "nothing here". Their vector is zero, and
            they are masked. Any integer will do: -1 needs no row of the table.
            `mask_zero=True` is another way to write `pad_id=0`.
        frozen_rows: How many of the first rows never move, bit for bit, whatever
            the optimizer. They cost no optimizer state. The rows of pad ids never
            move either.
        out_of_range: What an id that is neither a row nor a pad id does: `"raise"`
            an error; count as padding, `"pad"`; or the id whose row is read in its
            place, usually that of the unknown token. TensorFlow cannot raise from
            XLA, so with `"raise"` Keras trains the model without XLA there. Where
            raising is out of reach, in a TensorFlow function that you compile by
            XLA yourself or in an exported JAX or torch program, such an id gives a
            vector of NaN, never another row.
        **kwargs: The arguments of `keras.layers.Embedding`, and `reverse_dtype`
            and `logit_soft_cap` of `keras.layers.ReversibleEmbedding`.

    Call arguments:
        inputs: Ids, or with `reverse=True` vectors of size `output_dim`.
        reverse: Whether to project vectors onto the rows of the table.

    Input shape:
        `(batch, time)`, or any other shape; in reverse `(..., output_dim)`.

    Output shape:
        The shape of the ids with `output_dim` at the end; in reverse
        `(..., input_dim)`.

    Masking:
        Makes a mask that is False at pad ids. In reverse the mask of the vectors
        is kept.

    Example:
    >>> layer = keras_padsafe.layers.ExtendableEmbedding(10, 4, pad_id=-1)
    >>> vectors = layer(np.array([[3, 7, -1]]))
    >>> keras.ops.convert_to_numpy(vectors)[0, 2].tolist()
    [0.0, 0.0, 0.0, 0.0]
    >>> grown = layer.extend(5)
    >>> grown.input_dim
    15
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        pad_id: int | Iterable[int] | None = None,
        frozen_rows: int = 0,
        out_of_range: str | int = "raise",
        *,
        weights: Any = None,
        tie_weights: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.pad_id = [*pad_id] if isinstance(pad_id, Iterable) else pad_id
        self.frozen_rows = frozen_rows
        self.out_of_range = out_of_range
        self._pad_ids = _pad_ids(pad_id, self.mask_zero)
        self.supports_masking = bool(self._pad_ids)
        if not tie_weights:
            raise PadsafeError(
                "ExtendableEmbedding has one table, used in both directions. "
                "Received: tie_weights=False. Use a Dense layer as the head."
            )
        if not 0 <= frozen_rows <= input_dim:
            raise PadsafeError(
                f"`frozen_rows` must be from 0 to input_dim={input_dim}. "
                f"Received: {frozen_rows!r}."
            )
        check_policy(out_of_range, input_dim, self._pad_ids)
        if keras.backend.backend() == "tensorflow" and out_of_range == "raise":
            self.supports_jit = False
        self._rows = RowSplit(input_dim, frozen_rows, self._pad_ids)
        self._enabling_lora = False
        if weights is not None:
            self.build()
            in_list = isinstance(weights, list) and len(weights) == 1
            self._assign_table(weights[0] if in_list else weights)

    @classmethod
    def from_pretrained(
        cls,
        matrix: Any,
        new_rows: Any = 0,
        pad_id: int | Iterable[int] | None = None,
        new_rows_initializer: Any = "mean",
        **kwargs: Any,
    ) -> "ExtendableEmbedding":
        """Makes a layer whose first rows are those of a pretrained matrix.

        Args:
            matrix: Array of shape `(rows, output_dim)`.
            new_rows: How many rows to add, or the rows, `(new_rows, output_dim)`.
            pad_id: The pad id, or ids. The id after the last row gets a row of its
                own. An id of the matrix is refused unless its row is zero: it is
                the row of a word. Other ids need no row.
            new_rows_initializer: `"mean"` of the rows there are, or an initializer.
            **kwargs: The other arguments of the layer.

        Example:
        >>> layer = keras_padsafe.layers.ExtendableEmbedding.from_pretrained(
        ...     np.ones((3, 2)), new_rows=1, pad_id=4
        ... )
        >>> keras.ops.convert_to_numpy(layer(np.array([0, 3, 4]))).tolist()
        [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
        """
        matrix = as_matrix(matrix)
        pad_ids = _pad_ids(pad_id, kwargs.get("mask_zero", False))
        check_pad_rows(matrix, pad_ids)
        parts = [matrix, *added_rows(matrix, pad_ids, new_rows, new_rows_initializer)]
        rows = sum(len(part) for part in parts)
        if rows in pad_ids:
            parts.append(np.zeros((1, matrix.shape[1]), matrix.dtype))
            rows += 1
        return cls(
            rows,
            matrix.shape[1],
            pad_id=pad_id,
            embeddings_initializer=ConcatenatedRows(parts),
            **kwargs,
        )

    def extend(
        self, new_rows: Any, new_rows_initializer: Any = "mean"
    ) -> "ExtendableEmbedding":
        """Returns a new layer with more rows after the rows of this one.

        This layer is left as it is. The ids it knows keep their vectors. LoRA
        deltas are merged into the rows.

        Args:
            new_rows: How many rows to add, or the rows, `(new_rows, output_dim)`.
            new_rows_initializer: `"mean"` of the rows there are, or an initializer.
        """
        if self.quantization_mode is not None:
            raise PadsafeError(
                f"A quantized table cannot be extended. Received: layer '{self.name}' "
                f"with mode {self.quantization_mode}. Extend it, then quantize."
            )
        self.build()
        table = as_matrix(ops.convert_to_tensor(self.embeddings))
        added = added_rows(table, self._pad_ids, new_rows, new_rows_initializer)
        rows = self.input_dim + sum(len(part) for part in added)
        taken = [pad for pad in self._pad_ids if self.input_dim <= pad < rows]
        if taken:
            raise PadsafeError(
                f"New rows {self.input_dim} to {rows - 1} would include the pad ids "
                f"{taken}, which read no row. Choose another pad id, such as -1."
            )
        layer = type(self).from_config({**self.get_config(), "input_dim": rows})
        layer.embeddings_initializer = ConcatenatedRows([table, *added])
        layer.build()
        return layer

    def build(self, input_shape: Shape | None = None) -> None:
        if self.built:
            return
        if not self._is_split:
            super().build(input_shape)
            if not len(self._rows.moving) and self.quantization_mode is None:
                self._embeddings.trainable = False
            return
        self._embeddings = self._add_piece("embeddings", self._rows.moving, True)
        self._fixed = self._add_piece("fixed_embeddings", self._rows.fixed, False)
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
        fixed = self._rows.is_fixed(ops.arange(self.input_dim, dtype="int32"))
        delta = self._lora_delta(self.lora_embeddings_a)
        return ops.where(fixed[:, None], table, table + ops.cast(delta, table.dtype))

    def call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        if reverse:
            return super().call(inputs, reverse=True)
        return self._embed(inputs, self._read if self._is_split else super().call)

    def quantized_call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        if reverse:
            return super().quantized_call(inputs, reverse=True)
        return self._embed(inputs, super().quantized_call)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor | None:
        if not self._pad_ids:
            return None
        if "float" in keras.backend.standardize_dtype(inputs.dtype):
            return mask  # Vectors, in reverse; `call` has set the mask of float ids.
        return self._padding_mask(inputs)

    def compute_output_spec(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        spec = super().compute_output_spec(inputs, reverse=reverse)
        if not reverse and self._pad_ids:
            set_keras_mask(spec, self._padding_mask(inputs))
        return spec

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        self._enabling_lora = True
        try:
            super().enable_lora(*args, **kwargs)
        finally:
            self._enabling_lora = False
        # Fixed rows start without a delta, and no gradient ever gives them one.
        fixed = self._rows.is_fixed(ops.arange(self.input_dim, dtype="int32"))
        a = ops.convert_to_tensor(self.lora_embeddings_a)
        self.lora_embeddings_a.assign(ops.where(fixed[:, None], ops.zeros_like(a), a))

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
        self._assign_table(store["0"])
        if self.lora_enabled:
            for delta in (self.lora_embeddings_a, self.lora_embeddings_b):
                delta.assign(ops.zeros(delta.shape))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pad_id": self.pad_id,
            "frozen_rows": self.frozen_rows,
            "out_of_range": self.out_of_range,
        }

    @property
    def _is_split(self) -> bool:
        """Whether the rows that move and those that do not are two variables."""
        both = len(self._rows.fixed) and len(self._rows.moving)
        return bool(both) and self.quantization_mode is None

    def _add_piece(self, name: str, rows: np.ndarray, trainable: bool) -> Any:
        is_pad = np.isin(np.arange(self.input_dim), self._pad_ids)[:, None]

        def initializer(shape: Shape, dtype: Any = None) -> Tensor:
            table = self.embeddings_initializer(
                (self.input_dim, self.output_dim), dtype=dtype
            )
            table = ops.where(is_pad, ops.zeros_like(table), table)
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

    def _assign_table(self, table: Any) -> None:
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

    def _embed(self, inputs: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        ids = self._settled(inputs)
        real = padding_mask(ids, self._pad_ids)
        inside = ops.logical_and(ids >= 0, ids < self.input_dim)
        readable = ops.logical_and(real, inside)
        rows = ops.where(readable, ids, ops.zeros_like(ids))
        vectors = read(rows)
        if self.lora_enabled:
            fixed = ops.expand_dims(self._rows.is_fixed(rows), -1)
            vectors = ops.where(fixed, ops.stop_gradient(vectors), vectors)
        # A bad id that could not be raised reads NaN; padding reads zeros.
        other = ops.where(real, math.nan, 0.0)
        other = ops.expand_dims(ops.cast(other, vectors.dtype), -1)
        vectors = ops.where(ops.expand_dims(readable, -1), vectors, other)
        if self._pad_ids:
            set_keras_mask(vectors, real)
        return vectors

    def _settled(self, inputs: Tensor) -> Tensor:
        table = f"the table of layer '{self.name}'"
        return apply_out_of_range(
            inputs, self.input_dim, self.out_of_range, self._pad_ids, table
        )

    def _padding_mask(self, inputs: Tensor) -> Tensor:
        ids = self._settled(inputs) if self.out_of_range == "pad" else inputs
        return padding_mask(ids, self._pad_ids)

    def _read(self, rows: Tensor) -> Tensor:
        vectors = self._rows.take(self._fixed, self._embeddings, rows)
        if self.lora_enabled:
            delta = self._lora_delta(ops.take(self.lora_embeddings_a, rows, axis=0))
            vectors = vectors + ops.cast(delta, vectors.dtype)
        return ops.cast(vectors, self.compute_dtype)

    def _lora_delta(self, a: Tensor) -> Tensor:
        scale = self.lora_alpha / self.lora_rank
        return scale * ops.matmul(a, self.lora_embeddings_b)


def _pad_ids(pad_id: int | Iterable[int] | None, mask_zero: bool) -> tuple[int, ...]:
    pad_ids = () if pad_id is None else as_pad_ids(pad_id)
    return tuple(dict.fromkeys((0, *pad_ids) if mask_zero else pad_ids))
