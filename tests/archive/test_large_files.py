"""Files larger than memory, at every size where zip records change.

Not in a normal run: `python -m pytest -m huge tests/archive/test_large_files.py`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_padsafe import surgery
from keras_padsafe.archive import open_archive
from tests.surgery.reference import only_once

from .sparse import TABLE, sparse_model

pytestmark = only_once
DIM = 1024
GROWS = """
import sys
import h5py
from keras_padsafe import surgery

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

surgery.inspect(sys.argv[1])
before = peak()
surgery.grow(sys.argv[1], sys.argv[2], rows=1000)
print((peak() - before) / 1024)
"""


@pytest.mark.parametrize("gigabytes", [1, 2, 3, 4, 5])
def test_sparse_files_are_inspected(gigabytes: int, tmp_path: Path) -> None:
    rows = gigabytes * (1 << 30) // (4 * DIM)
    source = sparse_model(tmp_path / "old.keras", rows, DIM)
    assert surgery.inspect(source).vocabularies[0].size == rows


@pytest.mark.slow
@pytest.mark.huge
def test_five_gibibytes_are_trimmed_and_every_byte_is_checked(tmp_path: Path) -> None:
    source = sparse_model(tmp_path / "old.keras", 5 * (1 << 18), DIM)
    surgery.trim(source, tmp_path / "new.keras", keep=[0, 7, 5 * (1 << 18) - 1])
    with open_archive(tmp_path / "new.keras") as made:
        assert made.arrays[TABLE].shape == (3, DIM)


@pytest.mark.slow
@pytest.mark.huge
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux reports"
)
def test_growing_three_gibibytes_takes_32_mebibytes(tmp_path: Path) -> None:
    source = sparse_model(tmp_path / "old.keras", 3 * (1 << 18), DIM)
    command = [sys.executable, "-c", GROWS, str(source), str(tmp_path / "new.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 32
    with open_archive(tmp_path / "new.keras") as made:
        assert made.arrays[TABLE].shape == (3 * (1 << 18) + 1000, DIM)
