"""`keras.layers.GroupQueryAttention` that padding cannot reach."""

from typing import Any, Unpack

import keras

from keras_padsafe.layers.projected_attention import (
    ProjectedAttention,
    refuse_flash_scores,
)
from keras_padsafe.layers.score_axes import ScoreAxes
from keras_padsafe.ops.attend import attend
from keras_padsafe.ops.attention_masks import read_score_mask
from keras_padsafe.registration import serializable
from keras_padsafe.types import LayerArguments, Tensor


@serializable
class MaskedGroupedQueryAttention(ProjectedAttention, keras.layers.GroupQueryAttention):
    """`keras.layers.GroupQueryAttention` with masks that hold.

    Constructor and weights are those of the Keras layer, in memory and in a file:
    the one class can take the other's place in a saved model, in both directions.

    Args:
        head_dim: Size of each head.
        num_query_heads: Number of heads of the queries.
        num_key_value_heads: Number of heads of the keys and values; it divides the
            number of the queries' heads.
        dropout: Share of the attention weights that is dropped in training.
        use_bias: Whether the projections have biases.
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
        `(batch, query, dim)`.

    Masking:
        As in `keras_padsafe.layers.MaskedMultiHeadAttention`.

    Example:
    >>> layer = keras_padsafe.layers.MaskedGroupQueryAttention(
    ...     head_dim=4, num_query_heads=4, num_key_value_heads=2
    ... )
    >>> tokens = keras.ops.ones((2, 3, 8))
    >>> real = keras.ops.convert_to_tensor([[True, True, False], [False] * 3])
    >>> output = layer(tokens, tokens, query_mask=real, value_mask=real)
    >>> bool(keras.ops.all(output[1] == 0))
    True

    References:
        - [Ainslie et al., 2023](https://arxiv.org/abs/2305.13245)
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
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
            head_dim=head_dim,
            num_query_heads=num_query_heads,
            num_key_value_heads=num_key_value_heads,
            dropout=dropout,
            use_bias=use_bias,
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
        return ScoreAxes(2, (1,))

    def _score_heads(self) -> int:
        return self.num_query_heads

    def _window(self) -> int | None:
        return getattr(self, "sliding_window", None)

    def _kernel_is_causal(self, query: Tensor, key: Tensor) -> bool:
        mine = MaskedGroupedQueryAttention._compute_attention
        plain = query.shape[1] == key.shape[1]
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
        # Keras passes this by an attribute, and subclasses rely on it.
        self._return_attention_scores = return_scores
        # Subclasses of the Keras layer may lack the last argument.
        extra = {"use_causal_mask": True} if is_causal else {}
        return self._compute_attention(
            query, key, value, attention_mask=mask, training=training, **extra
        )

    def _compute_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends with projected tensors; the keys keep their own number of heads."""
        return_scores = self._return_attention_scores
        refuse_flash_scores(self._flash_attention, return_scores)
        if attention_mask is not None:
            sizes = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
            attention_mask = read_score_mask(attention_mask, sizes, "attention_mask")
        return attend(
            query,
            key,
            value,
            attention_mask,
            scale=self._inverse_sqrt_head_dim,
            is_causal=use_causal_mask,
            dropout=self.dropout if training else 0.0,
            seed=getattr(self._dropout_layer, "seed_generator", None),
            return_scores=return_scores,
            flash_attention=self._flash_attention,
        )
