"""Model files, each made once for the whole run."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from . import zoo

MakeArchive = Callable[..., Path]


@pytest.fixture(scope="session")
def zoo_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of the `.keras` file of the zoo's model of that name."""
    folder = tmp_path_factory.mktemp("zoo")
    made: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in made:
            if name in ("string_lookup", "text_vectorization"):
                pytest.importorskip("tensorflow")  # Keras builds them with it
            made[name] = zoo.make(name, folder)
        return made[name]

    return find


@pytest.fixture
def make_archive(tmp_path: Path) -> MakeArchive:
    """Makes a small `.keras` file of given arrays, without Keras."""

    def make(
        arrays: dict[str, np.ndarray], name: str = "source.keras", **assets: bytes
    ) -> Path:
        weights = tmp_path / "made.h5"
        with h5py.File(weights, "w") as file:
            for path, values in arrays.items():
                dataset = file.create_dataset(path, data=values)
                if values.dtype == np.dtype("V2"):
                    dataset.attrs["dtype"] = "bfloat16"
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
            archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
            archive.write(weights, "model.weights.h5")
            for asset, contents in assets.items():
                archive.writestr(f"assets/{asset}.txt", contents)
        weights.unlink()
        return path

    return make
