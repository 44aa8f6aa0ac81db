"""`verify`: the certificate as a table, a document and an exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keras_padsafe import surgery

from ..surgery.reference import only_once
from .conftest import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def grown(model: Path) -> Path:
    path = model.with_name("grown.keras")
    surgery.grow(model, path, rows=3)
    return path


def test_proves_what_grow_wrote(run: Run, model: Path, grown: Path) -> None:
    result = run("verify", model, grown, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert result.stdout.endswith("PROVED\n")
    for check in surgery.verify(model, grown).checks:
        assert re.search(f"{check.status} +{check.name} ", result.stdout)
        assert check.detail in result.stdout


def test_json_is_what_the_api_gives(run: Run, model: Path, grown: Path) -> None:
    result = run("verify", model, grown, "--json")
    expected = surgery.verify(model, grown).to_json()
    assert json.loads(result.stdout) == json.loads(json.dumps(expected))


def test_a_failed_check_is_a_finding(run: Run, model: Path, grown: Path) -> None:
    wrong = model.with_name("plan.json")
    surgery.plan(model, rows=4).save(wrong)
    result = run("verify", model, grown, "--plan", wrong)
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert result.stdout.endswith("WRONG\n")


def test_a_file_without_a_plan(run: Run, model: Path) -> None:
    result = run("verify", model, model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--plan plan.json" in result.stderr


def test_the_first_file_that_is_missing_is_named(run: Run, model: Path) -> None:
    result = run("verify", "missing.keras", model)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: missing.keras: ")


def test_a_module_that_is_not_there(run: Run, model: Path, grown: Path) -> None:
    result = run("verify", model, grown, "--import", "no_such_module")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no_such_module" in result.stderr


@only_once
def test_a_class_of_the_user(models: Path, tmp_path: Path) -> None:
    """In a new process, where nothing has registered the class yet."""
    source, target = models / "odd.keras", tmp_path / "grown.keras"
    surgery.grow(source, target, rows=3, leave=["prior"])
    command = [sys.executable, "-m", "keras_padsafe", "verify", source, target]
    done = subprocess.run(
        [*command, "--import", "tests.cli.custom", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["passed"]


@pytest.mark.parametrize("command", ["verify", "demo"])
def test_a_backend_that_is_not_installed(
    run: Run, model: Path, grown: Path, command: str
) -> None:
    files = [model, grown] if command == "verify" else []
    result = run(command, *files, env={"KERAS_BACKEND": "theano"})
    installed = os.environ.get("KERAS_BACKEND", "tensorflow")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "KERAS_BACKEND=theano" in result.stderr
    assert installed in result.stderr
    assert f"keras-padsafe {command}" in result.stderr
