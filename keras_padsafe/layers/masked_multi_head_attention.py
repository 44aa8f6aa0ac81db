"""`keras.layers.MultiHeadAttention` that padding cannot reach."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from keras_padsafe.layers.projected_attention import (
    ProjectedAttention,
    refuse_flash_scores,
)
from keras_padsafe.layers.score_axes import ScoreAxes
from keras_padsafe.ops.attend import attend
from keras_padsafe.ops.attention_masks import read_score_mask
from keras_padsafe.ops.masked_softmax import masked_softmax
from keras_padsafe.registration import serializable
from keras_padsafe.types import LayerArguments, Tensor


@serializable
class MaskedMultiHeadAttention(ProjectedAttention, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with masks that hold.

    Constructor and weights are those of the Keras layer, in memory and in a file:
    the one class can take the other's place in a saved model, in both directions.

    Args:
        num_heads: Number of attention heads.
        key_dim: Size of each head for queries and keys.
        value_dim: Size of each head for values. Defaults to `key_dim`.
        dropout: Share of the attention weights that is dropped in training.
        use_bias: Whether the projections have biases.
        output_shape: Last axes of the output. Defaults to the query's last axis.
        attention_axes: Axes to attend over. Defaults to all but batch, heads and
            features.
        sliding_window: How many steps back a query sees, its own among them, and as
            many ahead unless the mask is causal. Defaults to all.
        flash_attention: `True` requires the flash kernel, `False` forbids it, and
            `None` follows `keras.config.enable_flash_attention()`.
        kernel_initializer: Initializer of the projections.
        bias_initializer: Initializer of their biases.
        kernel_regularizer: Regularizer of the projections.
        bias_regularizer: Regularizer of their biases.
        activity_regularizer: Regularizer of the outputs.
        kernel_constraint: Constraint on the projections.
        bias_constraint: Constraint on their biases.
        use_gate: Whether a learned gate multiplies the context.
        seed: Seed of the dropout.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        query: Tensor of shape `(batch, query, dim)`.
        value: Tensor of shape `(batch, key, dim)`.
        key: Tensor of shape `(batch, key, dim)`. Defaults to `value`.
        query_mask: Padding of the queries, `(batch, query)`. Like the next two, it
            defaults to the mask that the tensor carries.
        value_mask: Padding of the values, `(batch, key)`.
        key_mask: Padding of the keys, `(batch, key)`.
        attention_mask: Mask of shape `(batch, query, key)` or
            `(batch, heads, query, key)`, each axis 1 or full.
        return_attention_scores: Whether to return the weights (before dropout),
            of shape `(batch, heads, query, key)`, as well.
        training: Whether dropout is active.
        use_causal_mask: Whether each query sees only the keys up to its position.

    Output shape:
        `(batch, query, dim)`, or as `output_shape` says.

    Masking:
        True is real. All masks are combined as booleans: a key counts for a query
        if every mask says so. What is hidden may hold NaN or infinity; neither an
        output nor a gradient notices. Outputs at padded queries are exactly 0; a
        real query that sees no key gets a context of 0, so its output is the bias
        of the output projection. The masks of the caller's tensors are left alone,
        and the output carries `query_mask`. An `attention_mask` of rank 2 is
        refused, since it could mean padding.

    Example:
    >>> layer = keras_padsafe.layers.MaskedMultiHeadAttention(num_heads=2, key_dim=4)
    >>> tokens = keras.ops.ones((2, 3, 8))
    >>> real = keras.ops.convert_to_tensor([[True, True, False], [False] * 3])
    >>> output = layer(tokens, tokens, query_mask=real, value_mask=real)
    >>> bool(keras.ops.all(output[1] == 0))
    True

    References:
        - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            num_heads=num_heads,
            key_dim=key_dim,
            value_dim=value_dim,
            dropout=dropout,
            use_bias=use_bias,
            output_shape=output_shape,
            attention_axes=attention_axes,
            sliding_window=sliding_window,
            flash_attention=flash_attention,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            use_gate=use_gate,
            seed=seed,
            **kwargs,
        )

    def _score_axes(self, query: Tensor) -> ScoreAxes:
        return ScoreAxes(len(query.shape) - 1, self.attention_axes)

    def _score_heads(self) -> int:
        return self.num_heads

    def _window(self) -> int | None:
        return getattr(self, "_sliding_window", None)

    def _kernel_is_causal(self, query: Tensor, key: Tensor) -> bool:
        mine = MaskedMultiHeadAttention._compute_attention
        plain = len(query.shape) == 3 and query.shape[1] == key.shape[1]
        return plain and type(self)._compute_attention is mine

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        training: bool | None,
        return_scores: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        # Subclasses of the Keras layer may lack the last argument.
        extra = {"use_causal_mask": True} if is_causal else {}
        return self._compute_attention(
            query, key, value, mask, training, return_scores, **extra
        )

    def _compute_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends with projected tensors; Keras documents it as open to overriding."""
        refuse_flash_scores(self._flash_attention, return_attention_scores)
        dropout = self.dropout if training else 0.0
        seed = getattr(self._dropout_layer, "seed_generator", None)
        if len(query.shape) != 4:
            return self._attend_along_axes(
                query, key, value, attention_mask, dropout, seed
            )
        if attention_mask is not None:
            sizes = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
            attention_mask = read_score_mask(attention_mask, sizes, "attention_mask")
        return attend(
            query,
            key,
            value,
            attention_mask,
            scale=self._inverse_sqrt_key_dim,
            is_causal=use_causal_mask,
            dropout=dropout,
            seed=seed,
            return_scores=return_attention_scores,
            flash_attention=self._flash_attention,
        )

    def _attend_along_axes(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        dropout: float,
        seed: Any,
    ) -> tuple[Tensor, Tensor]:
        """Attends over `attention_axes`, by the equations of the Keras layer."""
        dtype = keras.backend.result_type(query.dtype, "float32")
        query = ops.multiply(ops.cast(query, dtype), self._inverse_sqrt_key_dim)
        scores = ops.einsum(self._dot_product_equation, ops.cast(key, dtype), query)
        axes = tuple(range(-len(self.attention_axes), 0))
        weights = masked_softmax(scores, mask, axis=axes)
        kept = keras.random.dropout(weights, dropout, seed=seed) if dropout else weights
        kept = ops.cast(kept, value.dtype)
        output = ops.einsum(self._combine_equation, kept, value)
        return output, ops.cast(weights, value.dtype)
