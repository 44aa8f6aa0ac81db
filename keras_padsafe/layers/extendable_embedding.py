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
from keras_padsafe.layers.pretrained_rows import (
    added_rows,
    as_matrix,
    check_pad_rows,
    is_count,
)
from keras_padsafe.layers.split_embedding import SplitEmbedding
from keras_padsafe.ops.ids import apply_out_of_range, as_ids, as_pad_ids, check_policy
from keras_padsafe.ops.masks import padding_mask
from keras_padsafe.registration import serializable
from keras_padsafe.types import Tensor


@serializable
class ExtendableEmbedding(SplitEmbedding):
    """Turns ids into vectors, as `keras.layers.Embedding`, and lets the table grow.

    It takes everything that `keras.layers.Embedding` takes, LoRA and quantization
    included, and can be called in reverse with tied weights. It is saved as one
    ordinary table, `(input_dim, output_dim)`, which a stock `Embedding` can load.

    Args:
        input_dim: Number of rows of the table.
        output_dim: Size of the vectors.
        pad_id: The id, or ids, that mean "nothing here". Their vector is zero, and
            they are masked. Any int32 will do: -1 needs no row of the table. The
            row of a pad id starts as zeros and gets no gradient, so it stays zero
            whatever the optimizer. `mask_zero=True` is another way to write
            `pad_id=0`.
        frozen_rows: How many of the first rows never move, bit for bit, whatever
            the optimizer. They cost no optimizer state. Without them the layer has
            one weight, as the Keras layer.
        out_of_range: What an id that is neither a row nor a pad id does: `"raise"`
            an error; count as padding, `"pad"`; or the id whose row is read in its
            place, usually that of the unknown token. TensorFlow cannot raise from
            XLA, so with `"raise"` Keras trains the model without XLA there. Where
            raising is out of reach, in a TensorFlow function that you compile by
            XLA yourself or in an exported JAX or torch program, such an id gives a
            vector of NaN, never another row. A model on JAX folds ids of 64 bits
            into 32 before any layer sees them.
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
        pad_ids = _pad_ids(pad_id, kwargs.get("mask_zero", False))
        super().__init__(input_dim, output_dim, frozen_rows, pad_ids, **kwargs)
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
        check_policy(out_of_range, input_dim, pad_ids)
        self.pad_id = [*pad_id] if isinstance(pad_id, Iterable) else pad_id
        self.out_of_range = out_of_range
        self._pad_ids = pad_ids
        self.supports_masking = bool(pad_ids)
        if keras.backend.backend() == "tensorflow" and out_of_range == "raise":
            self.supports_jit = False
        if weights is not None:
            self.build()
            in_list = isinstance(weights, list) and len(weights) == 1
            self.assign_table(weights[0] if in_list else weights)

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
                own. The id of a row that is given is refused unless the row is
                zero: it is the row of a word. Other ids need no row.
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
        parts = [matrix, *added_rows(matrix, pad_ids, new_rows, new_rows_initializer)]
        check_pad_rows(parts[:1] if is_count(new_rows) else parts, pad_ids)
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

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Before Keras folds ids of 64 bits into 32 on JAX, one row into another.
        if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "iu":
            inputs = as_ids(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        if reverse:
            return self.project(inputs)
        return self._embed(inputs, self.read)

    def quantized_call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        if reverse:
            return super().quantized_call(inputs, reverse=True)
        return self._embed(inputs, self.read_quantized)

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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pad_id": self.pad_id,
            "frozen_rows": self.frozen_rows,
            "out_of_range": self.out_of_range,
        }

    def _embed(self, inputs: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        ids = self._settled(inputs)
        real = padding_mask(ids, self._pad_ids)
        inside = ops.logical_and(ids >= 0, ids < self.input_dim)
        readable = ops.logical_and(real, inside)
        rows = ops.where(readable, ids, ops.zeros_like(ids))
        vectors = read(rows)
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


def _pad_ids(pad_id: int | Iterable[int] | None, mask_zero: bool) -> tuple[int, ...]:
    pad_ids = () if pad_id is None else as_pad_ids(pad_id)
    return tuple(dict.fromkeys((0, *pad_ids) if mask_zero else pad_ids))
