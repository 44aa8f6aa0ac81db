"""`plan`: the document can be saved, and nothing else is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_padsafe import surgery

from .conftest import Run


def test_json_is_what_the_api_gives(run: Run, model: Path) -> None:
    before = model.read_bytes()
    result = run("plan", model, "--add", "zebra", "--add", "okapi", "--json")
    expected = surgery.plan(model, tokens=["zebra", "okapi"]).to_json()
    assert json.loads(result.stdout) == json.loads(json.dumps(expected))
    assert list(model.parent.iterdir()) == [model]
    assert model.read_bytes() == before


def test_options_reach_the_plan(run: Run, models: Path) -> None:
    path = models / "two.keras"
    words = ["--vocabulary", "items", "--rows", 5, "--multiple-of", 64]
    words += ["--new-rows", "normal:7", "--optimizer", "drop"]
    plan = json.loads(run("plan", path, *words, "--json").stdout)
    assert (plan["vocabulary"], plan["new_size"]) == ("items", 128)
    assert (plan["new_rows"], plan["optimizer"]) == ("normal:7", "drop")


def test_also_and_leave_settle(run: Run, models: Path) -> None:
    path = models / "odd.keras"
    grown = json.loads(
        run("plan", path, "--rows", 2, "--also", "prior:0:size", "--json").stdout
    )
    left = json.loads(
        run("plan", path, "--rows", 2, "--leave", "prior", "--json").stdout
    )
    assert len(grown["arrays"]) == len(left["arrays"]) + 1


def test_saved_plan_is_the_one_shown(run: Run, model: Path) -> None:
    file = model.with_name("plan.json")
    result = run("plan", model, "--rows", 3, "--save", file, "--json")
    assert result.exit_code == 0
    assert result.stderr == f"Plan written to {file}\n"
    assert json.loads(file.read_text()) == json.loads(result.stdout)
    assert surgery.Plan.load(file).to_json() == surgery.plan(model, rows=3).to_json()


def test_a_saved_plan_is_not_written_over(run: Run, model: Path) -> None:
    file = model.with_name("plan.json")
    file.write_text("mine")
    result = run("plan", model, "--rows", 3, "--save", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--force" in result.stderr
    assert file.read_text() == "mine"
    assert run("plan", model, "--rows", 3, "--save", file, "--force").exit_code == 0


def test_a_plan_that_cannot_be_written(run: Run, model: Path) -> None:
    result = run("plan", model, "--rows", 3, "--save", model.parent / "no" / "p.json")
    assert result.exit_code == 2
    assert "could not be written" in result.stderr


def test_rows_of_a_file(run: Run, model: Path) -> None:
    file = model.with_name("rows.npy")
    np.save(file, np.ones((2, 8)))
    result = run("plan", model, "--rows", 2, "--new-rows", file, "--json")
    assert json.loads(result.stdout)["rows"] == [[1.0] * 8] * 2
    file.write_bytes(b"no matrix")
    result = run("plan", model, "--rows", 2, "--new-rows", file)
    assert result.exit_code == 2
    assert "no rows could be read" in result.stderr


def test_rows_of_a_file_of_tensors(run: Run, model: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    file = model.with_name("rows.safetensors")
    tensors = {"new": np.ones((2, 8), "float32"), "old": np.zeros((3, 8), "float32")}
    save_file(tensors, file)
    told = run("plan", model, "--rows", 2, "--new-rows", f"{file}:new", "--json")
    assert json.loads(told.stdout)["rows"] == [[1.0] * 8] * 2
    asked = run("plan", model, "--rows", 2, "--new-rows", file)
    assert asked.exit_code == 2
    assert "The file holds 2: new, old" in " ".join(asked.stderr.split())
    file.write_bytes(b"no tensors")
    broken = run("plan", model, "--rows", 2, "--new-rows", file)
    assert broken.exit_code == 2
    assert "no rows could be read" in broken.stderr


def test_table_says_what_becomes_what(run: Run, model: Path) -> None:
    shown = run("plan", model, "--add", "zebra").stdout
    assert "vocabulary tokens, 50 -> 51 ids" in shown
    assert "zebra = 50" in shown
    assert "(50, 8)  (51, 8)" in shown
    assert "The model was not touched." in shown


def test_many_words_are_counted(run: Run, model: Path) -> None:
    file = model.with_name("words.txt")
    file.write_text("\n".join(f"word{i}" for i in range(25)))
    shown = run("plan", model, "--add-file", file, env={"COLUMNS": "300"}).stdout
    assert "word9 = 59 and 15 more" in shown
