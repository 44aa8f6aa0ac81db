"""`repair`: what was swapped, what was not, and what was proved; an exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

from keras_padsafe import audit

from ..surgery.reference import only_once
from .conftest import Run

ROOT = Path(__file__).parents[2]
WIDE = {"COLUMNS": "200"}


def save(path: Path, *behind: keras.Layer) -> Path:
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(50, 8, mask_zero=True)(ids)
    for layer in behind:
        x = layer(x)
    keras.Model(ids, layers.Dense(2)(x)).save(path)
    return path


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    return save(tmp_path / "leaky.keras", layers.GlobalAveragePooling1D(name="top"))


def test_shows_what_it_did(run: Run, leaky: Path) -> None:
    target = leaky.with_name("mended.keras")
    result = run("repair", leaky, "-o", target, env=WIDE)
    assert result.exit_code == 0
    row = "top    GlobalAveragePooling1D  MaskedGlobalAveragePooling1D"
    assert row in result.stdout
    assert re.search("passed +rows without padding keep their", result.stdout)
    assert result.stdout.endswith("Repaired.\nPROVED\n")
    top = keras.models.load_model(target).get_layer("top")
    assert type(top).__name__ == "MaskedGlobalAveragePooling1D"


def test_json_is_what_the_api_gives(run: Run, leaky: Path) -> None:
    target = leaky.with_name("mended.keras")
    result = run("repair", leaky, "-o", target, "--json")
    report = audit.repair(leaky, target, overwrite=True)
    api = json.loads(json.dumps(report.to_json()))
    assert json.loads(result.stdout) == {"format": "keras_padsafe.repair/1", **api}


@pytest.mark.filterwarnings("ignore:.*mask:UserWarning")
def test_what_cannot_be_mended_is_a_finding(run: Run, tmp_path: Path) -> None:
    source = save(tmp_path / "flat.keras", layers.Flatten(name="flat"))
    result = run("repair", source, "-o", tmp_path / "mended.keras", env=WIDE)
    assert result.exit_code == 1
    assert "PS301  flat " in result.stdout
    assert result.stdout.endswith("Not everything could be repaired.\nWRONG\n")


def test_nothing_to_mend(run: Run, model: Path) -> None:
    result = run("repair", model, "-o", model.with_name("same.keras"))
    assert result.exit_code == 0
    assert result.stdout.endswith("Nothing to repair.\nPROVED\n")


def test_overwrites_only_by_force(run: Run, leaky: Path) -> None:
    target = leaky.with_name("mended.keras")
    target.write_bytes(b"mine")
    result = run("repair", leaky, "-o", target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--force" in result.stderr
    assert target.read_bytes() == b"mine"
    assert run("repair", leaky, "-o", target, "--force").exit_code == 0
    result = run("repair", leaky, "-o", leaky, "--force")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the source itself" in result.stderr


def test_a_file_that_is_no_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none.keras").write_bytes(b"")
    result = run("repair", tmp_path / "none.keras", "-o", tmp_path / "new.keras")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "it is empty" in result.stderr


@only_once
def test_a_class_of_the_user(models: Path, tmp_path: Path) -> None:
    """In a new process; its layer is named, and its model loads."""
    command = [sys.executable, "-m", "keras_padsafe", "repair", models / "odd.keras"]
    done = subprocess.run(
        [*command, "-o", tmp_path / "new.keras", "--import", "tests.cli.custom"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Nothing to repair.\nPROVED\n")
