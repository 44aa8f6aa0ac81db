"""Every zip file that could mean two things is refused, and the rule is named."""

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.strict_zip import Member, read_zip
from keras_padsafe.archive.zip_writer import ZipEntry, directory, lay_out
from keras_padsafe.errors import ArchiveError

MEMBERS = {
    "metadata.json": b"{}",
    "config.json": b'{"a": 1}',
    "model.weights.h5": bytes(range(256)) * 4,
    "assets/größer.txt": b"words",
}
Edit = Callable[[bytearray], bytes | bytearray]


def _read(path: Path, limits: Limits | None = None) -> dict[str, Member]:
    return read_zip(ByteWindow.of_file(path), limits or Limits())


def _zip(path: Path, method: int = zipfile.ZIP_STORED, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, contents in {**MEMBERS, **more}.items():
            archive.writestr(name, contents)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_what_zipfile_writes(method: int, tmp_path: Path) -> None:
    members = _read(_zip(tmp_path / "a.keras", method))
    assert {name: member.read() for name, member in members.items()} == MEMBERS


def test_reads_zip64_headers_as_keras_writes_them(tmp_path: Path) -> None:
    """A member of unknown size gets a zip64 field even if it turns out small."""
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for name, contents in MEMBERS.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(contents)
    members = _read(tmp_path / "a.keras")
    assert {name: member.read() for name, member in members.items()} == MEMBERS


def test_sizes_past_32_bits_round_trip(tmp_path: Path) -> None:
    """A sparse file stands for 5 GB of weights."""
    entries = lay_out({"model.weights.h5": 5 << 30, "assets/a.txt": 3})
    path = tmp_path / "a.keras"
    with open(path, "wb") as file:
        for entry in entries.values():
            file.seek(entry.header_offset)
            file.write(entry.local_header())
        file.seek(entry.end)
        file.write(directory(entries))
    members = _read(path)
    assert members["model.weights.h5"].size == 5 << 30
    assert members["assets/a.txt"].header_offset > 5 << 30
    with zipfile.ZipFile(path) as reference:
        for info in reference.infolist():
            assert members[info.filename].size == info.file_size
            assert members[info.filename].header_offset == info.header_offset


@pytest.mark.parametrize("limit", [0, 100, 1500, 1 << 31])
@pytest.mark.parametrize("most", [2, 65_535])
@pytest.mark.parametrize("streamed", [False, True])
def test_zip64_where_zipfile_writes_it(
    limit: int, most: int, streamed: bool, monkeypatch: Any, tmp_path: Path
) -> None:
    """Its bounds are lowered, so that each record turns wide in a small file."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", most)
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for name, contents in MEMBERS.items():
            if streamed:
                with archive.open(name, "w", force_zip64=True) as member:
                    member.write(contents)
            else:
                archive.writestr(name, contents)
    members = _read(tmp_path / "a.keras")
    assert {name: member.read() for name, member in members.items()} == MEMBERS


@pytest.mark.parametrize(
    "size", [(1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 5 << 30], ids=hex
)
def test_sparse_files_that_zipfile_wrote(size: int, tmp_path: Path) -> None:
    """The records of `zipfile` around weights of any size, without their bytes."""
    path = tmp_path / "a.keras"
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, b"{}")
        info = zipfile.ZipInfo("model.weights.h5")
        info.header_offset = file.tell()
        info.file_size = info.compress_size = size
        info.CRC = 0
        file.write(info.FileHeader(zip64=True))
        file.seek(size, os.SEEK_CUR)
        archive.start_dir = file.tell()
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info
        archive.writestr("assets/words.txt", b"words")
    members = _read(path)
    assert members["model.weights.h5"].size == size
    assert members["assets/words.txt"].read() == b"words"


def test_zip64_that_says_something_else(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    path = _zip(tmp_path / "a.keras")
    data = bytearray(path.read_bytes())
    path.write_bytes(_set(data, _end(data) + 8, "<H", 3))
    with pytest.raises(ArchiveError, match="two different ways"):
        _read(path)


def test_a_directory_of_padding(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("config.json")
        info.comment = bytes(60_000)
        archive.writestr(info, b"{}")
    with pytest.raises(ArchiveError, match="bytes for 1 members"):
        _read(path)


def test_many_members_need_zip64(tmp_path: Path) -> None:
    entries = lay_out({f"assets/{number}": 0 for number in range(70_000)})
    path = tmp_path / "a.keras"
    with open(path, "wb") as file:
        for entry in entries.values():
            file.write(entry.local_header())
        file.write(directory(entries))
    assert len(_read(path, Limits(max_members=70_000))) == 70_000
    with zipfile.ZipFile(path) as reference:
        assert len(reference.namelist()) == 70_000
    with pytest.raises(ArchiveError, match="70000 members, over 10000"):
        _read(path)


def _end(data: bytearray) -> int:
    return data.rindex(b"PK\5\6")


def _central(data: bytearray, name: bytes = b"config.json") -> int:
    """Start of the central header of a member."""
    return data.rindex(name) - 46


def _local(data: bytearray, name: bytes = b"config.json") -> int:
    return data.index(name) - 30


def _set(data: bytearray, position: int, code: str, value: int) -> bytearray:
    struct.pack_into(code, data, position, value)
    return data


def _reoffset(data: bytearray) -> bytearray:
    """The second member's header is said to be where the first one's is."""
    first = struct.unpack_from("<I", data, _central(data, b"metadata.json") + 42)[0]
    return _set(data, _central(data) + 42, "<I", first)


HOSTILE: dict[str, tuple[Edit, str]] = {
    "cut short": (lambda d: d[:-1], "cut short"),
    "cut in half": (lambda d: d[: len(d) // 2], "cut short"),
    "bytes after": (lambda d: d + b"x", "bytes follow the end"),
    "comment": (lambda d: _set(d, _end(d) + 20, "<H", 1) + b"x", "bytes follow"),
    "bytes before": (lambda d: b"x" + d, "bytes were added"),
    "split": (lambda d: _set(d, _end(d) + 4, "<H", 1), "split zip"),
    "fewer members than said": (
        lambda d: _set(_set(d, _end(d) + 8, "<H", 5), _end(d) + 10, "<H", 5),
        "do not make sense",
    ),
    "more members than said": (
        lambda d: _set(_set(d, _end(d) + 8, "<H", 3), _end(d) + 10, "<H", 3),
        "stray bytes",
    ),
    "central signature": (lambda d: _set(d, _central(d), "<B", 1), "is damaged"),
    "zip64 missing": (
        lambda d: _set(d, _end(d) + 16, "<I", 0xFFFFFFFF),
        "bytes were added",
    ),
    "encrypted": (lambda d: _set(d, _central(d) + 8, "<H", 1), "encrypted"),
    "streamed": (lambda d: _set(d, _central(d) + 8, "<H", 8), "streamed"),
    "lzma": (lambda d: _set(d, _central(d) + 10, "<H", 14), "by method 14"),
    "symbolic link": (
        lambda d: _set(d, _central(d) + 38, "<I", 0o120777 << 16),
        "a link or a special file",
    ),
    "local name differs": (lambda d: _set(d, _local(d) + 30, "<B", 67), "two differ"),
    "local size differs": (lambda d: _set(d, _local(d) + 22, "<I", 9), "two differ"),
    "local method differs": (lambda d: _set(d, _local(d) + 8, "<H", 8), "two differ"),
    "local crc differs": (lambda d: _set(d, _local(d) + 14, "<I", 9), "two differ"),
    "offset of another": (_reoffset, "two different ways"),
    "offset past the end": (
        lambda d: _set(d, _central(d) + 42, "<I", 1 << 30),
        "past the end",
    ),
    "name not ASCII and not marked": (
        lambda d: _set(d, _central(d) + 46, "<B", 0xFF),
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case: str, tmp_path: Path) -> None:
    edit, message = HOSTILE[case]
    path = _zip(tmp_path / "a.keras")
    path.write_bytes(edit(bytearray(path.read_bytes())))
    with pytest.raises(ArchiveError, match=message) as caught:
        _read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "assets/../../x",
        "/assets/x",
        "assets//x",
        "assets/./x",
        "assets\\x",
        "C:assets/x",
        "assets/a:b",
    ],
)
def test_names_that_lead_outside(name: str, tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.keras", **{name: b""})
    with pytest.raises(ArchiveError, match="could lead outside"):
        _read(path)


def test_a_zero_in_a_name(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.keras", **{"assets/x_y": b""})
    path.write_bytes(path.read_bytes().replace(b"assets/x_y", b"assets/x\0y"))
    with pytest.raises(ArchiveError, match="could lead outside"):
        _read(path)


def test_members_that_keras_never_writes(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.keras", **{"evil.py": b""})
    with pytest.raises(ArchiveError, match=r"'evil.py' is none that Keras writes"):
        _read(path)


@pytest.mark.parametrize("twin", ["config.json", "assets/GRÖßer.txt"])
def test_two_members_of_one_name(twin: str, tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.keras")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile warns, and goes on
        archive.writestr(twin, b"{}")
    with pytest.raises(ArchiveError, match="two members are called"):
        _read(path)


def test_long_names(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.keras", **{"assets/" + "x" * 2000: b""})
    with pytest.raises(ArchiveError, match="longer than 1024"):
        _read(path)


def test_overlapping_members(tmp_path: Path) -> None:
    """The second member lies inside the data of the first."""
    inner = ZipEntry("config.json", 2, 0, crc=0)
    outer = ZipEntry("model.weights.h5", len(inner.local_header()) + 2, 0)
    inner.header_offset = outer.data_offset
    data = outer.local_header() + inner.local_header() + b"{}"
    entries = {"outer": outer, "inner": inner}
    (tmp_path / "a.keras").write_bytes(data + directory(entries))
    with pytest.raises(ArchiveError, match="overlaps the one before"):
        _read(tmp_path / "a.keras")


def test_inflation_bomb(tmp_path: Path) -> None:
    zeros = {"assets/zeros": bytes(1_000_000)}
    path = _zip(tmp_path / "a.keras", zipfile.ZIP_DEFLATED, **zeros)
    with pytest.raises(
        ArchiveError, match=r"inflates \d+ times to 1000000 bytes, over 100"
    ):
        _read(path)


def test_a_large_json_inflates_less(tmp_path: Path) -> None:
    """Reading it takes far more memory than its bytes."""
    words = json.dumps([f"word {n % 977}" for n in range(500_000)]).encode()
    path = _zip(tmp_path / "a.keras", zipfile.ZIP_DEFLATED, **{"config.json": words})
    with pytest.raises(ArchiveError, match=r"config.json' inflates \d+ times to"):
        _read(path)
    stored = _zip(tmp_path / "b.keras", zipfile.ZIP_STORED, **{"config.json": words})
    assert _read(stored)["config.json"].size == len(words)


def test_inflates_no_more_than_declared(tmp_path: Path) -> None:
    """The member claims one byte less than its data holds."""
    path = _zip(tmp_path / "a.keras", zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    for position in (_local(data) + 22, _central(data) + 24):
        data = _set(data, position, "<I", len(MEMBERS["config.json"]) - 1)
    path.write_bytes(data)
    members = _read(path)
    with pytest.raises(ArchiveError, match=r"config.json: "):
        members["config.json"].read()
