"""The folder of a preset, read as one model and written whole or not at all."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from keras_padsafe.archive import NewArray, open_archive, write_archive
from keras_padsafe.errors import ArchiveError

TABLE = "layers/embedding/vars/0"
IN_TASK = f"layers/tiny_backbone/{TABLE}"
BACKBONE = {
    "module": "tiny",
    "class_name": "TinyBackbone",
    "registered_name": "tiny>TinyBackbone",
    "config": {"vocabulary_size": 3, "dtype": "float32"},
}
TOKENIZER = {"module": "tiny", "class_name": "TinyTokenizer", "config": {"keep": []}}
PREPROCESSOR = {"class_name": "TinyPreprocessor", "config": {"tokenizer": TOKENIZER}}
TASK = {
    "module": "tiny",
    "class_name": "TinyTask",
    "registered_name": "tiny>TinyTask",
    "config": {"backbone": BACKBONE, "preprocessor": PREPROCESSOR},
}
METADATA = {"keras_hub_version": "0.32.0", "parameter_count": 6}
ROWS = np.arange(6, dtype="f4").reshape(3, 2)


def weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def write(folder: Path, **documents: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2))
    return folder


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    folder = write(tmp_path / "backbone", config=BACKBONE, metadata=METADATA)
    weights(folder / "model.weights.h5", {TABLE: ROWS, "layers/dense/vars/0": ROWS.T})
    return folder


@pytest.fixture
def task(backbone: Path) -> Path:
    write(backbone, task=TASK, preprocessor=PREPROCESSOR, tokenizer=TOKENIZER)
    weights(backbone / "task.weights.h5", {"layers/dense/vars/0": np.ones(3, "f4")})
    assets = backbone / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    (assets / "vocabulary.txt").write_text("a\nb\nc\n")
    (backbone / "README.md").write_text("# Mine\n")
    (backbone / ".cache").mkdir()
    (backbone / ".cache" / "lock").touch()
    return backbone


def grown(rows: np.ndarray = ROWS) -> NewArray:
    more = np.concatenate([rows, np.full((1, 2), 9, "f4")])
    return NewArray(more.shape, lambda: iter([more.tobytes()]))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_is_one_model(task: Path) -> None:
    with open_archive(task) as archive:
        assert archive.kind == "preset"
        assert archive.config == TASK
        head = archive.arrays["layers/dense/vars/0"]
        assert np.array_equal(head.read(), np.ones(3))
        assert np.array_equal(archive.arrays[IN_TASK].read(), ROWS)
        assert sorted(archive.assets) == [
            "README.md",
            "assets/tokenizer/vocabulary.txt",
        ]


def test_a_backbone_and_a_tokenizer_beside_it(backbone: Path) -> None:
    write(backbone, tokenizer=TOKENIZER)
    with open_archive(backbone) as archive:
        assert archive.config == {**BACKBONE, "tokenizer": TOKENIZER}
        assert np.array_equal(archive.arrays[TABLE].read(), ROWS)


def test_a_folder_that_keras_saved_is_none(backbone: Path) -> None:
    write(backbone, metadata={"keras_version": "3.15.1"})
    with open_archive(backbone) as archive:
        assert archive.kind == "directory"


def test_what_is_not_replaced_keeps_its_bytes(task: Path) -> None:
    target = task.with_name("copy")
    with open_archive(task) as archive:
        write_archive(target, archive)
    before, after = contents(task), contents(target)
    del before[".cache/lock"]
    assert before.keys() == after.keys()
    for name in before.keys() - {"model.weights.h5", "task.weights.h5"}:
        assert before[name] == after[name], name
    with h5py.File(target / "model.weights.h5") as file:
        assert np.array_equal(file[TABLE], ROWS)


def test_every_file_of_it_says_the_same(task: Path) -> None:
    target, config = task.with_name("grown"), json.loads(json.dumps(TASK))
    config["config"]["backbone"]["config"]["vocabulary_size"] = 4
    keep = config["config"]["preprocessor"]["config"]["tokenizer"]["config"]["keep"]
    keep.append("<tool>")
    with open_archive(task) as archive:
        write_archive(
            target,
            archive,
            config=config,
            metadata=METADATA,
            arrays={IN_TASK: grown()},
            assets={"assets/tokenizer/vocabulary.txt": b"a\nb\nc\nd\n"},
        )
    assert read(target, "task.json") == config
    assert read(target, "config.json") == config["config"]["backbone"]
    assert read(target, "preprocessor.json") == config["config"]["preprocessor"]
    assert read(target, "tokenizer.json")["config"] == {"keep": ["<tool>"]}
    assert read(target, "metadata.json")["parameter_count"] == 8
    with open_archive(target) as archive:
        assert archive.arrays[IN_TASK].shape == (4, 2)
        assert archive.config == config
    with h5py.File(target / "model.weights.h5") as file:
        assert np.array_equal(file[TABLE][:3], ROWS)


def test_a_file_may_say_other_things_of_what_stays(task: Path) -> None:
    """A backbone that was saved again, in another type, is no reason to refuse."""
    own = {**BACKBONE, "config": {"vocabulary_size": 3, "dtype": "bfloat16"}}
    write(task, config=own)
    target, config = task.with_name("grown"), json.loads(json.dumps(TASK))
    config["config"]["backbone"]["config"]["vocabulary_size"] = 4
    with open_archive(task) as archive:
        write_archive(target, archive, config=config)
    expected = {"vocabulary_size": 4, "dtype": "bfloat16"}
    assert read(target, "config.json")["config"] == expected


def test_files_that_disagree_on_what_changes(task: Path) -> None:
    write(task, config={**BACKBONE, "config": {"vocabulary_size": 7}})
    config = json.loads(json.dumps(TASK))
    config["config"]["backbone"]["config"]["vocabulary_size"] = 4
    with (
        open_archive(task) as archive,
        pytest.raises(
            ArchiveError, match=r"config.json says 7 of config.vocabulary_siz"
        ),
    ):
        write_archive(task.with_name("grown"), archive, config=config)
    assert os.listdir(task.parent) == [task.name]


def test_shards_stay_shards(backbone: Path) -> None:
    (backbone / "model.weights.h5").unlink()
    weights(backbone / "model_00000.weights.h5", {TABLE: ROWS})
    weights(backbone / "model_00001.weights.h5", {"layers/dense/vars/0": ROWS})
    homes = {
        "/layers/embedding/vars": "model_00000.weights.h5",
        "/layers/dense/vars": "model_00001.weights.h5",
    }
    shards = {"metadata": {"total_size": 48}, "weight_map": homes}
    (backbone / "model.weights.json").write_text(json.dumps(shards))
    target = backbone.with_name("grown")
    with open_archive(backbone) as archive:
        write_archive(target, archive, arrays={TABLE: grown()})
    assert read(target, "model.weights.json") == {
        "metadata": {"total_size": 56},
        "weight_map": homes,
    }
    with open_archive(target) as archive:
        assert archive.arrays[TABLE].shape == (4, 2)
        assert np.array_equal(archive.arrays["layers/dense/vars/0"].read(), ROWS)


@pytest.mark.parametrize("place", [".", "inside", ".."])
def test_never_touches_the_source(place: str, backbone: Path) -> None:
    before = contents(backbone)
    with (
        open_archive(backbone) as archive,
        pytest.raises(ArchiveError, match="the source itself"),
    ):
        write_archive(backbone / place, archive, overwrite=True)
    assert contents(backbone) == before


def test_a_folder_that_is_there(backbone: Path) -> None:
    target = backbone.with_name("there")
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    with open_archive(backbone) as archive:
        with pytest.raises(ArchiveError, match="exists already"):
            write_archive(target, archive)
        with pytest.raises(ArchiveError, match="is no preset, so it is not replaced"):
            write_archive(target, archive, overwrite=True)
        assert contents(target) == {"thesis.txt": b"mine"}
        (target / "config.json").touch()
        write_archive(target, archive, overwrite=True)
    assert "thesis.txt" not in contents(target)
    assert sorted(os.listdir(backbone.parent)) == ["backbone", "there"]


def test_a_folder_that_is_not_accepted_is_gone(backbone: Path) -> None:
    seen = []

    def refuse(folder: Path) -> None:
        seen.extend(os.listdir(folder))
        raise ValueError("no")

    with open_archive(backbone) as archive, pytest.raises(ValueError, match="no"):
        write_archive(backbone.with_name("new"), archive, accept=refuse)
    assert sorted(seen) == ["config.json", "metadata.json", "model.weights.h5"]
    assert os.listdir(backbone.parent) == ["backbone"]


def test_a_folder_that_appears_meanwhile_stays(backbone: Path) -> None:
    target = backbone.with_name("new")

    def appear(_: Path) -> None:
        write(target, config={"mine": 1})

    with (
        open_archive(backbone) as archive,
        pytest.raises(ArchiveError, match="exists already"),
    ):
        write_archive(target, archive, accept=appear)
    assert read(target, "config.json") == {"mine": 1}
    assert sorted(os.listdir(backbone.parent)) == ["backbone", "new"]


KILLED = """
import os, signal, sys
from keras_padsafe.archive import open_archive, write_archive
with open_archive(sys.argv[1]) as archive:
    write_archive(
        sys.argv[1] + "_new", archive,
        accept=lambda _: os.kill(os.getpid(), getattr(signal, sys.argv[2])),
    )
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_nothing_is_left_of_a_killed_one(name: str, backbone: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(backbone), name]
    assert subprocess.run(command, check=False).returncode < 0
    if name == "SIGKILL":  # The next one cleans up.
        assert len(os.listdir(backbone.parent)) == 2
        with open_archive(backbone) as archive:
            write_archive(backbone.with_name("next"), archive)
        assert sorted(os.listdir(backbone.parent)) == ["backbone", "next"]
    else:
        assert os.listdir(backbone.parent) == ["backbone"]


def test_progress_counts_all_files(task: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = task.with_name("new")
    with open_archive(task) as archive:
        write_archive(target, archive, progress=lambda *pair: seen.append(pair))
    size = sum(map(len, contents(target).values()))
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.weights.h5").unlink(), "has neither model.weights.h5"),
        (lambda f: write(f, config={"model_type": "bert"}), "Hugging Face Transform"),
        (lambda f: write(f, config=[1]), "JSON object"),
        (lambda f: (f / "a:b").touch(), "could lead outside"),
    ],
)
def test_refused(change: Any, message: str, task: Path) -> None:
    change(task)
    with pytest.raises(ArchiveError, match=message):
        open_archive(task)


def test_is_written_as_a_folder(backbone: Path) -> None:
    with (
        open_archive(backbone) as archive,
        pytest.raises(ArchiveError, match="written as a folder"),
    ):
        write_archive(backbone.with_name("new.keras"), archive)


def test_arrays_keep_their_paths(backbone: Path) -> None:
    with (
        open_archive(backbone) as archive,
        pytest.raises(ArchiveError, match="keep their paths"),
    ):
        write_archive(backbone.with_name("new"), archive, rename={TABLE: "x"})
