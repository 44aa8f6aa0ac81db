"""Reading and writing in place, with the fast calls and without them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_padsafe.archive import open_archive, write_archive
from keras_padsafe.archive.positioned import read_at, write_at
from keras_padsafe.errors import ArchiveError

from .conftest import MakeArchive

FAST = ("preadv", "pread", "pwrite")
NOT_EVERYWHERE = (*FAST, "posix_fadvise", "link", "uname", "readlink", "O_NONBLOCK")


@pytest.mark.parametrize("missing", [(), ("preadv",), FAST], ids=str)
def test_the_position_of_the_file_does_not_count(
    missing: tuple[str, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    for name in missing:
        monkeypatch.delattr(os, name, raising=False)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(tmp_path / "a", flags)
    try:
        os.write(descriptor, b"0123456789")
        assert write_at(descriptor, memoryview(b"xy"), 3) == 2
        os.write(descriptor, b"end")
        buffer = bytearray(4)
        assert read_at(descriptor, memoryview(buffer), 2) == 4
        assert bytes(buffer) == b"2xy5"
        assert read_at(descriptor, memoryview(buffer), 11) == 2
        assert bytes(buffer) == b"ndy5"
        assert read_at(descriptor, memoryview(buffer), 20) == 0
    finally:
        os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == b"012xy56789end"


def test_a_file_is_written_with_no_call_that_a_system_may_lack(
    make_archive: MakeArchive, tmp_path: Path, monkeypatch: Any
) -> None:
    values = np.arange(6_000_000, dtype="f4")  # more than is flushed at once
    source = make_archive({"a/vars/0": values}, words=b"x")
    target, plain = tmp_path / "new.keras", tmp_path / "plain.keras"
    with open_archive(source) as opened:
        write_archive(plain, opened)
        for name in NOT_EVERYWHERE:
            monkeypatch.delattr(os, name, raising=False)
        write_archive(target, opened)
        with pytest.raises(ArchiveError, match="exists already"):
            write_archive(target, opened)
    assert target.read_bytes() == plain.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("new.keras", "plain.keras", "source.keras")
    }
