"""The arithmetic of Keras's quantisers, to the last bit, in NumPy.

Keras rounds after each operation to the data type of the weight; so does this.

References:
    - `keras.quantizers.abs_max_quantize` and
      `keras.quantizers.abs_max_quantize_grouped_with_zero_point`.
"""

import numpy as np

from keras_padsafe.archive import decode, encode
from keras_padsafe.facts.quantisation import EPSILON, RANGES


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as a data type holds them, in float64."""
    return decode(encode(np.asarray(values), dtype), dtype)


def scales_of(
    low: np.ndarray, high: np.ndarray, bits: int, dtype: str, *, grouped: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The scale of numbers from `low` to `high`; of a group also its zero."""
    epsilon, (least, most) = rounded(np.array(EPSILON), dtype), RANGES[bits]
    if not grouped:
        largest = rounded(np.maximum(np.abs(low), np.abs(high)) + epsilon, dtype)
        return rounded(most / largest, dtype), None
    spread = rounded(rounded(high - low, dtype) + epsilon, dtype)
    scale = rounded(spread / (most - least), dtype)
    zero = np.round(rounded(-low / scale, dtype)) + least
    return scale, np.clip(rounded(zero, dtype), least, most)


def whole_numbers(
    values: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    bits: int,
    dtype: str,
) -> np.ndarray:
    """The whole numbers that stand for some of `dtype`."""
    if zero is None:
        whole = np.round(rounded(values * scale, dtype))
    else:
        whole = rounded(np.round(rounded(values / scale, dtype)) + zero, dtype)
    return np.clip(whole, *RANGES[bits]).astype(np.int8)


def real_numbers(
    whole: np.ndarray, scale: np.ndarray, zero: np.ndarray | None
) -> np.ndarray:
    """What whole numbers stand for, in float64."""
    return whole / scale if zero is None else (whole - zero) * scale


def packed(whole: np.ndarray, axis: int) -> np.ndarray:
    """Two numbers of four bits in each byte, along an axis."""
    pairs = np.moveaxis(whole, axis, 0).astype(np.uint8)
    if len(pairs) % 2:
        pairs = np.concatenate([pairs, np.zeros_like(pairs[:1])])
    both = (pairs[::2] & 15) | (pairs[1::2] << 4)
    return np.moveaxis(both.view(np.int8), 0, axis)


def unpacked(stored: np.ndarray, axis: int, length: int) -> np.ndarray:
    """The inverse of `packed`, for an axis of `length` numbers."""
    pairs = np.moveaxis(stored, axis, 0).view(np.int8)
    # Shifting left and back brings the sign along.
    halves = np.stack([(pairs << 4) >> 4, pairs >> 4], 1)
    return np.moveaxis(halves.reshape(-1, *pairs.shape[1:])[:length], 0, axis)
