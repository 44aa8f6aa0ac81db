"""Reads the masks that callers of attention give, and applies them to tensors.

Inside, one mask is `(batch, heads, query, key)`, each axis 1 or full. Padding of
the keys stays `(batch, 1, 1, key)`: nothing is spread over the queries that does
not differ between them.
"""

from keras import ops

from keras_padsafe.errors import MaskError
from keras_padsafe.ops.masks import as_bool_mask, causal_mask, combine_masks
from keras_padsafe.types import Shape, Tensor

_SCORE_AXES = ("batch", "heads", "query", "key")


def score_mask(
    mask: Tensor | None, key_mask: Tensor | None, scores_shape: Shape, name: str
) -> Tensor | None:
    """Combines an attention mask and the padding of the keys.

    Args:
        mask: `(batch, query, key)` or `(batch, heads, query, key)`, each axis 1
            or full, or `None`.
        key_mask: `(batch, key)`, or `None`.
        scores_shape: The four sizes; `None` for one not known yet.
        name: What the caller calls `mask`.

    Returns:
        A boolean mask of rank 4, or `None`.
    """
    if mask is not None:
        mask = _read_attention_mask(mask, scores_shape, name)
    if key_mask is not None:
        key_mask = read_padding_mask(key_mask, scores_shape[::3], "key_mask")
        key_mask = key_mask[:, None, None, :]
    return combine_masks(mask, key_mask)


def read_padding_mask(mask: Tensor, shape: Shape, name: str) -> Tensor:
    """Checks that a padding mask is `(batch, time)`, of the sizes in `shape`."""
    mask = as_bool_mask(mask, name)
    if len(mask.shape) != 2 or not _fits(mask.shape, shape):
        raise MaskError(
            f"`{name}` must have shape (batch, time) = {_sizes(shape)}. "
            f"Received: shape {_sizes(mask.shape)}."
        )
    return mask


def fold_causal(
    mask: Tensor | None, is_causal: bool, query: Tensor, key: Tensor
) -> tuple[Tensor | None, bool]:
    """Leaves `is_causal` to the kernel only where no key goes unseen by it."""
    if is_causal and (mask is not None or not _same_length(query, key)):
        return with_causal(mask, query, key), False
    return mask, is_causal


def with_causal(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
    """Combines a mask and the causal one, for tensors `(batch, time, ...)`."""
    causal = causal_mask(ops.shape(query)[1], ops.shape(key)[1])[None, None]
    return causal if mask is None else ops.logical_and(mask, causal)


def real_rows(mask: Tensor) -> Tensor:
    """Marks the rows that have anything to attend to, `(batch, heads, query)`."""
    return ops.any(mask, axis=-1)


def seen_keys(mask: Tensor) -> Tensor:
    """Marks the keys that any query attends to, `(batch, heads, key)`."""
    return ops.any(mask, axis=-2)


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """Sets to 0 what `mask`, with the first axes of `x`, hides.

    Multiplying by the mask would not do: 0 times NaN is NaN.
    """
    if mask is None:
        return x
    while len(mask.shape) < len(x.shape):
        mask = ops.expand_dims(mask, -1)
    return ops.where(mask, x, ops.zeros_like(x))


def _read_attention_mask(mask: Tensor, scores_shape: Shape, name: str) -> Tensor:
    mask = as_bool_mask(mask, name)
    if len(mask.shape) == 2:
        raise MaskError(
            f"`{name}` of rank 2 could mean (batch, key) or (query, key). Received: "
            f"shape {_sizes(mask.shape)}. For padding, pass it as `key_mask` (or "
            "`value_mask`); for queries and keys that all samples share, pass "
            f"`{name}[None]`."
        )
    if len(mask.shape) == 3:
        mask = ops.expand_dims(mask, 1)
    if len(mask.shape) != 4 or not _fits(mask.shape, scores_shape):
        axes = ", ".join(
            f"{axis} {size}"
            for axis, size in zip(_SCORE_AXES, scores_shape, strict=True)
        )
        raise MaskError(
            f"`{name}` must have shape (batch, query, key) or (batch, heads, query, "
            f"key), each axis 1 or full. Expected: {axes}. Received: shape "
            f"{_sizes(mask.shape)}."
        )
    return mask


def _fits(sizes: Shape, full: Shape) -> bool:
    pairs = zip(sizes, full, strict=True)
    return all(
        size == 1 or None in (size, whole) or size == whole for size, whole in pairs
    )


def _same_length(query: Tensor, key: Tensor) -> bool:
    return query.shape[1] is not None and query.shape[1] == key.shape[1]


def _sizes(shape: Shape) -> tuple[int | None, ...]:
    return tuple(None if size is None else int(size) for size in shape)
