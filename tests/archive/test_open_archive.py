"""What `open_archive` finds is what h5py and zipfile find."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from keras_padsafe.archive import Archive, Limits, open_archive
from keras_padsafe.errors import ArchiveError

from . import zoo

ZooFile = Callable[[str], Path]


def _walk(file: h5py.File) -> Iterator[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("", file)]
    file.visititems(lambda path, item: found.append((path, item)))
    yield from found


def assert_equals_h5py(archive: Archive, file: h5py.File) -> None:
    groups = {p: dict(i.attrs) for p, i in _walk(file) if isinstance(i, h5py.Group)}
    datasets = {p: i for p, i in _walk(file) if isinstance(i, h5py.Dataset)}
    assert archive.groups == groups
    assert set(archive.arrays) == set(datasets)
    for path, dataset in datasets.items():
        array = archive.arrays[path]
        assert array.shape == dataset.shape
        assert array.nbytes == dataset.nbytes
        assert array.attributes == dict(dataset.attrs)
        assert array.layer_name == dataset.parent.attrs.get("name")
        assert array.read().tobytes() == dataset[()].tobytes()


def _h5_of(path: Path) -> h5py.File:
    with zipfile.ZipFile(path) as archive:
        return h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")


@pytest.mark.parametrize("name", zoo.BUILDERS)
def test_zip_equals_h5py_and_zipfile(name: str, zoo_file: ZooFile) -> None:
    path = zoo_file(name)
    with open_archive(path) as archive, _h5_of(path) as file:
        assert archive.kind == "keras"
        assert_equals_h5py(archive, file)
        with zipfile.ZipFile(path) as reference:
            assert archive.config == json.loads(reference.read("config.json"))
            assert archive.metadata == json.loads(reference.read("metadata.json"))
            assets = [n for n in reference.namelist() if n.startswith("assets/")]
            assert list(archive.assets) == assets
            for asset in archive.assets.values():
                assert asset.read() == reference.read(asset.name)
                assert asset.size == len(asset.read())


def test_arrays_come_in_the_order_of_their_bytes(zoo_file: ZooFile) -> None:
    path = zoo_file("functional")
    with open_archive(path) as archive, _h5_of(path) as file:
        offsets = [file[name].id.get_offset() for name in archive.arrays]
        assert offsets == sorted(offsets)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bfloat16", "bfloat16"), ("float16", "float16"), ("mixed", "float32")],
)
def test_dtype_is_the_one_keras_says(name: str, dtype: str, zoo_file: ZooFile) -> None:
    with open_archive(zoo_file(name)) as archive:
        assert archive.arrays["layers/embedding/vars/0"].dtype == dtype


def test_int8_quantised_dtypes(zoo_file: ZooFile) -> None:
    with open_archive(zoo_file("int8")) as archive:
        assert archive.arrays["layers/embedding/vars/0"].dtype == "int8"


def test_every_dtype_and_empty_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    expected = {"bool": np.array([True, False]), "scalar": np.float32(3)}
    for code in "bBhHiIqQefd":
        expected[np.dtype(code).name] = np.arange(3).astype(code)
    expected["empty"] = np.zeros((0, 3), "f8")
    expected["opaque1"] = np.arange(3, dtype="u1").view("V1")
    with h5py.File(path, "w") as file:
        for name, values in expected.items():
            file[f"layer/vars/{name}"] = values
    with open_archive(path) as archive, h5py.File(path) as file:
        assert archive.kind == "weights"
        assert archive.config is None
        assert_equals_h5py(archive, file)
        for name, values in expected.items():
            array = archive.arrays[f"layer/vars/{name}"]
            if name not in ("scalar", "empty", "opaque1"):
                assert array.dtype == name
                np.testing.assert_array_equal(array.read(), values)
        assert archive.arrays["layer/vars/opaque1"].dtype == "opaque1"


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (2, 5), (3, 3), (5, 2), (-2, None), (0, 99)]
)
def test_read_takes_rows_like_a_slice(
    start: int, stop: int | None, make_archive: Callable[..., Path]
) -> None:
    values = np.arange(7 * 2 * 3, dtype="f4").reshape(7, 2, 3)
    with open_archive(make_archive({"a/vars/0": values})) as archive:
        rows = archive.arrays["a/vars/0"].read(start, stop)
        np.testing.assert_array_equal(rows, values[start:stop])


def test_directory(zoo_file: ZooFile, tmp_path: Path) -> None:
    path = zoo_file("string_lookup")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("a model card, as hubs add them")
    with (
        open_archive(tmp_path / "model") as unzipped,
        open_archive(path) as zipped,
        _h5_of(path) as file,
    ):
        assert unzipped.kind == "directory"
        assert_equals_h5py(unzipped, file)
        assert unzipped.config == zipped.config
        assert unzipped.metadata == zipped.metadata
        assert list(unzipped.assets) == list(zipped.assets)
        for name, asset in unzipped.assets.items():
            assert asset.read() == zipped.assets[name].read()


def test_weights_and_shards_equal_the_whole(zoo_file: ZooFile, tmp_path: Path) -> None:
    model = zoo.load(zoo_file("many_layers"))
    with zoo.keras_may_warn():
        model.save_weights(tmp_path / "m.weights.h5")
        model.save_weights(tmp_path / "m.weights.json", max_shard_size=3e-7)
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 2
    with (
        open_archive(tmp_path / "m.weights.h5") as whole,
        open_archive(tmp_path / "m.weights.json") as sharded,
        h5py.File(tmp_path / "m.weights.h5") as file,
    ):
        assert sharded.kind == "sharded"
        assert_equals_h5py(whole, file)
        assert set(sharded.arrays) == set(whole.arrays)
        for path, array in whole.arrays.items():
            assert sharded.arrays[path].read().tobytes() == array.read().tobytes()
            assert sharded.arrays[path].layer_name == array.layer_name


def _shard_map(folder: Path, weight_map: Any) -> Path:
    path = folder / "m.weights.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with h5py.File(folder / "m_00000.weights.h5", "w") as file:
        file["a/vars/0"] = np.zeros(2)
    return path


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"/a/vars": "m_00001.weights.h5"}, "m_00001.weights.h5 is missing"),
        ({"/a/vars": "../m_00000.weights.h5"}, "outside the map's folder"),
        ({"/a/vars": "/etc/x.weights.h5"}, "outside the map's folder"),
        ({"/a/vars": ["passwd"]}, "not the name of a shard"),
        ({"/a/vars": 3}, "not the name of a shard"),
        ({"/b/vars": "m_00000.weights.h5"}, "'b/vars', which no shard holds"),
        ("x", "no `weight_map`"),
    ],
)
def test_bad_shard_maps(weight_map: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=message):
        open_archive(_shard_map(tmp_path, weight_map))


def test_array_in_two_shards(tmp_path: Path) -> None:
    names = ["m_00000.weights.h5", "m_00001.weights.h5"]
    path = _shard_map(tmp_path, {"/a/vars": names})
    shutil.copy(tmp_path / names[0], tmp_path / names[1])
    with pytest.raises(ArchiveError, match="a/vars/0 is in two shards"):
        open_archive(path)


@pytest.mark.parametrize("missing", ["config.json", "model.weights.h5"])
def test_missing_member_is_named(
    missing: str, zoo_file: ZooFile, tmp_path: Path
) -> None:
    with (
        zipfile.ZipFile(zoo_file("sequential")) as source,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as target,
    ):
        for name in source.namelist():
            if name != missing:
                target.writestr(name, source.read(name))
                (tmp_path / name).write_bytes(source.read(name))
    for path in (tmp_path / "m.keras", tmp_path):
        with pytest.raises(ArchiveError, match=rf"{missing}"):
            open_archive(path)


@pytest.mark.parametrize(
    ("start", "looks_like"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x93NUMPY\1\0", "NumPy array"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b'\x20\0\0\0\0\0\0\0{"a":1}', "safetensors"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b'{"a": 1}', "JSON"),
        (b"hello world", "bytes that start with b'hello wo'"),
    ],
)
def test_other_files_are_recognised(
    start: bytes, looks_like: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(start)
    with pytest.raises(ArchiveError, match=looks_like) as caught:
        open_archive(path)
    assert str(path) in str(caught.value)


def test_foreign_zips(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(ArchiveError, match=r"NumPy .npz file"):
        open_archive(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("b/data.pkl", b"")
    with pytest.raises(ArchiveError, match="PyTorch checkpoint"):
        open_archive(tmp_path / "b.pt")
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(ArchiveError, match='weights_format="h5"'):
        open_archive(tmp_path / "c.keras")


def test_foreign_directories(tmp_path: Path) -> None:
    cases = {"saved_model.pb": "SavedModel", "_CHECKPOINT_METADATA": "Orbax"}
    for name, message in cases.items():
        folder = tmp_path / message
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(ArchiveError, match=message):
            open_archive(folder)
    with pytest.raises(ArchiveError, match=r"config\.json is missing"):
        open_archive(tmp_path)


def test_legacy_files_say_how_to_convert(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = "{}" * 5000
        file.create_group("model_weights").attrs["layer_names"] = [b"dense"]
    with pytest.raises(ArchiveError, match=r'load_model\("old.h5"\).save\("new.keras"'):
        open_archive(tmp_path / "model.h5")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
    with pytest.raises(ArchiveError, match=r'model.load_weights\("old.h5"\)'):
        open_archive(tmp_path / "weights.h5")


def test_path_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        open_archive(tmp_path / "none.keras")
    with pytest.raises(ArchiveError, match="not a regular file"):
        open_archive("/dev/null")


def test_asset_limits(make_archive: Callable[..., Path]) -> None:
    path = make_archive({"a/vars/0": np.zeros(2)}, words=b"x" * 100, more=b"y" * 100)
    with pytest.raises(ArchiveError, match=r"assets/words.txt \(100 bytes\)"):
        open_archive(path, Limits(max_asset_bytes=99))
    with pytest.raises(ArchiveError, match=r"assets/more.txt"):
        open_archive(path, Limits(max_total_asset_bytes=150))
    with pytest.raises(ArchiveError, match=r"config\.json has"):
        open_archive(path, Limits(max_json_bytes=5))


def test_damaged_asset_is_found_when_read(make_archive: Callable[..., Path]) -> None:
    path = make_archive({"a/vars/0": np.zeros(2)}, words=b"red green blue")
    path.write_bytes(path.read_bytes().replace(b"green", b"grean"))
    with (
        open_archive(path) as archive,
        pytest.raises(ArchiveError, match=r"assets/words.txt: its checksum"),
    ):
        archive.assets["assets/words.txt"].read()


def test_reading_imports_neither_keras_nor_h5py(zoo_file: ZooFile) -> None:
    script = (
        "import sys; from keras_padsafe.archive import open_archive\n"
        f"with open_archive({str(zoo_file('sequential'))!r}) as archive:\n"
        "    [array.read() for array in archive.arrays.values()]\n"
        "heavy = {'keras', 'h5py', 'tensorflow', 'jax', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
