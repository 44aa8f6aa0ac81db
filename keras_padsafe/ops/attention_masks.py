"""Reads the masks that callers of attention give, and applies them to tensors.

Inside, one mask is `(batch, heads, query, key)`, each axis 1 or full. Padding of
the keys stays `(batch, 1, 1, key)`: nothing is spread over the queries that does
not differ between them.
"""

from keras import ops

from keras_padsafe.errors import MaskError
from keras_padsafe.ops.masks import as_bool_mask, causal_mask
from keras_padsafe.types import Shape, Tensor


def read_score_mask(
    mask: Tensor, scores_shape: Shape, name: str, spatial: int = 1
) -> Tensor:
    """Checks a mask of queries and keys, and gives it the rank of the scores.

    Args:
        mask: `(batch, query, key)` or `(batch, heads, query, key)`, each axis 1 or
            full; between batch and heads there may be other axes.
        scores_shape: The sizes; `None` for one not known yet.
        name: What the caller calls the mask.
        spatial: How many axes the queries have, and the keys.
    """
    mask = as_bool_mask(mask, name)
    received = tuple(mask.shape)
    if len(received) == 2 * spatial:
        raise MaskError(
            f"`{name}` of rank {len(received)} has no batch axis, or means padding. "
            f"Received: shape {received}. For padding, pass it as `key_mask` (or "
            f"`value_mask`); for what all samples share, pass `{name}[None]`."
        )
    if 2 * spatial < len(received) <= len(scores_shape):
        while len(mask.shape) < len(scores_shape):
            mask = ops.expand_dims(mask, -2 * spatial - 1)
        if _fits(mask.shape, scores_shape):
            return mask
    raise MaskError(
        f"`{name}` must fit (batch, heads, query, key) = {tuple(scores_shape)}, each "
        f"axis 1 or full; the heads may be left out. Received: shape {received}."
    )


def read_padding_mask(mask: Tensor, shape: Shape, name: str) -> Tensor:
    """Checks that a padding mask is `(batch, time)`, of the sizes in `shape`.

    If `shape` has axes between or behind the two, the mask may have them too.
    """
    mask = as_bool_mask(mask, name)
    rank = len(mask.shape)
    if not 2 <= rank <= len(shape) or not _fits(mask.shape, shape[:rank]):
        raise MaskError(
            f"`{name}` must have shape (batch, time) = {tuple(shape)}. "
            f"Received: shape {tuple(mask.shape)}."
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


def seen_keys(mask: Tensor, query_mask: Tensor | None = None) -> Tensor:
    """Marks the keys that any real query attends to, `(batch, heads, key)`.

    Args:
        mask: `(batch, heads, query, key)`, each axis 1 or full.
        query_mask: Padding of the queries, `(batch, query)`.
    """
    if query_mask is not None:
        asking = query_mask[:, None, :, None]
        if mask.shape[-2] == 1:  # Every query sees the same: spread nothing.
            asking = ops.any(asking, axis=-2, keepdims=True)
        mask = ops.logical_and(mask, asking)
    return ops.any(mask, axis=-2)


def _fits(sizes: Shape, full: Shape) -> bool:
    pairs = zip(sizes, full, strict=True)
    return all(
        size == 1 or None in (size, whole) or size == whole for size, whole in pairs
    )


def _same_length(query: Tensor, key: Tensor) -> bool:
    return query.shape[1] is not None and query.shape[1] == key.shape[1]
