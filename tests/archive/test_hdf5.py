"""HDF5 that Keras would not write is refused, and nothing can crash the reader."""

import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from keras_padsafe.archive import Limits, open_archive, write_archive
from keras_padsafe.errors import ArchiveError

FUZZ_SEED, FUZZ_MUTANTS, FUZZ_SECONDS_EACH = 20, 3000, 2.0
Build = Callable[[h5py.File], Any]


def _refused(path: Path, message: str, limits: Limits | None = None) -> None:
    with pytest.raises(ArchiveError, match=message) as caught:
        open_archive(path, limits or Limits())
    assert str(path) in str(caught.value)


def _group_cycle(file: h5py.File) -> None:
    inner = file.create_group("a/b")
    inner["again"] = file["a"]


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    file.create_virtual_dataset("a", layout)


def _compact(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2,))
    h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, creation)


def _unusual_float(file: h5py.File) -> None:
    """Four bytes, but the exponent is of 11 bits."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)
    h5py.h5d.create(file.id, b"a", kind, h5py.h5s.create_simple((2,)))


HOSTILE: dict[str, tuple[Build, str]] = {
    "chunked": (
        lambda f: f.create_dataset("a", data=np.ones(9), chunks=(3,)),
        "a: its data is chunked",
    ),
    "compressed": (
        lambda f: f.create_dataset("a", data=np.ones(9), compression="gzip"),
        "compressed or filtered data, which Keras never writes",
    ),
    "compact": (_compact, "compact"),
    "external storage": (
        lambda f: f.create_dataset("a", (2,), external=[("/etc/passwd", 0, 8)]),
        "data in external files",
    ),
    "virtual": (_virtual, "virtual"),
    "soft link": (
        lambda f: f.__setitem__("a", h5py.SoftLink("/b")),
        "soft or external link",
    ),
    "external link": (
        lambda f: f.__setitem__("a", h5py.ExternalLink("/etc/x.h5", "/b")),
        "links of the newer kind",
    ),
    "hard link": (
        lambda f: f.__setitem__("b", f.create_dataset("a", data=np.ones(9))),
        "reached twice",
    ),
    "cycle": (_group_cycle, "reached twice"),
    "never written": (
        lambda f: f.create_dataset("a", (1 << 40,), "f4"),
        r"needs 4398046511104 bytes, 0 are stored",
    ),
    "impossible shape": (
        lambda f: f.create_dataset("a", (0, 1 << 40, 1 << 40), "f4"),
        "no array can have shape",
    ),
    "named type": (lambda f: f.__setitem__("a", np.dtype("f4")), "neither a group"),
    "compound": (
        lambda f: f.create_dataset("a", data=np.zeros(2, "f4,i4")),
        "datatype class, 6",
    ),
    "text": (lambda f: f.create_dataset("a", data=b"text"), "it holds text"),
    "variable text": (lambda f: f.create_dataset("a", data="text"), "it holds text"),
    "complex": (lambda f: f.create_dataset("a", data=np.ones(2, "c8")), "class, 6"),
    "long double": (
        lambda f: f.create_dataset("a", data=np.ones(2, "g")),
        "not those of IEEE 754",
    ),
    "unusual float": (_unusual_float, "not those of IEEE 754"),
    "big-endian": (
        lambda f: f.create_dataset("a", data=np.ones(2, ">f4")),
        "a: it is stored big-endian.*JAX or TensorFlow",
    ),
    "big-endian integers": (
        lambda f: f.create_dataset("a", data=np.ones(2, ">i4")),
        "stored big-endian",
    ),
    "enumeration": (
        lambda f: f.create_dataset(
            "a", (2,), h5py.enum_dtype({"RED": 0, "BLUE": 1}, "i1")
        ),
        "enumeration other than bool",
    ),
    "opaque of 3 bytes": (
        lambda f: f.create_dataset("a", data=np.zeros(2, "V3")),
        "3 opaque bytes",
    ),
    "null dataspace": (
        lambda f: f.create_dataset("a", data=h5py.Empty("f4")),
        "is null",
    ),
    "rank 17": (
        lambda f: f.create_dataset("a", data=np.ones([1] * 17)),
        "17 dimensions, over 16",
    ),
    "array attribute": (
        lambda f: f.create_group("a").attrs.create("x", [1, 2]),
        "a: attribute 'x': it is an array",
    ),
    "number attribute": (
        lambda f: f.create_group("a").attrs.create("x", 3),
        "Keras writes strings",
    ),
    "long attribute": (
        lambda f: f.create_group("a").attrs.create("x", "x" * 5000),
        "5000 bytes, over 4096",
    ),
    "zero in an attribute": (
        lambda f: f.create_group("a").attrs.create("x", np.bytes_(b"x\0y")),
        "holds a zero byte",
    ),
    "deep groups": (
        lambda f: f.create_group("/".join("a" * 65)),
        "nest deeper than 64",
    ),
    "long name": (lambda f: f.create_group("x" * 1100), "does not end"),
    "group order kept": (
        lambda f: f.create_group("a", track_order=True),
        "newer than version 1",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_outside_the_subset(case: str, tmp_path: Path) -> None:
    build, message = HOSTILE[case]
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        build(file)
    _refused(path, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"libver": "latest"}, "superblock has version"),
        ({"userblock_size": 512}, "it is not a Keras 3 model|user block"),
    ],
)
def test_other_versions(arguments: Any, message: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.weights.h5", "w", **arguments) as file:
        file["a/vars/0"] = np.ones(3)
    _refused(tmp_path / "x.weights.h5", message)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        for layer in range(3):
            group = file.create_group(f"layers/dense_{layer}/vars")
            group.attrs["name"] = f"dense_{layer}"
            group["0"] = np.arange(8, dtype="f4")
            group["1"] = np.ones(3) > 0
            group["2"] = np.zeros(2, "V2")
            group["2"].attrs["dtype"] = "bfloat16"
    return path


def test_cut_short(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1])
    _refused(weights, r"it is cut short: \d+ bytes of \d+")


def _patch_layout(path: Path, name: str, *, offset: int = 0, size: int = 0) -> None:
    """Moves or resizes an array's extent, by its unique offset."""
    with h5py.File(path) as file:
        old_offset, old_size = file[name].id.get_offset(), file[name].nbytes
    old = struct.pack("<QQ", old_offset, old_size)
    data = path.read_bytes()
    assert data.count(old) == 1
    new = struct.pack("<QQ", offset or old_offset, size or old_size)
    path.write_bytes(data.replace(old, new))


def test_overlapping_arrays(weights: Path) -> None:
    with h5py.File(weights) as file:
        offset = file["layers/dense_0/vars/0"].id.get_offset()
    _patch_layout(weights, "layers/dense_1/vars/0", offset=offset + 4)
    _refused(weights, "overlaps")


def test_array_past_the_end(weights: Path) -> None:
    _patch_layout(weights, "layers/dense_1/vars/0", offset=1 << 40)
    _refused(weights, "layers/dense_1/vars/0: its data is past the end")


def test_stored_size_other_than_the_shape_needs(weights: Path) -> None:
    _patch_layout(weights, "layers/dense_1/vars/0", size=31)
    _refused(weights, r"shape \(8,\) of float32 needs 32 bytes, 31 are stored")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_objects=5), "over 5 objects"),
        (Limits(max_depth=2), "nest deeper than 2"),
        (Limits(max_attribute_bytes=3), "over 3"),
        (Limits(max_metadata_bytes=1000), "max_metadata_bytes"),
        (Limits(max_rank=0), "1 dimensions, over 0"),
    ],
)
def test_limits(limits: Limits, message: str, weights: Path) -> None:
    _refused(weights, message, limits)


def _mutate(data: bytes, generator: random.Random) -> bytes:
    """Flips bits, writes telling numbers, copies ranges about, or cuts the end."""
    mutant = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        position = generator.randrange(len(mutant) - 8)
        match generator.randrange(5):
            case 0:
                mutant[position] ^= 1 << generator.randrange(8)
            case 1:
                mutant[position] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                number = generator.choice((0, 8, 96, len(data), 1 << 63, (1 << 64) - 1))
                struct.pack_into("<Q", mutant, position, number)
            case 3:
                size = generator.randrange(1, 64)
                source = generator.randrange(len(mutant))
                mutant[position : position + size] = mutant[source : source + size]
            case 4 if generator.random() < 0.1:
                del mutant[generator.randrange(64, len(mutant)) :]
    return bytes(mutant)


def test_mutants_are_read_or_refused_in_time(weights: Path) -> None:
    """The bytes of a model file are someone else's: the reader has two endings."""
    generator = random.Random(FUZZ_SEED)
    data = weights.read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for number in range(FUZZ_MUTANTS):
        weights.write_bytes(_mutate(data, generator))
        start = time.perf_counter()
        try:
            with open_archive(weights) as archive:
                for array in archive.arrays.values():
                    array.read()
            outcomes["read"] += 1
        except ArchiveError:
            outcomes["refused"] += 1
        assert time.perf_counter() - start < FUZZ_SECONDS_EACH, number
    assert min(outcomes.values()) > FUZZ_MUTANTS // 20


def test_mutants_of_an_archive_are_rewritten_or_refused(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    """What the reader accepts, h5py can write."""
    generator = random.Random(FUZZ_SEED)
    path = make_archive({"a/vars/0": np.ones(3, "f4"), "b/vars/0": np.ones(3, "V2")})
    data = path.read_bytes()
    for _ in range(FUZZ_MUTANTS // 5):
        path.write_bytes(_mutate(data, generator))
        with suppress(ArchiveError), open_archive(path) as archive:
            # The recorded checksum would refuse nearly all of them.
            weights = replace(archive.contents.weights[0], crc=None)
            archive.contents = replace(archive.contents, weights=(weights,))
            write_archive(tmp_path / "new.keras", archive, overwrite=True)


def test_nine_thousand_objects_open_quickly(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        for layer in range(3000):
            file[f"layers/dense_{layer}/vars/0"] = np.zeros(2, "f4")
    start = time.perf_counter()
    with open_archive(path) as archive:
        assert len(archive.arrays) + len(archive.groups) == 9002
    assert time.perf_counter() - start < 2.0
