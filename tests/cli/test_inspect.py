"""`inspect`: the table and the document say what the API says."""

import json
from pathlib import Path

import keras
import pytest
from keras import layers

from keras_padsafe import surgery

from ..surgery.reference import only_once
from .conftest import IMPORT, Run, in_new_process


@pytest.mark.parametrize("name", ["trained", "two", "odd", "own", "encoded"])
def test_json_is_what_the_api_gives(run: Run, models: Path, name: str) -> None:
    path = models / f"{name}.keras"
    result = run("inspect", path, "--json")
    api = json.loads(json.dumps(surgery.inspect(path).to_json()))
    expected = {"format": "keras_padsafe.inventory/1", **api}
    assert json.loads(result.stdout) == expected
    assert result.stdout == json.dumps(expected, indent=2, sort_keys=True) + "\n"
    assert result.stderr == ""


def test_table_lists_all_that_is_bound(run: Run, model: Path) -> None:
    result = run("inspect", model, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    (found,) = surgery.inspect(model).to_json()["vocabularies"]
    for site in [*found["arrays"], *found["optimizer_slots"]]:
        (line,) = [
            x for x in result.stdout.splitlines() if x.startswith(f"  {site['path']} ")
        ]
        assert str(tuple(site["shape"])) in line
        assert f" {site['axis']}  {site['role']}: {site['reason']}" in line
    for site in found["config"]:
        assert f" {site['key']} " in result.stdout
    assert len(found["optimizer_slots"]) == 6


def test_nothing_is_cut_off(run: Run, model: Path) -> None:
    assert "…" not in run("inspect", model, env={"COLUMNS": "60"}).stdout


def test_what_is_unexplained_is_a_finding(run: Run, models: Path) -> None:
    path = models / "odd.keras"
    result = run("inspect", path, env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "Please decide before it can grow" in result.stdout
    assert "--also prior:0" in result.stdout
    assert "--leave prior" in result.stdout
    for settled in (["--leave", "prior"], ["--also", "prior:0:size"]):
        assert run("inspect", path, *settled).exit_code == 0


def test_left_alone_is_listed(run: Run, models: Path) -> None:
    path = models / "odd.keras"
    shown = run("inspect", path, "--leave", "prior", env={"COLUMNS": "200"}).stdout
    assert "Left alone" in shown
    assert "left alone as asked" in shown


def test_names_and_notes_are_shown(run: Run, models: Path) -> None:
    shown = run("inspect", models / "own.keras", env={"COLUMNS": "200"}).stdout
    assert "Vocabulary words/table: 50 ids" in shown
    assert "Also accepted by --vocabulary: words, table, " in shown
    assert "Keras was asked what belongs to the ids." in shown
    stock = run("inspect", models / "trained.keras").stdout
    assert "Also accepted by --vocabulary: head\n" in stock
    assert "Keras was asked" not in stock
    assert "Keras was asked" in run("inspect", models / "trained.keras", "--ask").stdout


def test_what_is_near_a_table_is_a_finding(run: Run, models: Path) -> None:
    result = run("inspect", models / "encoded.keras", env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert "What comes close" in result.stdout
    assert "no layer with a weight for each column" in result.stdout
    assert "no embedding table" not in result.stdout


def test_columns_of_bins_are_no_vocabulary(run: Run, tmp_path: Path) -> None:
    bins = layers.Discretization([0.0, 1.0], output_mode="one_hot", name="bins")
    x = keras.Input((1,))
    keras.Model(x, layers.Dense(2)(bins(x))).save(tmp_path / "bins.keras")
    result = run("inspect", tmp_path / "bins.keras", env={"COLUMNS": "300"})
    assert "Discretization 'bins' makes a column for each bin" in result.stdout


def test_no_vocabulary_at_all(run: Run, models: Path) -> None:
    result = run("inspect", models / "without.keras")
    assert result.exit_code == 0
    assert "No vocabulary: no table of ids was found." in result.stdout


@only_once
def test_a_class_that_must_be_imported(models: Path) -> None:
    """In a new process, where nothing has registered the class yet."""
    alone = in_new_process("inspect", models / "own.keras")
    assert alone.returncode == 1
    assert "--import MODULE" in alone.stdout
    assert "no embedding table" not in alone.stdout
    helped = in_new_process("inspect", models / "own.keras", *IMPORT, "--json")
    assert helped.returncode == 0, helped.stderr
    document = json.loads(helped.stdout)
    assert document["asked"]
    assert [found["size"] for found in document["vocabularies"]] == [50]
    assert "tests.cli.custom is imported" in helped.stderr
