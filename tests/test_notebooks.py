"""The notebooks run as they stand, and what is committed of them is clean.

Each runs on one backend, where it is quick; with `--all-notebooks` each runs on every
backend. Their own cells assert what they claim.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import nbformat
import pytest

from notebooks.build import METADATA, execute, read_source, sources

from .surgery.reference import only_once

# Where each runs: on a backend on which it is quick, and each backend runs some.
RUN_ON = {"jax": "03", "torch": "01 07", "tensorflow": "02 04 05 06 08 09"}
MOST_CELLS = 26
MOST_BYTES = 150_000
# A path from the root of a drive; a time as Keras, pip or a stopwatch prints it.
PATH = re.compile(r"""(?:^|[\s'"(=])(?:(?:/[\w.-]+){2,}|[A-Za-z]:\\\w)""", re.MULTILINE)
TIME = re.compile(r"\b\d+(?:\.\d+)?\s?(?:[mµun]?s|sec|seconds)\b")


def ids(path: Path) -> str:
    return path.stem


every_notebook = pytest.mark.parametrize("source", sources(), ids=ids)


@pytest.mark.slow
@every_notebook
def test_notebook_runs(source: Path, request: pytest.FixtureRequest) -> None:
    backend = keras.backend.backend()
    its_own = next(b for b, own in RUN_ON.items() if source.stem[:2] in own.split())
    if backend != its_own and not request.config.getoption("--all-notebooks"):
        pytest.skip(f"runs on {its_own}; with --all-notebooks on every backend")
    execute(read_source(source), backend)


@only_once
def test_there_are_notebooks() -> None:
    assert sources()


@only_once
@every_notebook
def test_notebook_and_its_source_are_one(source: Path) -> None:
    committed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    expected = read_source(source)
    assert [(c.cell_type, c.source) for c in committed.cells] == [
        (c.cell_type, c.source) for c in expected.cells
    ], "run `python notebooks/build.py`"
    assert committed.metadata == METADATA


@only_once
@every_notebook
def test_notebook_is_small(source: Path) -> None:
    path = source.with_suffix(".ipynb")
    assert path.stat().st_size < MOST_BYTES
    assert len(nbformat.read(path, as_version=4).cells) <= MOST_CELLS


@only_once
@every_notebook
def test_notebook_was_run_whole_and_in_order(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    kinds = {kind for output in outputs(notebook) for kind in output.get("data", {})}
    assert "image/png" in kinds


@only_once
@every_notebook
def test_outputs_name_no_machine(source: Path) -> None:
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not PATH.search(text), text
        assert not TIME.search(text), text


@only_once
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (PATH, "saved to /home/someone/model.keras"),
        (PATH, "File '/usr/lib/python3/site.py'"),
        (PATH, r"C:\Users"),
        (TIME, "32/32 - 1s - 31ms/step - loss: 0.1"),
        (TIME, "took 3.2 seconds"),
    ],
)
def test_what_names_a_machine_is_seen(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def outputs(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    return (o for cell in notebook.cells for o in cell.get("outputs", []))
