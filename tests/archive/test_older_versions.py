"""Files of Keras 3.5, 3.9 and 3.12 are read, rewritten and loaded."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_padsafe.archive import decode, open_archive, write_archive

from . import zoo

DATA = Path(__file__).parent / "data"
VERSIONS = ["3.5.0", "3.9.0", "3.12.0"]


@pytest.mark.parametrize("version", VERSIONS)
def test_read(version: str) -> None:
    with open_archive(DATA / f"keras_{version}.keras") as archive:
        assert archive.metadata["keras_version"] == version
        table = archive.arrays["layers/embedding/vars/0"]
        assert table.dtype == "bfloat16"
        assert table.layer_name == (None if version == "3.5.0" else "words")
        np.testing.assert_array_equal(
            decode(table.read(), table.dtype), np.arange(14).reshape(7, 2)
        )
        kernel = archive.arrays["layers/dense/vars/0"].read()
        np.testing.assert_array_equal(kernel, np.arange(14).reshape(2, 7))


@pytest.mark.parametrize("version", VERSIONS)
def test_rewritten_file_loads(version: str, tmp_path: Path) -> None:
    old, new = DATA / f"keras_{version}.keras", tmp_path / "new.keras"
    with open_archive(old) as source:
        write_archive(new, source)
    with zipfile.ZipFile(old) as one, zipfile.ZipFile(new) as other:
        assert one.read("config.json") == other.read("config.json")
    ids = np.array([[1, 2, 6]])
    np.testing.assert_array_equal(
        zoo.to_numpy(zoo.load(new)(ids)), zoo.to_numpy(zoo.load(old)(ids))
    )
