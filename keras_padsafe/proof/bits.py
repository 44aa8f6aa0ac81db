"""Arrays as the bits that a file stores."""

from typing import Any

import numpy as np


def bits(values: np.ndarray) -> np.ndarray:
    """The stored bits, so that NaN equals itself and 0 does not equal -0."""
    values = np.ascontiguousarray(values)
    return values.reshape(-1).view(np.dtype(f"u{values.dtype.itemsize}"))


def as_array(value: Any) -> np.ndarray:
    """A saved value with its own dtype."""
    import keras

    if isinstance(value, np.ndarray):
        return value
    return np.asarray(keras.ops.convert_to_numpy(value))
