"""Joins checksums: crc(a + b) from crc(a), crc(b) and the length of b."""

from functools import lru_cache

# The CRC-32 of zip, as a polynomial over bits; the highest power is the lowest bit.
_POLYNOMIAL = 0xEDB88320
_ONE, _X = 1 << 31, 1 << 30


def combine_crc(first: int, second: int, second_size: int) -> int:
    """`zlib.crc32(a + b)`, given that of `a`, that of `b`, and `len(b)`.

    A CRC is a remainder of polynomials; to append n bytes is to multiply by x^8n.
    """
    if first == 0:  # nothing to shift
        return second
    for of_half in _products(8 * second_size):
        second ^= of_half[first & 15]
        first >>= 4
    return second


# A model has few sizes of arrays, and large ones are read in blocks of one size.
@lru_cache(maxsize=1024)
def _products(exponent: int) -> list[list[int]]:
    """What each half byte of a checksum, from the lowest, is times x^exponent."""
    power, products = _power_of_x(exponent), []
    for low in range(0, 32, 4):
        of_half = [0]
        for bit in range(low, low + 4):
            product = _multiply(1 << bit, power)
            of_half += [product ^ other for other in of_half]
        products.append(of_half)
    return products


def _multiply(a: int, b: int) -> int:
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _power_of_x(exponent: int) -> int:
    power, square = _ONE, _X
    while exponent:
        if exponent & 1:
            power = _multiply(square, power)
        square = _multiply(square, square)
        exponent >>= 1
    return power
