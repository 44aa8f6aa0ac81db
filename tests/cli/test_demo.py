"""`demo`: the story comes out as told, and its figures are measured."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_padsafe import surgery
from keras_padsafe.cli.story_view import story_view

from .conftest import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def story(folder: Path) -> dict:
    """The document that a new process prints."""
    backend = keras.backend.backend()
    done = subprocess.run(
        [sys.executable, "-m", "keras_padsafe", "demo", "--keep", folder, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert "Growing the saved file" in done.stderr
    document = json.loads(done.stdout)
    assert document["backend"] == backend
    return document


def test_old_names_keep_their_outputs(story: dict) -> None:
    assert story["certificate"]["passed"]
    assert story["old_outputs"]["largest_difference"] == 0.0
    accuracy = {row["model"]: row for row in story["accuracy"]}
    assert accuracy["grown"]["old_names"] == accuracy["old vocabulary"]["old_names"]


def test_growing_pays(story: dict) -> None:
    """The point of the story, with a margin for another backend's arithmetic."""
    accuracy = {row["model"]: row["new_names"] for row in story["accuracy"]}
    best = accuracy.pop("grown, tuned")
    assert best > max(accuracy.values()) + 0.003
    assert best > 0.9


def test_figures_are_those_of_the_files(story: dict, folder: Path) -> None:
    before, after = story["files"]
    assert {Path(file["path"]).parent for file in (before, after)} == {folder}
    for file in (before, after):
        assert Path(file["path"]).stat().st_size == file["bytes"]
        assert surgery.inspect(file["path"]).vocabularies[0].size == file["ids"]
    assert after["ids"] - before["ids"] == story["words"]["new"]


def test_the_grown_file_loads_in_plain_keras(story: dict) -> None:
    model = keras.models.load_model(story["files"][1]["path"])
    assert model.layers[0].input_dim == story["files"][1]["ids"]
    assert not any(type(x).__module__.startswith("keras_padsafe") for x in model.layers)


def test_screen_shows_the_document(story: dict) -> None:
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(story_view(story))
    shown = console.export_text()
    for row in story["accuracy"]:
        assert f"{row['new_names']:.3f}" in shown
    assert f"{story['words']['new']:,} new" in shown


def test_files_are_not_written_over(run: Run, story: dict, folder: Path) -> None:
    result = run("demo", "--keep", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--force" in result.stderr
