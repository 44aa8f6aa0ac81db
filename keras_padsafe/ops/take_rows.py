"""Takes rows out, none of them twice, and lays them out again."""

from typing import Any

import keras
from keras import ops

from keras_padsafe.types import Tensor


@ops.custom_gradient
def take_rows(x: Tensor, numbers: Tensor) -> Any:
    """Takes rows of `x` of different numbers: their gradient needs no sums."""

    def gradient(*args: Any, upstream: Any = None) -> Any:
        upstream = args[0] if upstream is None else upstream
        return lay_out(upstream, numbers, ops.shape(x)[0]), None

    return ops.take(x, numbers, axis=0), gradient


def lay_out(rows: Tensor, numbers: Tensor, count: Any) -> Tensor:
    """Puts rows to their numbers among `count`; the others are 0."""
    if keras.backend.backend() == "torch":
        whole = ops.zeros((count, *rows.shape[1:]), rows.dtype)
        return whole.index_copy_(0, numbers.long(), rows)  # No second copy.
    # Looking up where each came from is faster than laying out rows.
    nothing = ops.zeros((1, *rows.shape[1:]), rows.dtype)
    where = ops.zeros((count,), "int32")
    came = ops.arange(1, ops.shape(rows)[0] + 1, dtype="int32")
    where = ops.scatter_update(where, numbers[:, None], came)
    return ops.take(ops.concatenate([nothing, rows]), where, axis=0)
