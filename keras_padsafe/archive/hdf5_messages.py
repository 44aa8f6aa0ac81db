"""The messages of an HDF5 object header, as far as Keras writes them.

Follows the "HDF5 File Format Specification", version 3.0, section IV.A.2. Each
function takes the bytes of one message and refuses whatever Keras never writes.
"""

import struct
from dataclasses import dataclass

from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import BrokenRule

DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE = 0x01, 0x03, 0x08, 0x0C
CONTINUATION, SYMBOL_TABLE = 0x10, 0x11
# Carry nothing that a reader of contiguous arrays needs: padding, the value of
# elements never written (all are), a comment, the time of the last change.
IGNORED = frozenset({0x00, 0x04, 0x05, 0x0D, 0x0E, 0x12})
KNOWN = IGNORED | {DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE, SYMBOL_TABLE}
# What foreign files have, for the error message.
FOREIGN = {
    0x02: "links of the newer kind",
    0x06: "links of the newer kind",
    0x07: "data in external files",
    0x0B: "compressed or filtered data",
    0x0F: "shared messages",
    0x15: "attributes of the newer kind",
}

UNDEFINED_ADDRESS = 0xFFFF_FFFF_FFFF_FFFF

# Bits 4 to 6 of a float's class bits: the top bit of the mantissa is implied.
_IMPLIED_MANTISSA_BIT = 0x20
# Size -> (bit offset, precision, exponent start, exponent size, mantissa start,
# mantissa size, exponent bias) of an IEEE 754 number.
_IEEE_LAYOUTS = {
    2: (0, 16, 10, 5, 0, 10, 15),
    4: (0, 32, 23, 8, 0, 23, 127),
    8: (0, 64, 52, 11, 0, 52, 1023),
}
_BOOL_NAMES = (b"FALSE", b"TRUE")


@dataclass(frozen=True)
class Datatype:
    """What the elements of an array or an attribute are.

    `kind` is `float`, `int`, `uint`, `bool`, `opaque`, `string` (fixed length) or
    `vlen` (a string kept in the global heap).
    """

    kind: str
    size: int

    @property
    def keras_name(self) -> str:
        """`float32` and the like; only for the kinds that NumPy has."""
        return "bool" if self.kind == "bool" else f"{self.kind}{8 * self.size}"


@dataclass(frozen=True)
class VlenString:
    """Where in the global heap the text of an attribute is."""

    length: int
    collection: int
    index: int


def parse_datatype(message: bytes) -> Datatype:
    """Class, size and encoding; refuses every encoding but NumPy's own."""
    version, datatype_class = message[0] >> 4, message[0] & 15
    bits = int.from_bytes(message[1:4], "little")
    (size,) = struct.unpack_from("<I", message, 4)
    properties = message[8:]
    if version not in (1, 2, 3) or size == 0:
        raise BrokenRule(f"its datatype has version {version} and {size} bytes")
    match datatype_class:
        case 0:
            return _parse_integer(bits, size, properties)
        case 1:
            return _parse_float(bits, size, properties)
        case 3:
            return Datatype("string", size)
        case 5:
            return Datatype("opaque", size)
        case 8:
            return _parse_bool(bits, size, properties, padded_names=version < 3)
        case 9 if bits & 15 == 1:
            return Datatype("vlen", size)
    raise BrokenRule(f"its datatype class, {datatype_class}, is none that Keras stores")


def _parse_integer(bits: int, size: int, properties: bytes) -> Datatype:
    offset_and_precision = struct.unpack_from("<HH", properties)
    _refuse_big_endian(bits)
    if size not in (1, 2, 4, 8) or offset_and_precision != (0, 8 * size):
        raise BrokenRule(f"its integers of {size} bytes have an unusual layout")
    return Datatype("int" if bits & 8 else "uint", size)


def _parse_float(bits: int, size: int, properties: bytes) -> Datatype:
    layout = struct.unpack_from("<HHBBBBI", properties)
    _refuse_big_endian(bits)
    sign_position = bits >> 8 & 0xFF
    if (
        layout != _IEEE_LAYOUTS.get(size)
        or sign_position != 8 * size - 1
        or bits & 0x30 != _IMPLIED_MANTISSA_BIT
    ):
        raise BrokenRule(f"its floats of {size} bytes are not those of IEEE 754")
    return Datatype("float", size)


def _refuse_big_endian(bits: int) -> None:
    if bits & 0x41:
        raise BrokenRule(
            "it is stored big-endian",
            "Load the model with Keras on the JAX or TensorFlow backend, and save it.",
        )


def _parse_bool(
    bits: int, size: int, properties: bytes, *, padded_names: bool
) -> Datatype:
    """h5py stores bool as an enumeration FALSE = 0, TRUE = 1 over int8."""
    base = parse_datatype(properties)
    names_start = 12  # the size of an integer datatype
    pad = (lambda name: name.ljust(8, b"\0")) if padded_names else (lambda name: name)
    expected = b"".join(pad(name + b"\0") for name in _BOOL_NAMES) + b"\x00\x01"
    members = properties[names_start : names_start + len(expected)]
    if base != Datatype("int", 1) or (size, bits) != (1, 2) or members != expected:
        raise BrokenRule("it holds an enumeration other than bool")
    return Datatype("bool", 1)


def parse_dataspace(message: bytes, limits: Limits) -> tuple[int, ...]:
    """The shape."""
    version, rank = message[0], message[1]
    if version not in (1, 2) or (version == 2 and message[3] == 2):
        raise BrokenRule(f"its dataspace has version {version} or is null")
    if rank > limits.max_rank:
        raise BrokenRule(f"it has {rank} dimensions, over {limits.max_rank}")
    return struct.unpack_from(f"<{rank}Q", message, 8 if version == 1 else 4)


def parse_layout(message: bytes) -> tuple[int, int]:
    """Offset and size of an array's bytes: one piece, neither split nor packed."""
    version, layout_class = message[0], message[1]
    if version != 3 or layout_class != 1:
        name = {0: "compact", 2: "chunked", 3: "virtual"}.get(layout_class, "unknown")
        raise BrokenRule(
            f"its data is {name} (layout version {version}), not contiguous"
        )
    return struct.unpack_from("<QQ", message, 2)


def attribute_name(message: bytes) -> str:
    """The name alone, which tells foreign files before the rest is read."""
    version = message[0]
    if version not in (1, 3):
        raise BrokenRule(f"an attribute has version {version}")
    (name_size,) = struct.unpack_from("<H", message, 2)
    start = 8 if version == 1 else 9
    return message[start : start + name_size].rstrip(b"\0").decode("utf-8")


def parse_attribute(message: bytes, limits: Limits) -> str | VlenString:
    """The text of an attribute, or where to find it: Keras writes one string."""
    version = message[0]
    name_size, type_size, space_size = struct.unpack_from("<HHH", message, 2)
    position = 8 if version == 1 else 9
    parts = []
    for size in (name_size, type_size, space_size):
        parts.append(message[position : position + size])
        position += -(-size // 8) * 8 if version == 1 else size
    datatype, shape = parse_datatype(parts[1]), parse_dataspace(parts[2], limits)
    value = message[position:]
    if shape:
        raise BrokenRule("it is an array; Keras writes single strings")
    if datatype.kind == "vlen":
        reference = VlenString(*struct.unpack_from("<IQI", value))
        _check_attribute_size(reference.length, limits)
        return reference
    if datatype.kind == "string":
        _check_attribute_size(datatype.size, limits)
        return value[: datatype.size].rstrip(b"\0").decode("utf-8")
    raise BrokenRule(f"it is of kind {datatype.kind}; Keras writes strings")


def _check_attribute_size(size: int, limits: Limits) -> None:
    if size > limits.max_attribute_bytes:
        raise BrokenRule(f"it has {size} bytes, over {limits.max_attribute_bytes}")
