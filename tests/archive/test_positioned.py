"""Reading and writing in place, with the fast calls and without them."""

import os
from pathlib import Path
from typing import Any

import pytest

from keras_padsafe.archive.positioned import read_at, write_at

FAST = ("preadv", "pread", "pwrite")


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
