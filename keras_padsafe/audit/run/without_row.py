"""Which ids have no row in a table."""

from collections.abc import Iterable

import keras
import numpy as np


def without_row(
    layer: keras.Operation, arrays: Iterable[np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray] | None:
    """The first ids among some arrays of which a layer's table lacks some rows.

    Returns:
        How many rows the table has, the ids, and which of them it has no row for.
    """
    sizes = [v.shape[0] for v in getattr(layer, "variables", ()) if len(v.shape) == 2]
    if not sizes:
        return None
    rows = getattr(layer, "input_dim", None) or max(sizes)
    # A Sequential model without an Input hands ids on as floats.
    kinds = "iuf" if isinstance(layer, keras.layers.Embedding) else "iu"
    for array in arrays:
        if array.dtype.kind in kinds and np.isfinite(array).all():
            ids = array.astype("int64")
            outside = (ids >= rows) | (ids < -rows)
            if outside.any():
                return int(rows), ids, outside
    return None
