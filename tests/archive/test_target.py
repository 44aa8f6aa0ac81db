"""No file is ever lost to a file that is written."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keras_padsafe.archive import leftovers
from keras_padsafe.archive.atomic_file import atomic_file, write_file
from keras_padsafe.errors import ArchiveError

unix = pytest.mark.skipif(os.name == "nt", reason="signals and pipes of Unix")
WRITER = """
import signal, sys, time
# A shell without job control lets what runs in the background ignore the one, and
# nohup the other.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(getattr(signal, "SIGHUP", signal.SIGTERM), signal.SIG_DFL)
from pathlib import Path
from keras_padsafe.archive.atomic_file import atomic_file
with atomic_file(Path(sys.argv[1]), 1, overwrite=True):
    print("open", flush=True)
    time.sleep(60)
"""
WITHIN = """
with atomic_file(Path(sys.argv[1] + ".map"), 1, overwrite=True), atomic_file("""
NESTED = WRITER.replace("\nwith atomic_file(", WITHIN)


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system like FAT, which has none."""

    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)


def test_appears_with_its_contents(tmp_path: Path) -> None:
    write_file(tmp_path / "a.txt", "größer", overwrite=False)
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == "größer".encode()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_stays(
    links: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not links:
        request.getfixturevalue("no_links")
    target = tmp_path / "a.txt"
    with (
        pytest.raises(ArchiveError, match=r"exists already.*--force"),
        atomic_file(target, 4, overwrite=False, accept=lambda _: mine(target)) as file,
    ):
        os.write(file, b"ours")
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["a.txt"]


def mine(path: Path) -> None:
    path.write_text("mine")


@pytest.mark.parametrize("links", [True, False])
def test_it_appears_at_the_last_moment(
    links: bool, tmp_path: Path, monkeypatch: Any, request: pytest.FixtureRequest
) -> None:
    """After the last look, where only the system can tell."""
    if not links:
        request.getfixturevalue("no_links")
    target = tmp_path / "a.txt"
    look = "keras_padsafe.archive.atomic_file.check_target"
    monkeypatch.setattr(look, lambda path, **_: path.write_text("mine"))
    with pytest.raises(ArchiveError, match="exists already"):
        write_file(target, "ours", overwrite=False)
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_without_links_a_free_name_is_taken(no_links: None, tmp_path: Path) -> None:
    write_file(tmp_path / "a.txt", "ours", overwrite=False)
    assert (tmp_path / "a.txt").read_text() == "ours"
    assert os.listdir(tmp_path) == ["a.txt"]


def links_to(source: Path) -> Iterator[Path]:
    yield source
    hard, soft = source.with_name("hard"), source.with_name("soft")
    os.link(source, hard)
    os.symlink(source, soft)
    yield hard
    yield soft
    yield source.parent / ".." / source.parent.name / source.name


@unix
def test_never_the_source(tmp_path: Path) -> None:
    source = tmp_path / "m.keras"
    source.write_text("precious")
    for name in links_to(source):
        with pytest.raises(ArchiveError, match="the source itself"):
            write_file(name, "x", overwrite=True, inputs=[source])
    assert source.read_text() == "precious"


@unix
def test_never_a_part_of_a_folder_that_is_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "assets" / "deep").mkdir(parents=True)
    words = folder / "assets" / "deep" / "words.txt"
    for file in (folder / "config.json", words):
        file.write_text("precious")
    os.link(words, tmp_path / "hard")
    for name in (folder / "config.json", folder / "new.html", tmp_path / "hard"):
        with pytest.raises(ArchiveError, match="a part of it"):
            write_file(name, "x", overwrite=True, inputs=[folder])
    assert words.read_text() == "precious"


@unix
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_never_over_what_is_no_file(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target = Path("/dev/null")
    before = os.stat(target)
    with pytest.raises(ArchiveError, match="not a file"):
        write_file(target, "ours", overwrite=True)
    assert os.path.samestat(before, os.stat(target))


@pytest.mark.parametrize("length", [255, 256, 5000])
def test_long_names(length: int, tmp_path: Path) -> None:
    """One byte fewer than too many is a name like any other."""
    target = tmp_path / ("x" * length)
    if length <= 255:
        write_file(target, "ours", overwrite=False)
        assert target.read_text() == "ours"
        return
    with pytest.raises(ArchiveError, match="Choose a shorter name"):
        write_file(target, "ours", overwrite=False)


@contextmanager
def start_writer(
    target: Path, *, nested: bool = False
) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", NESTED if nested else WRITER, str(target)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        yield writer


@unix
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGINT", "SIGKILL"])
def test_nothing_of_a_killed_writer_stays(number: str, tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with start_writer(target) as writer:
        assert len(os.listdir(tmp_path)) == 1
        write_file(tmp_path / "b.txt", "", overwrite=False)  # It lives: its file stays.
        assert len(os.listdir(tmp_path)) == 2
        writer.send_signal(getattr(signal, number))
        assert writer.wait(20) == -getattr(signal, number)
    if number == "SIGKILL":  # It could not tidy up; the next run does.
        write_file(tmp_path / "b.txt", "", overwrite=True)
    assert os.listdir(tmp_path) == ["b.txt"]


@unix
def test_nothing_stays_of_a_writer_within_another(tmp_path: Path) -> None:
    with start_writer(tmp_path / "a.txt", nested=True) as writer:
        assert len(os.listdir(tmp_path)) == 2
        writer.send_signal(signal.SIGTERM)
        assert writer.wait(20) == -signal.SIGTERM
    assert os.listdir(tmp_path) == []


@unix
def test_a_handler_of_the_program_is_left_alone(tmp_path: Path) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with atomic_file(tmp_path / "a.txt", 1, overwrite=False):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_may_be_a_live_ones_or_a_strangers_stays(tmp_path: Path) -> None:
    ours = leftovers.temporary_beside(tmp_path / "x").name
    elsewhere = ours.replace(ours.split("-")[1], "0" * 8)
    names = [ours, elsewhere, ".keras_padsafe-notes", f"{ours}.bak", ".x.1.tmp.keras"]
    for name in names:
        (tmp_path / name).touch()
    dead = ours.split("-")
    dead[2] = "999999999"
    (tmp_path / "-".join(dead)).touch()
    leftovers.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


@unix
def test_a_process_id_used_again_is_not_the_writer(tmp_path: Path) -> None:
    parts = leftovers.temporary_beside(tmp_path / "x").name.split("-")
    if parts[3] == "0":
        pytest.skip("this system does not say when a process started")
    parts[3] = "1"
    (tmp_path / "-".join(parts)).touch()
    leftovers.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []
