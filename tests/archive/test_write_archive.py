"""A rewritten archive is the source, but for what was named."""

import errno
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_padsafe.archive import (
    Archive,
    NewArray,
    Span,
    encode,
    open_archive,
    write_archive,
)
from keras_padsafe.archive.limits import MIB
from keras_padsafe.errors import ArchiveError

from . import zoo

ZooFile = Callable[[str], Path]
MakeArchive = Callable[..., Path]
TABLE = "layers/embedding/vars/0"


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def _assert_same_weights(one: Archive, other: Archive) -> None:
    assert one.groups == other.groups
    assert list(one.arrays) == list(other.arrays)
    for path, array in one.arrays.items():
        twin = other.arrays[path]
        assert (array.shape, array.dtype) == (twin.shape, twin.dtype)
        assert array.attributes == twin.attributes
        assert array.read().tobytes() == twin.read().tobytes()


def _inputs(model: Any) -> np.ndarray:
    shape = (2, *model.input_shape[1:])
    if model.input_shape == (None,) or str(model.inputs[0].dtype) == "string":
        return np.full(shape, "red green", dtype=object)
    return np.random.default_rng(0).integers(0, 4, shape)


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_identity_keeps_every_byte_and_every_output(
    name: str, zoo_file: ZooFile, tmp_path: Path
) -> None:
    path, copy = zoo_file(name), tmp_path / "copy.keras"
    with open_archive(path) as source:
        write_archive(copy, source)
        with open_archive(copy) as written:
            _assert_same_weights(source, written)
    before, after = _members(path), _members(copy)
    assert list(before) == list(after)
    for member in before:
        if member != "model.weights.h5":
            assert before[member] == after[member]
    if name not in ("string_lookup", "text_vectorization"):
        model, again = zoo.load(path), zoo.load(copy)
        inputs = _inputs(model)
        with zoo.keras_may_warn():
            expected = np.asarray(model.predict(inputs, verbose=0), "float32")
            outputs = np.asarray(again.predict(inputs, verbose=0), "float32")
        np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("name", ["string_lookup", "text_vectorization"])
def test_lookups_load_with_their_vocabulary(
    name: str, zoo_file: ZooFile, tmp_path: Path
) -> None:
    with open_archive(zoo_file(name)) as source:
        write_archive(tmp_path / "copy.keras", source)
    lookups = [
        next(layer for layer in zoo.load(path).layers if "get_vocabulary" in dir(layer))
        for path in (zoo_file(name), tmp_path / "copy.keras")
    ]
    assert lookups[0].get_vocabulary() == lookups[1].get_vocabulary()
    assert len(lookups[0].get_vocabulary()) > 3


def test_optimizer_slots_load(zoo_file: ZooFile, tmp_path: Path) -> None:
    with open_archive(zoo_file("adam_trained")) as source:
        write_archive(tmp_path / "copy.keras", source)
    old = zoo.load(zoo_file("adam_trained")).optimizer.variables
    new = zoo.load(tmp_path / "copy.keras").optimizer.variables
    assert len(old) > 5
    for one, other in zip(old, new, strict=True):
        np.testing.assert_array_equal(zoo.to_numpy(one), zoo.to_numpy(other))


def test_directory_becomes_a_zip(zoo_file: ZooFile, tmp_path: Path) -> None:
    with zipfile.ZipFile(zoo_file("adam_trained")) as archive:
        archive.extractall(tmp_path / "model")
    with (
        open_archive(tmp_path / "model") as unzipped,
        open_archive(zoo_file("adam_trained")) as zipped,
    ):
        write_archive(tmp_path / "one.keras", unzipped)
        write_archive(tmp_path / "other.keras", zipped)
    assert (tmp_path / "one.keras").read_bytes() == (
        tmp_path / "other.keras"
    ).read_bytes()


def test_output_is_deterministic(zoo_file: ZooFile, tmp_path: Path) -> None:
    with open_archive(zoo_file("functional")) as source:
        write_archive(tmp_path / "a.keras", source)
        write_archive(tmp_path / "b.keras", source)
    a, b = (tmp_path / "a.keras").read_bytes(), (tmp_path / "b.keras").read_bytes()
    assert a == b


def test_every_dtype_survives(make_archive: MakeArchive, tmp_path: Path) -> None:
    arrays = {f"d/vars/{code}": np.arange(3).astype(code) for code in "bBhHiIqQefd?"}
    arrays |= {
        "d/vars/bfloat16": np.arange(3, dtype="u2").view("V2"),
        "d/vars/opaque": np.arange(3, dtype="u1").view("V1"),
        "d/vars/scalar": np.array(3.0, "f4"),
        "d/vars/empty": np.zeros((2, 0, 3), "f4"),
    }
    with open_archive(make_archive(arrays)) as source:
        write_archive(tmp_path / "copy.keras", source)
        with open_archive(tmp_path / "copy.keras") as written:
            _assert_same_weights(source, written)
            assert written.arrays["d/vars/bfloat16"].dtype == "bfloat16"
            assert written.arrays["d/vars/?"].dtype == "bool"


def _rows(array: np.ndarray) -> tuple[int, int]:
    return array.shape[0], array.nbytes // array.shape[0]


def _append_rows(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    new = np.full((3, *old.shape[1:]), 7, old.dtype)
    return np.concatenate([old, new]), [Span(0, old.nbytes), new.tobytes()]


def _append_columns(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    count, row = _rows(old)
    new = np.full((count, 2), 7, old.dtype)
    pieces: list[Span | bytes] = []
    for index in range(count):
        pieces += [Span(index * row, (index + 1) * row), new[index].tobytes()]
    return np.concatenate([old, new], axis=1), pieces


def _drop_columns(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    count, row = _rows(old)
    spans = [Span(i * row, (i + 1) * row - old.itemsize) for i in range(count)]
    return old[:, :-1], [*spans]


def _permute(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    count, row = _rows(old)
    order = np.random.default_rng(0).permutation(count)
    return old[order], [Span(int(i) * row, int(i + 1) * row) for i in order]


def _swap_halves(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    middle = old.shape[0] // 2
    cut = middle * _rows(old)[1]
    new = np.concatenate([old[middle:], old[:middle]])
    return new, [Span(cut, old.nbytes), Span(0, cut)]


def _repeat(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    return np.concatenate([old, old]), [Span(0, old.nbytes)] * 2


def _keep_middle(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    row = _rows(old)[1]
    return old[5:9], [Span(5 * row, 9 * row)]


def _keep_none(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    return old[:0], []


def _all_new(old: np.ndarray) -> tuple[np.ndarray, list[Span | bytes]]:
    new = np.ones((2, *old.shape[1:]), old.dtype)
    return new, [new.tobytes()]


EDITS = [
    _append_rows,
    _append_columns,
    _drop_columns,
    _permute,
    _swap_halves,
    _repeat,
    _keep_middle,
    _keep_none,
    _all_new,
]


@pytest.mark.parametrize("width", [4, 40_000], ids=["one block", "many blocks"])
@pytest.mark.parametrize("edit", EDITS)
def test_edits_equal_numpy(
    edit: Callable[..., Any], width: int, make_archive: MakeArchive, tmp_path: Path
) -> None:
    table = np.random.default_rng(1).normal(size=(50, width)).astype("f4")
    bias = np.arange(50, dtype="f8")
    source_path = make_archive({TABLE: table, "z/vars/0": bias})
    expected, pieces = edit(table)
    with open_archive(source_path) as source:
        new = NewArray(expected.shape, lambda: iter(pieces))
        write_archive(tmp_path / "new.keras", source, arrays={TABLE: new})
    with open_archive(tmp_path / "new.keras") as written:
        assert written.arrays[TABLE].shape == expected.shape
        np.testing.assert_array_equal(written.arrays[TABLE].read(), expected)
        np.testing.assert_array_equal(written.arrays["z/vars/0"].read(), bias)
    _members(tmp_path / "new.keras")


def test_an_empty_array_can_be_filled(
    make_archive: MakeArchive, tmp_path: Path
) -> None:
    with open_archive(make_archive({TABLE: np.zeros((0, 2), "f4")})) as source:
        rows = encode(np.ones((3, 2)), "float32").tobytes()
        new = NewArray((3, 2), lambda: iter([rows]))
        write_archive(tmp_path / "new.keras", source, arrays={TABLE: new})
    with open_archive(tmp_path / "new.keras") as written:
        np.testing.assert_array_equal(written.arrays[TABLE].read(), np.ones((3, 2)))


def test_a_grown_model_loads_in_keras(zoo_file: ZooFile, tmp_path: Path) -> None:
    path, grown = zoo_file("bfloat16"), tmp_path / "grown.keras"
    with open_archive(path) as source:
        table = source.arrays[TABLE]
        assert source.config is not None
        source.config["config"]["layers"][1]["config"]["input_dim"] = 13
        new = encode(np.ones((2, 4)), "bfloat16").tobytes()
        write_archive(
            grown,
            source,
            config=source.config,
            arrays={
                TABLE: NewArray((13, 4), lambda: iter([Span(0, table.nbytes), new]))
            },
        )
    old, model = zoo.load(path), zoo.load(grown)
    ids = np.array([[1, 2, 3], [4, 5, 10]])
    np.testing.assert_array_equal(zoo.to_numpy(model(ids)), zoo.to_numpy(old(ids)))
    table = zoo.to_numpy(model.layers[0].embeddings)
    np.testing.assert_array_equal(table[11:], 1)


def test_replacements_and_drops(make_archive: MakeArchive, tmp_path: Path) -> None:
    arrays = {TABLE: np.ones((2, 2)), "optimizer/vars/0": np.ones(1)}
    arrays["optimizer/inner/vars/0"] = np.ones(1)
    with open_archive(make_archive(arrays, words=b"a", more=b"b")) as source:
        write_archive(
            tmp_path / "new.keras",
            source,
            config={"class_name": "größer"},
            metadata={"keras_version": "3"},
            assets={"assets/words.txt": b"a\nb\n"},
            drop=["optimizer"],
        )
    with open_archive(tmp_path / "new.keras") as written:
        assert list(written.arrays) == [TABLE]
        assert not any(group.startswith("optimizer") for group in written.groups)
        assert written.config == {"class_name": "größer"}
        assert written.metadata == {"keras_version": "3"}
    members = _members(tmp_path / "new.keras")
    assert members["assets/words.txt"] == b"a\nb\n"
    assert members["assets/more.txt"] == b"b"
    assert members["config.json"] == json.dumps({"class_name": "größer"}).encode()


def test_metadata_is_always_written(make_archive: MakeArchive, tmp_path: Path) -> None:
    """Keras loads assets only if the archive has more than three members."""
    with zipfile.ZipFile(make_archive({TABLE: np.ones(2)}, words=b"a")) as archive:
        archive.extractall(tmp_path / "model")
    (tmp_path / "model" / "metadata.json").unlink()
    with open_archive(tmp_path / "model") as source:
        assert source.metadata == {}
        write_archive(tmp_path / "new.keras", source)
    members = _members(tmp_path / "new.keras")
    assert members["metadata.json"] == b"{}"
    assert [*members] == [
        "metadata.json",
        "config.json",
        "model.weights.h5",
        "assets/words.txt",
    ]


def test_progress_ends_at_the_file_size(
    make_archive: MakeArchive, tmp_path: Path
) -> None:
    calls: list[tuple[int, int]] = []
    with open_archive(make_archive({TABLE: np.ones((3, MIB), "f4")})) as source:
        target = tmp_path / "new.keras"
        write_archive(target, source, progress=lambda *call: calls.append(call))
    size = target.stat().st_size
    assert len(calls) > 10
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {size}
    assert calls[-1] == (size, size)


# --- What is refused; each leaves the folder and the source as they were. ---


@pytest.fixture
def source_path(make_archive: MakeArchive) -> Path:
    table = np.random.default_rng(0).normal(size=(600, 600)).astype("f4")
    return make_archive({TABLE: table, "z/vars/0": np.arange(5)}, words=b"a")


@pytest.fixture(autouse=True)
def _source_untouched_and_nothing_left(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[None]:
    if "source_path" not in request.fixturenames:
        yield
        return
    before = request.getfixturevalue("source_path").read_bytes()
    yield
    assert request.getfixturevalue("source_path").read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def _table(*pieces: Span | bytes, shape: tuple[int, ...] = (600, 600)) -> NewArray:
    return NewArray(shape, lambda: iter(pieces))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"assets": {"assets/none.txt": b""}},
            "assets: .* none called 'assets/none.txt'",
        ),
        ({"arrays": {"none": _table()}}, "arrays: there is no 'none'"),
        ({"drop": ["none"]}, "drop: there is no 'none'"),
        ({"drop": ["layers"], "arrays": {TABLE: _table()}}, f"arrays: .* no '{TABLE}'"),
        ({"arrays": {TABLE: _table(b"short")}}, "must have 1440000 bytes.*have 5"),
        ({"arrays": {TABLE: _table(bytes(1440001))}}, "must have.*have more"),
        ({"arrays": {TABLE: _table(Span(0, 1440001))}}, "are not in the source"),
        ({"arrays": {TABLE: _table(Span(9, 5))}}, "are not in the source"),
    ],
)
def test_requests_that_do_not_fit(
    arguments: Any, message: str, source_path: Path, tmp_path: Path
) -> None:
    with (
        open_archive(source_path) as source,
        pytest.raises(ArchiveError, match=message),
    ):
        write_archive(tmp_path / "new.keras", source, **arguments)
    assert not (tmp_path / "new.keras").exists()


def test_target_exists(source_path: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    target.write_bytes(b"precious")
    with open_archive(source_path) as source:
        with pytest.raises(ArchiveError, match="exists already"):
            write_archive(target, source)
        assert target.read_bytes() == b"precious"
        write_archive(target, source, overwrite=True)
    assert _members(target)


def test_target_is_the_source(source_path: Path, tmp_path: Path) -> None:
    os.link(source_path, tmp_path / "hard.keras")
    os.symlink(source_path, tmp_path / "soft.keras")
    with open_archive(source_path) as source:
        for name in (source_path.name, "hard.keras", "soft.keras"):
            with pytest.raises(ArchiveError, match="the source itself"):
                write_archive(tmp_path / name, source, overwrite=True)


def test_target_must_be_loadable_by_keras(source_path: Path, tmp_path: Path) -> None:
    with open_archive(source_path) as source:
        with pytest.raises(ArchiveError, match=r"must end with \.keras"):
            write_archive(tmp_path / "new.h5", source)
        with pytest.raises(ArchiveError, match="folder does not exist"):
            write_archive(tmp_path / "none" / "new.keras", source)


def test_weights_alone_make_no_archive(tmp_path: Path, source_path: Path) -> None:
    weights = tmp_path / "x.weights.h5"
    weights.write_bytes(_members(source_path)["model.weights.h5"])
    with (
        open_archive(weights) as source,
        pytest.raises(ArchiveError, match="weights without a model"),
    ):
        write_archive(tmp_path / "new.keras", source)


@pytest.mark.parametrize("where", ["in an array", "between arrays"])
@pytest.mark.parametrize("edit", [None, _append_columns, _permute, _keep_middle])
def test_a_damaged_source_is_noticed(
    where: str, edit: Any, make_archive: MakeArchive, tmp_path: Path
) -> None:
    table = np.random.default_rng(0).normal(size=(600, 600)).astype("f4")
    path = make_archive({TABLE: table, "z/vars/0": np.arange(5)})
    with open_archive(path) as source:
        weights = source.contents.weights[0].data
        data = source.arrays[TABLE].data
        # The 9th byte of the superblock's addresses is free space information.
        position = data.start + data.size - 3
        if where == "between arrays":
            position = weights.start + 9
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    arrays = {}
    if edit is not None:
        expected, pieces = edit(table)
        arrays = {TABLE: NewArray(expected.shape, lambda: iter(pieces))}
    with (
        open_archive(path) as source,
        pytest.raises(ArchiveError, match="checksum does not match"),
    ):
        write_archive(tmp_path / "new.keras", source, arrays=arrays)
    assert os.listdir(tmp_path) == [path.name]


def test_source_changes_while_it_is_read(source_path: Path, tmp_path: Path) -> None:
    def touch() -> Iterator[Span | bytes]:
        os.utime(source_path, (1, 1))
        yield Span(0, 1440000)

    new = NewArray((600, 600), touch)
    with (
        open_archive(source_path) as source,
        pytest.raises(ArchiveError, match="changed while it was read"),
    ):
        write_archive(tmp_path / "new.keras", source, arrays={TABLE: new})
    assert not (tmp_path / "new.keras").exists()


def test_disk_full_half_way(
    source_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new.keras"
    target.write_bytes(b"precious")
    real_write = os.write

    def full_after_a_megabyte(descriptor: int, data: Any) -> int:
        if os.fstat(descriptor).st_size > MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[: MIB // 3])

    with open_archive(source_path) as source:
        monkeypatch.setattr(os, "write", full_after_a_megabyte)
        with pytest.raises(ArchiveError, match=r"No space left.*Free some space"):
            write_archive(target, source, overwrite=True)
    assert target.read_bytes() == b"precious"


def test_disk_too_full_to_begin(
    source_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with (
        open_archive(source_path) as source,
        pytest.raises(ArchiveError, match=r"bytes are needed.*1000 are free"),
    ):
        write_archive(tmp_path / "new.keras", source)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_read_only_folder(
    code: int, source_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def deny_writing(path: Any, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(code, os.strerror(code))
        return real_open(path, flags, *rest)

    with open_archive(source_path) as source:
        monkeypatch.setattr(os, "open", deny_writing)
        with pytest.raises(ArchiveError, match=r"folder (cannot be|is read-only)"):
            write_archive(tmp_path / "new.keras", source)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, IndexError])
def test_an_interrupt_leaves_nothing(
    error: type[BaseException], source_path: Path, tmp_path: Path
) -> None:
    def interrupted() -> Iterator[Span | bytes]:
        yield Span(0, 2000)
        raise error

    new = NewArray((600, 600), interrupted)
    with open_archive(source_path) as source, pytest.raises(error):
        write_archive(tmp_path / "new.keras", source, arrays={TABLE: new})
    assert not (tmp_path / "new.keras").exists()


def test_a_kill_leaves_the_old_target(source_path: Path, tmp_path: Path) -> None:
    """SIGKILL cannot be caught; what matters is that the name keeps its file."""
    target = tmp_path / "new.keras"
    target.write_bytes(b"precious")
    script = (
        "import os, signal; from keras_padsafe.archive import *\n"
        f"source = open_archive({str(source_path)!r})\n"
        "die = lambda done, total: done > total / 2 and os.kill(os.getpid(), 9)\n"
        f"write_archive({str(target)!r}, source, overwrite=True, progress=die)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], check=False)
    assert result.returncode == -9
    assert target.read_bytes() == b"precious"
    assert len(os.listdir(tmp_path)) == 3
    with open_archive(source_path) as source:
        write_archive(target, source, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["new.keras", "source.keras"]


def test_flushed_before_and_after_the_rename(
    source_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure leaves the old file or the new one, not an empty one."""
    calls: list[str] = []
    for name in ("fsync", "link", "replace"):
        real = getattr(os, name)

        def recorded(*arguments: Any, name: str = name, real: Any = real) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, recorded)
    with open_archive(source_path) as source:
        write_archive(tmp_path / "new.keras", source)
        write_archive(tmp_path / "new.keras", source, overwrite=True)
    assert calls == ["fsync", "link", "fsync", "fsync", "replace", "fsync"]


def test_mode_is_what_the_umask_gives(source_path: Path, tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with open_archive(source_path) as source:
            write_archive(tmp_path / "new.keras", source)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new.keras").stat().st_mode) == 0o640


def test_writing_imports_no_keras(source_path: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from keras_padsafe.archive import *\n"
        f"with open_archive({str(source_path)!r}) as source:\n"
        f"    write_archive({str(tmp_path / 'new.keras')!r}, source)\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
