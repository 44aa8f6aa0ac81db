"""A renamed array or group is where it was asked to be, with every byte it had."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_padsafe.archive import NewArray, Span, open_archive, write_archive
from keras_padsafe.errors import ArchiveError

MakeArchive = Callable[..., Path]
Tree = dict[str, tuple[dict[str, str], bytes | None]]

ARRAYS = {
    "layers/dense/vars/0": np.arange(6, dtype="f4").reshape(2, 3),
    "layers/dense/vars/1": np.arange(3, dtype="f4"),
    "layers/dense_1/vars/0": np.full((2, 2), 7.0, "f8"),
    "layers/half/vars/0": np.arange(3, dtype="u2").view("V2"),
    "layers/nothing/vars/0": np.zeros((0, 4), "f4"),
    "optimizer/vars/0": np.array(5, "i8"),
}


@pytest.fixture
def source(make_archive: MakeArchive) -> Path:
    """A file whose groups bear the names of their layers."""
    path = make_archive(ARRAYS)
    members = _members(path)
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        for name in ("dense", "dense_1", "half"):
            file[f"layers/{name}/vars"].attrs["name"] = f"my_{name}"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**members, "model.weights.h5": weights.getvalue()}.items():
            archive.writestr(name, text)
    return path


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def _tree(path: Path, *moves: tuple[str, str]) -> Tree:
    """Everything in the weights as h5py sees it, once h5py has moved some of it."""
    found: Tree = {}
    weights = io.BytesIO(_members(path)["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        for old, new in moves:
            file.move(old, new)

        def visit(name: str, item: object) -> None:
            values = item[()].tobytes() if isinstance(item, h5py.Dataset) else None
            found[name] = (dict(item.attrs), values)  # type: ignore[attr-defined]

        file.visititems(visit)
    return found


MOVES = {
    "a group": {"layers/dense": "layers/other"},
    "an array": {"layers/dense/vars/0": "layers/dense/vars/kernel"},
    "into another group": {"layers/dense": "layers/half/inner"},
    "into no group yet": {"layers/dense": "blocks/first/dense"},
    "a whole tree": {"layers": "_layers"},
    "one that is empty": {"layers/nothing": "layers/none"},
    "upwards": {"layers/dense/vars/0": "table"},
    "out of a group that goes": {
        "layers/dense": "layers/other",
        "layers/dense/vars/1": "bias",
    },
}


@pytest.mark.parametrize("renames", MOVES.values(), ids=MOVES)
def test_moves_equal_those_of_h5py(
    renames: dict[str, str], source: Path, tmp_path: Path
) -> None:
    longest_first = sorted(renames.items(), key=lambda item: -len(item[0]))
    with open_archive(source) as archive:
        write_archive(tmp_path / "new.keras", archive, rename=renames)
    assert _tree(tmp_path / "new.keras") == _tree(source, *longest_first)


def test_two_groups_change_places(source: Path, tmp_path: Path) -> None:
    with open_archive(source) as archive:
        renames = {
            "layers/dense": "layers/dense_1",
            "layers/dense_1": "layers/half",
            "layers/half": "layers/dense",
        }
        write_archive(tmp_path / "new.keras", archive, rename=renames)
    by_h5py = [
        ("layers/half", "kept"),
        ("layers/dense_1", "layers/half"),
        ("layers/dense", "layers/dense_1"),
        ("kept", "layers/dense"),
    ]
    assert _tree(tmp_path / "new.keras") == _tree(source, *by_h5py)


def test_a_directory_gives_the_same_file(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(source) as archive:
        archive.extractall(tmp_path / "folder")
    for path, name in ((source, "a.keras"), (tmp_path / "folder", "b.keras")):
        with open_archive(path) as archive:
            write_archive(tmp_path / name, archive, rename={"layers": "blocks"})
    files = [(tmp_path / name).read_bytes() for name in ("a.keras", "b.keras")]
    assert files[0] == files[1]


def test_all_else_goes_by_the_old_paths(source: Path, tmp_path: Path) -> None:
    path = "layers/dense/vars/1"
    new = NewArray((4,), lambda: iter([Span(0, 12), b"\0\0\0\0"]))
    with open_archive(source) as archive:
        write_archive(
            tmp_path / "new.keras",
            archive,
            arrays={path: new},
            drop=["layers/dense_1"],
            rename={"layers/dense": "layers/dense_1"},
        )
    with open_archive(tmp_path / "new.keras") as written:
        assert "layers/dense" not in written.groups
        moved = written.arrays["layers/dense_1/vars/1"]
        assert moved.layer_name == "my_dense"
        np.testing.assert_array_equal(moved.read(), [0, 1, 2, 0])


def test_a_damaged_source_is_noticed(source: Path, tmp_path: Path) -> None:
    data = bytearray(source.read_bytes())
    data[data.index(np.full((2, 2), 7.0, "f8").tobytes())] ^= 1
    source.write_bytes(data)
    with open_archive(source) as archive, pytest.raises(ArchiveError, match="checksum"):
        write_archive(tmp_path / "new.keras", archive, rename={"layers": "blocks"})
    assert not (tmp_path / "new.keras").exists()


@pytest.mark.parametrize(
    ("renames", "message"),
    [
        ({"layers/none": "layers/other"}, "no array or group 'layers/none'"),
        ({"": "all"}, "no array or group ''"),
        ({"layers/dense": "layers/half"}, "both 'layers/dense' and 'layers/half'"),
        ({"layers/dense": "a", "layers/half": "a"}, "a: both"),
        ({"layers/dense": "layers/half/vars/0"}, "both .* would have this path"),
        ({"layers/dense": "layers/half/vars/0/deep"}, "'layers/half/vars/0' is an arr"),
        ({"layers/dense/vars/0": "layers/half/vars"}, "would have this path"),
        ({"layers/dense": ""}, "'' is no path"),
        ({"layers/dense": "/layers/other"}, "is no path"),
        ({"layers/dense": "layers//other"}, "is no path"),
        ({"layers/dense": "layers/../other"}, "is no path"),
        ({"layers/dense": "a\0b"}, "is no path"),
        ({"layers/dense": "x" * 1025}, "is no path"),
        ({"layers/dense": "/".join("x" * 65)}, "is no path"),
    ],
)
def test_renames_that_cannot_be(
    renames: dict[str, str], message: str, source: Path, tmp_path: Path
) -> None:
    before = source.read_bytes()
    with open_archive(source) as archive, pytest.raises(ArchiveError, match=message):
        write_archive(tmp_path / "new.keras", archive, rename=renames)
    assert not (tmp_path / "new.keras").exists()
    assert source.read_bytes() == before


def test_what_is_dropped_cannot_be_renamed(source: Path, tmp_path: Path) -> None:
    with open_archive(source) as archive, pytest.raises(ArchiveError, match="dropped"):
        write_archive(
            tmp_path / "new.keras", archive, drop=["layers"], rename={"layers": "a"}
        )
