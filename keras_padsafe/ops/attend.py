"""The arithmetic of attention, on tensors in which nothing poisonous is left."""

from typing import Any

import keras
from keras import ops

from keras_padsafe.ops.attention_masks import real_rows, with_causal
from keras_padsafe.ops.fused_attention import can_fuse, fused_attention
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.safe_fill import safe_fill
from keras_padsafe.types import Tensor


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    scale: Any,
    bias: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    seed: Any = None,
    return_scores: bool = False,
    flash_attention: bool | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attends, by the backend's fused kernel if neither scores nor dropout are due.

    Args:
        query: `(batch, query, heads, head_dim)`.
        key: `(batch, key, key_heads, head_dim)`; `key_heads` divides `heads`.
        value: `(batch, key, key_heads, value_dim)`.
        mask: Booleans of rank 4, each axis 1 or full, or `None`.
        scale: Factor of the scores, a number or a scalar tensor.
        bias: Finite numbers to add to the scores, or `None`.
        is_causal: Whether a query sees only the keys up to its own position.
        dropout: Share of the weights to drop.
        seed: Seed of the dropout.
        return_scores: Whether the weights are wanted, as they are before dropout.
        flash_attention: As in `keras.ops.dot_product_attention`.

    Returns:
        The output `(batch, query, heads, value_dim)`, 0 where a query has nothing
        to attend to; and the weights `(batch, heads, query, key)`, or `None`.
    """
    query, key, value = (ops.convert_to_tensor(x) for x in (query, key, value))
    if not isinstance(scale, float):
        query, scale = ops.multiply(query, ops.cast(scale, query.dtype)), 1.0
    fused = not dropout and not return_scores and can_fuse(query, value)
    if is_causal and not (fused and mask is None and bias is None):
        mask, is_causal = with_causal(mask, query, key), False
    weights = None
    if fused:
        output = fused_attention(
            query,
            key,
            value,
            mask,
            bias=bias,
            scale=scale,
            is_causal=is_causal,
            flash_attention=flash_attention,
        )
    else:
        scores = _scores(query, key, scale, bias)
        output, weights = _weigh(scores, value, mask, dropout, seed)
    if mask is not None:
        output = hide(output, ops.swapaxes(real_rows(mask), 1, 2))
    if not return_scores or weights is None:
        return output, None
    return output, ops.cast(hide(weights, mask), value.dtype)


def _weigh(
    scores: Tensor, value: Tensor, mask: Tensor | None, dropout: float, seed: Any
) -> tuple[Tensor, Tensor]:
    """Turns scores `(batch, heads, query, key)` into weights, and averages `value`."""
    # Hidden scores weigh 0 beside one that is not. A row of them alone does not; there
    # the output is hidden, which is one pass over it and not one over the scores.
    weights = ops.softmax(hide(scores, mask, safe_fill(scores.dtype)))
    kept = keras.random.dropout(weights, dropout, seed=seed) if dropout else weights
    value = _per_query_head(ops.swapaxes(value, 1, 2), scores.shape[1])
    output = ops.matmul(ops.cast(kept, value.dtype), value)
    return ops.swapaxes(output, 1, 2), weights


def _scores(query: Tensor, key: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    """Computes the scores in float32: a product of two float16 may overflow."""
    dtype = keras.backend.result_type(query.dtype, "float32")
    query = ops.cast(ops.swapaxes(query, 1, 2), dtype)
    key = _per_query_head(ops.swapaxes(key, 1, 2), query.shape[1])
    key = ops.cast(ops.swapaxes(key, 2, 3), dtype)
    scores = ops.matmul(ops.multiply(query, scale), key)
    return scores if bias is None else ops.add(scores, ops.cast(bias, dtype))


def _per_query_head(x: Tensor, heads: int) -> Tensor:
    """Repeats `(batch, key_heads, ...)` for the query heads that share each."""
    return x if x.shape[1] == heads else ops.repeat(x, heads // x.shape[1], axis=1)
