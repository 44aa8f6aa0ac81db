"""Memory does not grow with the model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

MEBIBYTES = 1 << 20
SOURCE_SIZE, ALLOWED_GROWTH = 200 * MEBIBYTES, 64 * MEBIBYTES

# The high-water mark of this process alone: that of `getrusage` may be its parent's.
SCRIPT = """
import sys
import h5py
from keras_padsafe.archive import NewArray, Span, open_archive, write_archive

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

def pieces():
    for row in range(0, table.nbytes, 4096):
        yield Span(row, row + 4096)
        yield b"four"

before = peak()
with open_archive(sys.argv[1]) as source:
    table = source.arrays["b/vars/0"]
    wider = NewArray((table.shape[0], table.shape[1] + 1), pieces)
    write_archive(sys.argv[2], source, arrays={"b/vars/0": wider})
print(1024 * (peak() - before))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux reports"
)
def test_peak_memory_is_bounded(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    table = np.zeros((SOURCE_SIZE // 2 // 4096, 1024), "f4")
    source = make_archive({"a/vars/0": table, "b/vars/0": table})
    command = [sys.executable, "-c", SCRIPT, str(source), str(tmp_path / "new.keras")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "new.keras").stat().st_size > SOURCE_SIZE
    assert int(result.stdout) < ALLOWED_GROWTH
