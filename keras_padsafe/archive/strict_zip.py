"""Reads the zip files that Keras writes, and refuses ambiguous ones.

Python's zipfile takes the last of two members of one name, skips bytes before and
after the archive and trusts the central directory. Two readers may then see two
different models in one file. Here the local headers and the central directory must
say the same, and no byte may belong to two members.

Follows PKWARE's APPNOTE 6.3.10; section numbers are its.
"""

import struct
import zlib
from dataclasses import dataclass

from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.foreign import refuse_foreign_zip
from keras_padsafe.archive.limits import SMALL_JSON, Limits
from keras_padsafe.archive.member_names import check_member_names
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing

LOCAL_SIGNATURE = b"PK\3\4"
_END, _END_SIGNATURE = struct.Struct("<4s4H2IH"), b"PK\5\6"
_END64, _END64_SIGNATURE = struct.Struct("<4sQ2H2I4Q"), b"PK\6\6"
_LOCATOR, _LOCATOR_SIGNATURE = struct.Struct("<4sIQI"), b"PK\6\7"
_CENTRAL, _CENTRAL_SIGNATURE = struct.Struct("<4s6H3I5H2I"), b"PK\1\2"
_LOCAL = struct.Struct("<4s5H3I2H")
_IN_ZIP64_16, _IN_ZIP64_32 = 0xFFFF, 0xFFFFFFFF
_ALL_ONES = (_IN_ZIP64_16,) * 4 + (_IN_ZIP64_32,) * 2
# Of one member in the directory, beside its name: Keras and `zipfile` need 28.
_MOST_EXTRA_BYTES = 1_024
_ZIP64_EXTRA = 0x0001

STORED, DEFLATED = 0, 8
# Two bits tell how hard the deflater tried, one that the name is UTF-8.
_ALLOWED_FLAGS, _UTF8_NAME = 0x0806, 0x0800
_FILE_KINDS = (0, 0o10)  # of a Unix mode: not stated, regular


@dataclass(frozen=True)
class Member:
    """One file in the archive; `data` are its stored, perhaps deflated, bytes."""

    name: str
    method: int
    flags: int
    crc: int
    stored_size: int
    size: int
    header_offset: int
    data: ByteWindow

    def read(self) -> bytes:
        """The whole contents, inflated; its checksum is verified."""
        with refusing(self.data.name):
            stored = self.data.read(0, self.stored_size)
            contents = stored if self.method == STORED else self._inflate(stored)
            if len(contents) != self.size or zlib.crc32(contents) != self.crc:
                raise BrokenRule("its checksum does not match", FETCH_AGAIN)
            return contents

    def _inflate(self, stored: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        contents = inflater.decompress(stored, self.size + 1)
        if inflater.unused_data or not inflater.eof:
            raise BrokenRule("its compressed data does not end where it must")
        return contents


def read_zip(window: ByteWindow, limits: Limits) -> dict[str, Member]:
    """Every member by name, in the order of the central directory."""
    with refusing(window.name):
        directory_start, directory_size, count = _find_directory(window, limits)
        directory = window.read(directory_start, directory_size)
        members = []
        position = 0
        for _ in range(count):
            fields, name, extra, position = _parse_central(directory, position)
            members.append(_locate(window, fields, name, extra, directory_start))
        if position != directory_size:
            raise BrokenRule("its central directory has stray bytes", FETCH_AGAIN)
        names = [member.name for member in members]
        if (foreign := refuse_foreign_zip(names)) is not None:
            raise foreign
        check_member_names(names, limits)
        _check_extents(members)
        _check_budgets(members, limits)
        return {member.name: member for member in members}


def _find_directory(window: ByteWindow, limits: Limits) -> tuple[int, int, int]:
    """Section 4.3.16: start, size and count; it ends where the file's tail starts."""
    tail_start = window.size - _END.size
    if tail_start < 0:
        raise BrokenRule("it is too short for a zip file", FETCH_AGAIN)
    tail = _END.unpack(window.read(tail_start, _END.size))
    signature, disk, first_disk, count_here, count, size, start, comment_size = tail
    if signature != _END_SIGNATURE or comment_size:
        raise BrokenRule(
            "it is cut short, or bytes follow the end of its zip directory", FETCH_AGAIN
        )
    wide = _find_zip64(window, tail_start)
    if wide is not None:
        narrow = (disk, first_disk, count_here, count, size, start)
        tail_start, *numbers = wide
        # `zipfile` leaves true what fits; elsewhere all ones stand for "see above".
        for said, true, ones in zip(narrow, numbers, _ALL_ONES, strict=True):
            if said not in (true, ones):
                raise BrokenRule("its zip directory is described in two different ways")
        disk, first_disk, count_here, count, size, start = numbers
    if disk or first_disk or count_here != count:
        raise BrokenRule("it is one part of a split zip file")
    if count > limits.max_members:
        raise BrokenRule(f"it has {count} members, over {limits.max_members}")
    if start + size != tail_start:
        raise BrokenRule(
            "its zip directory is not where its end says; bytes were added or lost",
            FETCH_AGAIN,
        )
    if size > count * (_CENTRAL.size + limits.max_name_bytes + _MOST_EXTRA_BYTES):
        raise BrokenRule(f"its zip directory has {size} bytes for {count} members")
    return start, size, count


def _find_zip64(window: ByteWindow, tail_start: int) -> tuple[int, ...] | None:
    """Sections 4.3.14 and 4.3.15: the same numbers, where a locator stands.

    Not only where the end record cannot hold them: `zipfile` writes them from 2 GiB
    on, and keeps the true ones in the end record up to 4.
    """
    locator_start = tail_start - _LOCATOR.size
    end64_start = locator_start - _END64.size
    if locator_start < 0:
        return None
    locator = _LOCATOR.unpack(window.read(locator_start, _LOCATOR.size))
    if locator[0] != _LOCATOR_SIGNATURE:
        return None
    if end64_start < 0 or locator != (_LOCATOR_SIGNATURE, 0, end64_start, 1):
        raise BrokenRule("its zip64 directory is damaged", FETCH_AGAIN)
    end64 = _END64.unpack(window.read(end64_start, _END64.size))
    if end64[:2] != (_END64_SIGNATURE, _END64.size - 12):
        raise BrokenRule("its zip64 directory is damaged", FETCH_AGAIN)
    return end64_start, *end64[4:]


def _parse_central(directory: bytes, position: int) -> tuple[tuple, bytes, bytes, int]:
    """Section 4.3.12: one entry's fields, name and extra, and where it ends."""
    fields = _CENTRAL.unpack_from(directory, position)
    if fields[0] != _CENTRAL_SIGNATURE:
        raise BrokenRule("its zip directory is damaged", FETCH_AGAIN)
    name_size, extra_size, comment_size = fields[10:13]
    name_start = position + _CENTRAL.size
    extra_start = name_start + name_size
    end = extra_start + extra_size + comment_size
    if end > len(directory):
        raise BrokenRule("its zip directory is cut short", FETCH_AGAIN)
    name = directory[name_start:extra_start]
    return fields, name, directory[extra_start : extra_start + extra_size], end


def _locate(
    window: ByteWindow, fields: tuple, raw_name: bytes, extra: bytes, limit: int
) -> Member:
    """Builds a member from its central entry and compares its local header."""
    flags, method = fields[3], fields[4]
    crc, stored_size, size = fields[7:10]
    disk, mode, header_offset = fields[13], fields[15] >> 16, fields[16]
    name = _decode_name(raw_name, flags)
    if flags & ~_ALLOWED_FLAGS:
        raise BrokenRule(f"member {name!r} is encrypted or streamed (flags {flags:#x})")
    if method not in (STORED, DEFLATED):
        raise BrokenRule(f"member {name!r} is compressed by method {method}")
    if mode >> 12 not in _FILE_KINDS or disk:
        raise BrokenRule(f"member {name!r} is a link or a special file")
    size, stored_size, header_offset = _widen(
        extra, [size, stored_size, header_offset], name
    )
    local = _LOCAL.unpack(window.read(header_offset, _LOCAL.size))
    local_name_size, local_extra_size = local[9:11]
    rest = window.read(header_offset + _LOCAL.size, local_name_size + local_extra_size)
    local_extra = rest[local_name_size:]
    local_size, local_stored_size = _widen(local_extra, [local[8], local[7]], name)
    told_locally = (local[0], local[2], local[3], local[6], rest[:local_name_size])
    told_centrally = (LOCAL_SIGNATURE, flags, method, crc, raw_name)
    if told_locally != told_centrally or (local_size, local_stored_size) != (
        size,
        stored_size,
    ):
        raise BrokenRule(f"member {name!r} is described in two different ways")
    data_offset = header_offset + _LOCAL.size + len(rest)
    if data_offset + stored_size > limit:
        raise BrokenRule(f"member {name!r} reaches into the zip directory", FETCH_AGAIN)
    if method == STORED and size != stored_size:
        raise BrokenRule(f"member {name!r} has two sizes")
    data = window.part(name, data_offset, stored_size)
    return Member(name, method, flags, crc, stored_size, size, header_offset, data)


def _decode_name(raw_name: bytes, flags: int) -> str:
    try:
        return raw_name.decode("utf-8" if flags & _UTF8_NAME else "ascii")
    except UnicodeDecodeError:
        raise BrokenRule(f"a member's name is not UTF-8: {raw_name[:80]!r}") from None


def _widen(extra: bytes, values: list[int], name: str) -> list[int]:
    """Section 4.5.3: 64-bit values stand in the extra field, in this order."""
    position = 0
    wide: list[int] = []
    while position + 4 <= len(extra):
        kind, count = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + count]
        if kind == _ZIP64_EXTRA:
            if wide or len(field) != count:
                raise BrokenRule(f"member {name!r} has a damaged zip64 field")
            wide = [value for (value,) in struct.iter_unpack("<Q", field)]
        position += 4 + count
    needed = sum(value == _IN_ZIP64_32 for value in values)
    if needed and len(wide) != needed:
        raise BrokenRule(f"member {name!r} has a damaged zip64 field")
    found = iter(wide)
    return [next(found) if value == _IN_ZIP64_32 else value for value in values]


def _check_extents(members: list[Member]) -> None:
    """From the file's first byte on, no byte belongs to two members."""
    end = 0
    by_offset = sorted(members, key=lambda member: member.header_offset)
    if by_offset and by_offset[0].header_offset != 0:
        raise BrokenRule("bytes stand before its first member")
    for member in by_offset:
        if member.header_offset < end:
            raise BrokenRule(f"member {member.name!r} overlaps the one before it")
        end = member.data.start + member.stored_size


def _check_budgets(members: list[Member], limits: Limits) -> None:
    for member in members:
        inflation = member.size / max(member.stored_size, 1)
        large = member.name.endswith(".json") and member.size > SMALL_JSON
        most = limits.max_json_inflation if large else limits.max_inflation
        if member.method == DEFLATED and inflation > most:
            raise BrokenRule(
                f"member {member.name!r} inflates {inflation:.0f} times to "
                f"{member.size} bytes, over {most} times"
            )
