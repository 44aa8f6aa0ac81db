"""`refill` and `--capacity` through the command line, against the API."""

import json
from pathlib import Path

import keras
import pytest

from keras_padsafe import surgery

from .conftest import Run

pytest.importorskip("tensorflow")  # Keras computes lookups with it


@pytest.fixture
def roomy(tmp_path: Path, run: Run) -> Path:
    source, path = tmp_path / "model.keras", tmp_path / "roomy.keras"
    lookup = keras.layers.StringLookup(vocabulary=["ant", "bee"], name="lookup")
    x = keras.Input((3,), dtype="string")
    keras.Model(x, keras.layers.Embedding(3, 2, name="words")(lookup(x))).save(source)
    result = run("grow", source, "-o", path, "--capacity", 2, "--add", "cat")
    assert result.exit_code == 0, result.stderr
    assert "2 rows" in result.stdout
    return path


def test_inspect_counts_spare_rows(run: Run, roomy: Path) -> None:
    assert "Spare rows: 2" in run("inspect", roomy).stdout


def test_refill_writes_what_the_api_writes(run: Run, roomy: Path) -> None:
    ours, theirs = roomy.with_name("ours.keras"), roomy.with_name("theirs.keras")
    stale, ids = roomy.with_name("stale.txt"), roomy.with_name("ids.csv")
    stale.write_text("bee\n")
    words = ("--add", "dog", "--evict", "ant", "--evict-file", stale, "--map", ids)
    result = run("refill", roomy, "-o", ours, *words, "--json")
    assert result.exit_code == 0, result.stderr
    surgery.refill(roomy, theirs, tokens=["dog"], evict=["ant", "bee"])
    assert ours.read_bytes() == theirs.read_bytes()
    assert json.loads(result.stdout)["plan"]["tokens"] == [["dog", 1]]
    assert ids.read_text().splitlines()[2] == ",1,dog"
    assert "1,,ant" in ids.read_text().splitlines()


def test_dry_run_and_refusals(run: Run, roomy: Path) -> None:
    out, before = roomy.with_name("out.keras"), roomy.read_bytes()
    shown = run("refill", roomy, "--dry-run", "--evict", "ant")
    assert (shown.exit_code, "3 rows" in shown.stdout) == (0, True)
    for words, message in (
        ((), "expected words to add"),
        (("--add", "dog", "--add", "emu", "--add", "fox"), "room for 2"),
        (("--evict", "yak"), "not in vocabulary"),
    ):
        result = run("refill", roomy, "-o", out, *words)
        assert (result.exit_code, out.exists()) == (2, False)
        assert message in " ".join(result.stderr.split())
    assert roomy.read_bytes() == before
