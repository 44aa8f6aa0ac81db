"""Scaled dot-product attention that padding cannot reach."""

import math
from typing import Any

from keras import backend, ops

from keras_padsafe.errors import PadsafeError
from keras_padsafe.ops.attend import attend
from keras_padsafe.ops.attention_masks import (
    fold_causal,
    read_padding_mask,
    read_score_mask,
    real_rows,
    seen_keys,
    with_causal,
)
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import combine_masks
from keras_padsafe.ops.safe_fill import safe_fill
from keras_padsafe.types import Shape, Tensor


def masked_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    is_causal: bool = False,
    bias: Tensor | None = None,
    scale: Any = None,
    dropout: float = 0.0,
    seed: Any = None,
    return_scores: bool = False,
    flash_attention: bool | None = None,
) -> Any:
    """Averages the values by how well their keys answer each query.

    Shapes are those of `keras.ops.dot_product_attention`. The fused kernel of the
    backend is used where there is one, unless scores or dropout are asked for;
    the answer is the same either way.

    Args:
        query: Tensor of shape `(batch, query, heads, head_dim)`.
        key: Tensor of shape `(batch, key, key_heads, head_dim)`, where `key_heads`
            divides `heads` (grouped queries).
        value: Tensor of shape `(batch, key, key_heads, value_dim)`.
        mask: Mask of shape `(batch, query, key)` or `(batch, heads, query, key)`,
            each axis 1 or full. Rank 2 is refused, as it has two readings.
        query_mask: Padding of the queries, `(batch, query)`.
        key_mask: Padding of the keys and values, `(batch, key)`.
        is_causal: Whether each query sees only the keys up to its own position,
            the first query being at the first key.
        bias: Numbers to add to the scaled scores, of a shape that broadcasts to
            them. Minus infinity hides the key; other numbers are made finite.
        scale: Factor of the scores, a number or a scalar tensor. Defaults to
            `1 / sqrt(head_dim)`.
        dropout: Share of the weights to drop, now.
        seed: Seed of the dropout: an integer or a `keras.random.SeedGenerator`.
        return_scores: Whether to return the weights (before dropout) as well.
        flash_attention: As in `keras.ops.dot_product_attention`.

    Returns:
        The output, of shape `(batch, query, heads, value_dim)`, or with
        `return_scores` a pair of it and the weights, of shape
        `(batch, heads, query, key)`.

    Masking:
        True is real. All masks are combined as booleans, and a key counts for a
        query if every mask says so. Output and weights are 0, with zero
        gradients, for padded queries and for queries without a key. Keys that no
        query sees, and queries that see no key, may hold NaN or infinity: neither
        the output nor a gradient notices.

    Example:
    >>> query = keras.ops.zeros((1, 1, 1, 2))
    >>> key = keras.ops.zeros((1, 3, 1, 2))
    >>> value = keras.ops.reshape([2.0, 4.0, float("nan")], (1, 3, 1, 1))
    >>> output = keras_padsafe.ops.masked_attention(
    ...     query, key, value, key_mask=[[True, True, False]]
    ... )
    >>> float(keras.ops.squeeze(output))
    3.0
    """
    query, key, value = _read(query, key, value)
    batch, queries, heads, head_dim = query.shape
    shape = (batch, heads, queries, key.shape[1])
    if mask is not None:
        mask = read_score_mask(mask, shape, "mask")
    if key_mask is not None:
        padding: Tensor = read_padding_mask(key_mask, shape[::3], "key_mask")
        mask = combine_masks(mask, padding[:, None, None])
    if bias is not None:
        bias, visible = _read_bias(bias, query.dtype, shape)
        mask = combine_masks(mask, visible)
    if query_mask is not None:
        query_mask = read_padding_mask(query_mask, shape[::2], "query_mask")
        query = hide(query, query_mask)
    if is_causal and query_mask is not None:  # Some keys may be seen by padding only.
        mask, is_causal = with_causal(mask, query, key), False
    mask, is_causal = fold_causal(mask, is_causal, query, key)
    if mask is not None:
        query = hide(query, ops.swapaxes(real_rows(mask), 1, 2))
    if mask is not None or query_mask is not None:
        key, value = _hide_unseen(key, value, mask, query_mask)
    output, scores = attend(
        query,
        key,
        value,
        mask,
        bias=bias,
        scale=1 / math.sqrt(head_dim) if scale is None else scale,
        is_causal=is_causal,
        dropout=dropout,
        seed=seed,
        return_scores=return_scores,
        flash_attention=flash_attention,
    )
    output = hide(output, query_mask)
    if not return_scores:
        return output
    return output, hide(scores, None if query_mask is None else query_mask[:, None])


def _read(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    tensors = [ops.convert_to_tensor(x) for x in (query, key, value)]
    dtype = backend.result_type(*(x.dtype for x in tensors), float)
    query, key, value = (ops.cast(x, dtype) for x in tensors)
    shapes = [tuple(x.shape) for x in tensors]
    if any(len(shape) != 4 for shape in shapes):
        wrong = "must have rank 4: (batch, time, heads, head_dim)"
    elif query.shape[3] != key.shape[3]:
        wrong = "must agree in head_dim (query and key)"
    elif key.shape[1:3] != value.shape[1:3]:
        wrong = "must agree in time and heads (key and value)"
    elif not _same(query.shape[0], key.shape[0], value.shape[0]):
        wrong = "must agree in batch"
    elif query.shape[2] % key.shape[2]:
        wrong = "must have query heads that are a multiple of the key heads"
    else:
        return query, key, value
    raise PadsafeError(
        f"`query`, `key` and `value` {wrong}. Received: shapes {shapes[0]}, "
        f"{shapes[1]} and {shapes[2]}."
    )


def _read_bias(bias: Tensor, dtype: Any, scores_shape: Shape) -> tuple[Tensor, Tensor]:
    """Splits a bias into finite numbers and the places that it does not hide."""
    bias = ops.convert_to_tensor(bias)
    bias = ops.cast(bias, backend.result_type(bias.dtype, float))
    while len(bias.shape) < 4:
        bias = ops.expand_dims(bias, 0)
    if len(bias.shape) > 4 or not _broadcasts(bias.shape, scores_shape):
        raise PadsafeError(
            f"`bias` must broadcast to the scores, of shape {scores_shape}. "
            f"Received: shape {tuple(bias.shape)}."
        )
    visible = ops.not_equal(bias, -math.inf)
    limit = -safe_fill(dtype) / 2
    bias = ops.clip(ops.where(visible, bias, ops.zeros_like(bias)), -limit, limit)
    return ops.cast(bias, dtype), visible


def _broadcasts(sizes: Shape, full: Shape) -> bool:
    return all(a == 1 or _same(a, b) for a, b in zip(sizes, full, strict=True))


def _same(*sizes: int | None) -> bool:
    return len({size for size in sizes if size is not None}) <= 1


def _hide_unseen(
    key: Tensor, value: Tensor, mask: Tensor | None, query_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    given: Tensor = ops.ones((1, 1, 1, 1), dtype="bool") if mask is None else mask
    seen = seen_keys(given, query_mask)  # (batch, heads, key)
    heads, shared = given.shape[1], key.shape[2]
    if heads not in (1, shared):
        sizes = (ops.shape(seen)[0], shared, heads // shared, ops.shape(seen)[2])
        seen = ops.any(ops.reshape(seen, sizes), axis=2)
    seen = ops.swapaxes(seen, 1, 2)  # (batch, key, key_heads)
    return hide(key, seen), hide(value, seen)
