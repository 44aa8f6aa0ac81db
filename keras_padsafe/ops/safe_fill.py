"""The number that a masked score takes."""

from typing import Any

from keras import backend

from keras_padsafe.errors import PadsafeError

_LOWEST = {
    "float16": -65504.0,
    "bfloat16": -3.3895313892515355e38,
    "float32": -3.4028234663852886e38,
    "float64": -1.7976931348623157e308,
}


def safe_fill(dtype: Any) -> float:
    """Returns the lowest finite number of a floating-point type.

    It is never above a real score, so a maximum over filled scores is the
    maximum of the real ones; and it is finite, so a row that holds nothing else
    has no infinity to subtract from infinity.

    Args:
        dtype: A floating-point dtype, as a string or a backend's own.

    Returns:
        A Python float.

    Example:
    >>> keras_padsafe.ops.safe_fill("float16")
    -65504.0
    """
    name = backend.standardize_dtype(dtype)
    if name not in _LOWEST:
        raise PadsafeError(
            f"`safe_fill` needs a dtype among {', '.join(_LOWEST)}. Received: {name}."
        )
    return _LOWEST[name]
