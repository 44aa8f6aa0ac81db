"""Combined checksums equal zlib's checksum of the whole."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from keras_padsafe.archive.crc import combine_crc


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combined_equals_whole(first: bytes, second: bytes) -> None:
    combined = combine_crc(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


def test_lengths_past_32_bits() -> None:
    """A CRC shifted by 5 GB in one step is that shifted by 1 GB five times."""
    gigabyte = 1 << 30
    zeros = 0
    for _ in range(gigabyte // (1 << 24)):
        zeros = zlib.crc32(bytes(1 << 24), zeros)
    stepwise, all_zeros = zlib.crc32(b"start"), 0
    for _ in range(5):
        stepwise = combine_crc(stepwise, zeros, gigabyte)
        all_zeros = combine_crc(all_zeros, zeros, gigabyte)
    once = combine_crc(zlib.crc32(b"start"), all_zeros, 5 * gigabyte)
    assert once == stepwise
