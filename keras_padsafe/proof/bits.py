"""Arrays as the bits that a file stores."""

import numpy as np


def bits(values: np.ndarray) -> np.ndarray:
    """The stored bits, so that NaN equals itself and 0 does not equal -0."""
    values = np.ascontiguousarray(values)
    return values.reshape(-1).view(np.dtype(f"u{values.dtype.itemsize}"))
