"""The mask convention of the package: boolean, and True marks what is real.

Padding masks are `(batch, time)`. Attention masks are `(batch, query, key)`, or
any shape that broadcasts to `(batch, heads, query, key)`. Masks are combined as
booleans and never added.
"""

import functools
from collections.abc import Iterable

from keras import backend, ops

from keras_padsafe.errors import MaskError
from keras_padsafe.ops.ids import as_ids, as_pad_ids
from keras_padsafe.types import Tensor


def padding_mask(ids: Tensor, pad_id: int | Iterable[int]) -> Tensor:
    """Marks the ids that are not padding.

    Args:
        ids: Integer tensor of any shape, usually `(batch, time)`.
        pad_id: The id, or ids, that mean "nothing here". Any integer will do:
            neither 0 nor a row of a table is needed.

    Returns:
        A boolean tensor of the shape of `ids`, True where the id is real.

    Example:
    >>> mask = keras_padsafe.ops.padding_mask([[7, 3, -1], [5, -1, -1]], pad_id=-1)
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, True, False], [True, False, False]]
    """
    ids = as_ids(ids)
    masks = [ops.not_equal(ids, pad) for pad in as_pad_ids(pad_id)]
    if not masks:
        return ops.ones_like(ids, dtype="bool")
    return functools.reduce(ops.logical_and, masks)


def mask_from_lengths(lengths: Tensor, time: int) -> Tensor:
    """Marks the first `lengths[i]` of `time` positions of row `i`.

    Args:
        lengths: Integer tensor of shape `(batch,)`.
        time: The length to which the rows are padded.

    Returns:
        A boolean tensor of shape `(batch, time)`.

    Example:
    >>> mask = keras_padsafe.ops.mask_from_lengths([2, 0], time=3)
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, True, False], [False, False, False]]
    """
    lengths = as_ids(lengths)
    positions = ops.arange(time, dtype="int32")
    return ops.less(positions, ops.expand_dims(lengths, -1))


def causal_mask(query_length: int, key_length: int) -> Tensor:
    """Lets each query see the keys up to its own position.

    The first query lines up with the first key, whatever the two lengths, as in
    the attention layers of Keras.

    Args:
        query_length: Number of queries.
        key_length: Number of keys.

    Returns:
        A boolean tensor of shape `(query, key)`.

    Example:
    >>> mask = keras_padsafe.ops.causal_mask(2, 3)
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, False, False], [True, True, False]]
    """
    return ops.greater_equal(*_positions(query_length, key_length))


def sliding_window_mask(query_length: int, key_length: int, window: int) -> Tensor:
    """Lets each query see the keys less than `window` positions away.

    The window opens to both sides; combined with `causal_mask` it is the last
    `window` positions, the query's own among them.

    Args:
        query_length: Number of queries.
        key_length: Number of keys.
        window: How far a query sees. With 1 it sees its own position only.

    Returns:
        A boolean tensor of shape `(query, key)`.

    Example:
    >>> mask = keras_padsafe.ops.sliding_window_mask(3, 3, window=2)
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, True, False], [True, True, True], [False, True, True]]
    """
    query, key = _positions(query_length, key_length)
    return ops.less(ops.abs(ops.subtract(query, key)), window)


def segment_mask(query_segments: Tensor, key_segments: Tensor) -> Tensor:
    """Lets each query see the keys of its own segment, for packed sequences.

    No segment number is special: give padding a segment of its own, or combine
    the result with a padding mask.

    Args:
        query_segments: Integer tensor of shape `(batch, query)`.
        key_segments: Integer tensor of shape `(batch, key)`.

    Returns:
        A boolean tensor of shape `(batch, query, key)`.

    Example:
    >>> mask = keras_padsafe.ops.segment_mask([[1, 1, 2]], [[1, 1, 2]])
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[[True, True, False], [True, True, False], [False, False, True]]]
    """
    query = ops.expand_dims(as_ids(query_segments), -1)  # (batch, query, 1)
    key = ops.expand_dims(as_ids(key_segments), -2)  # (batch, 1, key)
    return ops.equal(query, key)


def combine_masks(*masks: Tensor | None) -> Tensor | None:
    """Marks what every mask marks, broadcasting the masks as NumPy does.

    Args:
        *masks: Masks whose shapes broadcast together, aligned on the last axis.
            `None` stands for a mask that hides nothing.

    Returns:
        A boolean tensor, or `None` if every mask is `None`.

    Example:
    >>> padding = keras_padsafe.ops.mask_from_lengths([2], time=3)
    >>> causal = keras_padsafe.ops.causal_mask(3, 3)
    >>> mask = keras_padsafe.ops.combine_masks(padding, None, causal)
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [[True, False, False], [True, True, False], [True, True, False]]
    """
    given = [
        as_bool_mask(mask, f"masks[{position}]")
        for position, mask in enumerate(masks)
        if mask is not None
    ]
    return functools.reduce(_logical_and, given) if given else None


def as_bool_mask(mask: Tensor, name: str) -> Tensor:
    """Reads a mask that a caller gave: booleans, or integers 0 and 1.

    A mask of floats is refused. It may be a mask to add to the scores, where 0
    is what to keep, and no other reading of the same numbers is safe.

    Args:
        mask: The mask.
        name: The name under which the caller gave it, for the error.

    Returns:
        A boolean tensor of the same shape.

    Example:
    >>> mask = keras_padsafe.ops.as_bool_mask([1, 1, 0], "query_mask")
    >>> keras.ops.convert_to_numpy(mask).tolist()
    [True, True, False]
    """
    if not backend.is_keras_tensor(mask):  # Else each reading is a box in a plot.
        mask = ops.convert_to_tensor(mask)
    dtype = backend.standardize_dtype(mask.dtype)
    if dtype == "bool":
        return mask
    if "int" in dtype:
        return ops.not_equal(mask, 0)
    raise MaskError(
        f"`{name}` must hold booleans (True = real), or the integers 0 and 1. "
        f"Received: dtype {dtype}, shape {tuple(mask.shape)}. If it is a mask of 0 "
        "and 1, cast it to bool; if it is meant to be added to attention scores, "
        "pass it as a bias."
    )


def first_real(mask: Tensor) -> Tensor:
    """Marks the first real step of each row of a `(batch, time)` mask, if any."""
    mask = as_bool_mask(mask, "mask")
    count = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    return ops.logical_and(mask, ops.equal(count, 1))


def last_real(mask: Tensor) -> Tensor:
    """Marks the last real step of each row of a `(batch, time)` mask, if any."""
    return ops.flip(first_real(ops.flip(mask, axis=1)), axis=1)


def align_mask(mask: Tensor, x: Tensor) -> Tensor:
    """Gives `mask` the rank of `x`, matching their axes from the left.

    A mask says which steps are real, so its axes are the first axes of `x`:
    `(batch, time)` fits `(batch, time, dim)`. A size of 1 fits any size.

    Args:
        mask: Mask of at most the rank of `x`.
        x: The tensor that it describes.

    Returns:
        A boolean tensor of the rank of `x`, with axes of size 1 at the end.
    """
    mask = as_bool_mask(mask, "mask")
    pairs = zip(mask.shape, x.shape, strict=False)
    fits = all(None in pair or pair[0] in (1, pair[1]) for pair in pairs)
    if len(mask.shape) > len(x.shape) or not fits:
        raise MaskError(
            "The axes of `mask` must be the first axes of `x`, or 1. Received: "
            f"mask of shape {tuple(mask.shape)} and x of shape {tuple(x.shape)}. "
            "Insert the axes that are missing, e.g. `mask[None]` for a mask that "
            "all samples share."
        )
    return of_rank(mask, len(x.shape))


def of_rank(x: Tensor, rank: int) -> Tensor:
    """Gives `x` axes of size 1 at its end, up to a rank that it may have already."""
    return x[(..., *(None,) * (rank - len(x.shape)))]


def _positions(query_length: int, key_length: int) -> tuple[Tensor, Tensor]:
    query = ops.expand_dims(ops.arange(query_length, dtype="int32"), -1)
    return query, ops.arange(key_length, dtype="int32")


def _logical_and(first: Tensor, second: Tensor) -> Tensor:
    pairs = zip(reversed(first.shape), reversed(second.shape), strict=False)
    if any(None not in pair and 1 not in pair and pair[0] != pair[1] for pair in pairs):
        raise MaskError(
            "The masks do not broadcast together, aligned on the last axis. "
            f"Received: shapes {tuple(first.shape)} and {tuple(second.shape)}. "
            "Insert the axes that are missing, e.g. `mask[:, None, :]` to use a "
            "(batch, key) mask beside a (batch, query, key) mask."
        )
    return ops.logical_and(first, second)
