"""Decoded and encoded values equal those of ml_dtypes and NumPy."""

import numpy as np
import pytest

from keras_padsafe.archive import decode, encode
from keras_padsafe.archive.dtypes import NATIVE_DTYPES
from keras_padsafe.errors import ArchiveError

INTEGERS = [name for name in NATIVE_DTYPES if "int" in name]


def test_every_bfloat16_decodes_as_ml_dtypes_does() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        expected = bits.view(ml_dtypes.bfloat16).astype(np.float64)
    np.testing.assert_array_equal(decode(bits, "bfloat16"), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_decode_then_encode_keeps_every_bit(dtype: str) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    stored = bits if dtype == "bfloat16" else bits.view(np.float16)
    values = decode(stored, dtype)
    again = encode(values, dtype)
    number = ~np.isnan(values)
    np.testing.assert_array_equal(again.view(np.uint16)[number], bits[number])
    assert np.isnan(decode(again, dtype)[~number]).all()


def _exact_bfloat16(value: float) -> float:
    """Nearest bfloat16, ties to even: by exact scaling, in float64."""
    if not np.isfinite(value) or value == 0:
        return value
    exponent = max(np.frexp(value)[1] - 8, -133)
    rounded = np.ldexp(np.rint(np.ldexp(value, -exponent)), exponent)
    largest = float(np.ldexp(255, 120))
    return rounded if abs(rounded) <= largest else np.copysign(np.inf, value)


def test_bfloat16_rounds_once_to_nearest_even() -> None:
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 0x7F80, 2000).astype(np.uint16)
    below = decode(bits, "bfloat16")
    above = decode(bits + np.uint16(1), "bfloat16")
    middle = np.where(np.isinf(above), below, below / 2 + above / 2)
    values = [below, middle, np.nextafter(middle, np.inf), np.nextafter(middle, 0)]
    values += [generator.normal(size=2000), -middle]
    values += [np.array([3.4e38, 1e39, -1e300, 1e-45, 4e-41, 0.0, np.inf, -np.inf])]
    for case in values:
        expected = [_exact_bfloat16(float(value)) for value in case]
        np.testing.assert_array_equal(
            decode(encode(case, "bfloat16"), "bfloat16"), expected
        )


def test_negative_zero_and_nan() -> None:
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        values = decode(encode(np.array([-0.0, np.nan]), dtype), dtype)
        assert np.signbit(values[0])
        assert np.isnan(values[1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_encode_as_numpy_casts(dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=100) * 1e4
    np.testing.assert_array_equal(encode(values, dtype), values.astype(dtype))
    assert encode(np.array([1e400]), dtype)[0] == np.inf
    assert decode(encode(values, dtype), dtype).dtype == np.float64


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_keep_their_extremes(dtype: str) -> None:
    bounds = np.iinfo(dtype)
    values = np.array([bounds.min, 0, bounds.max], dtype)
    wide = decode(values, dtype)
    assert wide.dtype == (np.uint64 if dtype.startswith("u") else np.int64)
    np.testing.assert_array_equal(encode(wide, dtype), values)
    with pytest.raises(ArchiveError, match=f"integers from {bounds.min} to"):
        encode(np.array([1.5]), dtype)
    with pytest.raises(ArchiveError, match=f"integers from {bounds.min} to"):
        encode(np.array([np.nan]), dtype)


def test_integers_that_do_not_fit() -> None:
    with pytest.raises(ArchiveError, match="from -128 to 127"):
        encode(np.array([128]), "int8")


def test_bool_bytes_other_than_one_are_true() -> None:
    stored = np.array([0, 1, 2], np.uint8).view(np.bool_)
    np.testing.assert_array_equal(decode(stored, "bool"), [False, True, True])


def test_opaque_and_unknown_dtypes() -> None:
    with pytest.raises(ArchiveError, match="no known meaning"):
        decode(np.zeros(2, np.uint8), "opaque1")
    with pytest.raises(ArchiveError, match="dtype: none is called 'complex64'"):
        encode(np.zeros(2), "complex64")
