"""The records of a zip file of stored members whose sizes are known in advance.

Follows PKWARE's APPNOTE 6.3.10, and Keras in the values it leaves open.
"""

import struct
from dataclasses import dataclass

_STORED, _UTF8_NAME = 0, 0x0800
_VERSION, _VERSION_ZIP64, _UNIX = 20, 45, 3
_MIDNIGHT, _FIRST_OF_JANUARY_1980 = 0, 0x21  # one date for all: equal bytes
_OWNER_READS_AND_WRITES = 0o600 << 16
_IN_ZIP64_16, _IN_ZIP64_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001


@dataclass
class ZipEntry:
    """A member to write; `crc` may be filled in once its data has gone by."""

    name: str
    size: int
    header_offset: int
    crc: int = 0

    @property
    def data_offset(self) -> int:
        """Where the data starts in the file."""
        return self.header_offset + len(self.local_header())

    @property
    def end(self) -> int:
        """Where the next member starts."""
        return self.data_offset + self.size

    def local_header(self) -> bytes:
        """What stands before the data; its length does not depend on the CRC."""
        wide = self.size >= _IN_ZIP64_32
        size = _IN_ZIP64_32 if wide else self.size
        extra = _zip64_extra([self.size, self.size] if wide else [])
        name, flags = self._encoded_name()
        fields = (flags, _STORED, _MIDNIGHT, _FIRST_OF_JANUARY_1980, self.crc)
        return (
            struct.pack("<4s", b"PK\3\4")
            + struct.pack("<H", _VERSION_ZIP64 if wide else _VERSION)
            + struct.pack("<4HI", *fields)
            + struct.pack("<2I2H", size, size, len(name), len(extra))
            + name
            + extra
        )

    def central_header(self) -> bytes:
        """The member's entry in the directory at the end of the file."""
        wide: list[int] = []
        size, offset = self.size, self.header_offset
        if size >= _IN_ZIP64_32:
            wide += [size, size]
            size = _IN_ZIP64_32
        if offset >= _IN_ZIP64_32:
            wide.append(offset)
            offset = _IN_ZIP64_32
        version = _VERSION_ZIP64 if wide else _VERSION
        extra = _zip64_extra(wide)
        name, flags = self._encoded_name()
        fields = (flags, _STORED, _MIDNIGHT, _FIRST_OF_JANUARY_1980, self.crc)
        return (
            struct.pack("<4s", b"PK\1\2")
            + struct.pack("<2H", _UNIX << 8 | version, version)
            + struct.pack("<4HI", *fields)
            + struct.pack("<2I3H", size, size, len(name), len(extra), 0)
            + struct.pack("<2H2I", 0, 0, _OWNER_READS_AND_WRITES, offset)
            + name
            + extra
        )

    def _encoded_name(self) -> tuple[bytes, int]:
        return self.name.encode(), 0 if self.name.isascii() else _UTF8_NAME


def lay_out(sizes: dict[str, int]) -> dict[str, ZipEntry]:
    """Places members of these sizes one after the other."""
    entries: dict[str, ZipEntry] = {}
    offset = 0
    for name, size in sizes.items():
        entries[name] = ZipEntry(name, size, offset)
        offset = entries[name].end
    return entries


def archive_size(entries: dict[str, ZipEntry]) -> int:
    """Size of the whole file, known before a byte of it is written."""
    return max(entry.end for entry in entries.values()) + len(directory(entries))


def directory(entries: dict[str, ZipEntry]) -> bytes:
    """The central directory and the end of the file; its size ignores the CRCs."""
    start = max(entry.end for entry in entries.values())
    headers = b"".join(entry.central_header() for entry in entries.values())
    count, size = len(entries), len(headers)
    wide = start >= _IN_ZIP64_32 or count >= _IN_ZIP64_16
    return (
        headers
        + (_zip64_end(count, size, start) if wide else b"")
        + struct.pack("<4s2H", b"PK\5\6", 0, 0)
        + struct.pack("<2H", *[min(count, _IN_ZIP64_16)] * 2)
        + struct.pack("<2IH", size, min(start, _IN_ZIP64_32), 0)
    )


def _zip64_end(count: int, size: int, start: int) -> bytes:
    versions = (_UNIX << 8 | _VERSION_ZIP64, _VERSION_ZIP64)
    return (
        struct.pack("<4sQ2H2I", b"PK\6\6", 44, *versions, 0, 0)
        + struct.pack("<4Q", count, count, size, start)
        + struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    )


def _zip64_extra(values: list[int]) -> bytes:
    if not values:
        return b""
    return struct.pack(f"<2H{len(values)}Q", _ZIP64_EXTRA, 8 * len(values), *values)
