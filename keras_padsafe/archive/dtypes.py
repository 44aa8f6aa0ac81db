"""Between the bytes that Keras stores and the numbers that they mean."""

import numpy as np

from keras_padsafe.archive.opaque_dtype import OPAQUE_WIDTHS
from keras_padsafe.arguments import read_instance, read_text
from keras_padsafe.errors import ArchiveError

# Keras name of each dtype that HDF5 stores natively -> NumPy storage dtype.
NATIVE_DTYPES = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "int8": np.dtype("<i1"),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype("<u1"),
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    "bool": np.dtype("?"),
}
_OPAQUE = {f"opaque{width}" for width in OPAQUE_WIDTHS}


def storage_dtype(dtype: str) -> np.dtype:
    """The NumPy dtype, always little-endian, in which arrays of `dtype` are read.

    bfloat16 is read as `uint16`, and `opaque1`, `opaque2`, `opaque4`, `opaque8` as
    unsigned integers of that many bytes: the stored bits and nothing more.
    """
    if dtype in NATIVE_DTYPES:
        return NATIVE_DTYPES[dtype]
    if dtype == "bfloat16":
        return np.dtype("<u2")
    if dtype in _OPAQUE:
        return np.dtype(f"<u{dtype.removeprefix('opaque')}")
    raise ArchiveError(
        f"dtype: none is called {dtype!r:.60}. Known: {[*NATIVE_DTYPES]}."
    )


def decode(stored: np.ndarray, dtype: str) -> np.ndarray:
    """The values that stored bits stand for.

    Args:
        stored: What `StoredArray.read` returns.
        dtype: `StoredArray.dtype`.

    Returns:
        float64 for every float dtype, int64 or uint64 for integers, bool for bool.

    Raises:
        ArchiveError: if they are of another dtype.
    """
    _refuse_opaque(dtype)
    kept = storage_dtype(dtype)
    if read_instance(stored, "stored", np.ndarray, ArchiveError).dtype != kept:
        raise ArchiveError(
            f"stored: expected {kept}, as {dtype} is stored; received {stored.dtype}."
        )
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        if dtype == "bfloat16":
            bits = stored.astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32).astype(np.float64)
        if dtype == "bool":
            return stored.view(np.uint8) != 0
        widest = {"f": np.float64, "i": np.int64, "u": np.uint64}
        return stored.astype(widest[storage_dtype(dtype).kind])


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    """The inverse of `decode`: `values` in the storage dtype of `dtype`.

    Floats round once, to the nearest, ties to even; what is too large becomes
    infinite and NaN stays NaN. An integer dtype takes integers that fit, only.
    """
    _refuse_opaque(dtype)
    if read_instance(values, "values", np.ndarray, ArchiveError).dtype.kind not in (
        "biuf"
    ):
        raise ArchiveError(f"values: expected numbers; received {values.dtype}.")
    if dtype == "bfloat16":
        return _to_bfloat16(values.astype(np.float64))
    target = storage_dtype(dtype)
    if target.kind in "iu":
        _check_integers_fit(values, target)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return values.astype(target)


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounds float64 to bfloat16 once.

    Rounding to float32 and then again could round a tie that was none. So the first
    step truncates and keeps in the last bit whether anything was cut ("round to odd"),
    which leaves the second step all that it needs.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        nearest = values.astype(np.float32)
    bits = nearest.view(np.uint32)
    back = nearest.astype(np.float64)
    with np.errstate(invalid="ignore"):
        rounded_away = np.abs(back) > np.abs(values)
        inexact = (back != values) & ~np.isnan(values)
    bits = (bits - rounded_away.astype(np.uint32)) | inexact.astype(np.uint32)
    half_minus_one_plus_odd = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & 1)
    rounded = ((bits + half_minus_one_plus_odd) >> np.uint32(16)).astype("<u2")
    quiet_nan = (bits >> np.uint32(16)).astype("<u2") | np.uint16(0x0040)
    return np.where(np.isnan(values), quiet_nan, rounded)


def _check_integers_fit(values: np.ndarray, target: np.dtype) -> None:
    bounds = np.iinfo(target)
    whole = values.dtype.kind in "iub" or bool(np.all(values == np.floor(values)))
    if not whole or (
        values.size and (values.min() < bounds.min or values.max() > bounds.max)
    ):
        raise ArchiveError(
            f"Values for an array of dtype {target.name!r} must be integers from "
            f"{bounds.min} to {bounds.max}. Round or rescale them first."
        )


def _refuse_opaque(dtype: str) -> None:
    read_text(dtype, "dtype", ArchiveError)
    if dtype.startswith("opaque"):
        raise ArchiveError(
            f"An array of dtype {dtype!r} has no known meaning: Keras stored its bytes "
            "without saying what they are. It can be copied, not computed with."
        )
