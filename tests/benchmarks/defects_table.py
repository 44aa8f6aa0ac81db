"""Stock Keras against ours, case by case, as rows of a Markdown table.

    KERAS_BACKEND=jax python -m tests.benchmarks.defects_table
    python -m tests.benchmarks.defects_table --write

The first prints the rows of one backend, the second runs all three and writes
`defects.md`. Every case is one function that runs twice, once with the classes of
Keras and once with ours, and says in a few words what came out.
"""

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
PAGE = Path(__file__).with_name("defects.md")


def answer(function, classes) -> str:
    import keras

    keras.utils.set_random_seed(0)
    try:
        return function(classes)
    except Exception as error:
        return f"raises `{type(error).__name__}`"


def rows() -> list[tuple[str, str, str, str]]:
    """Returns (room, case, what Keras says, what ours says) on this backend."""
    from tests.benchmarks.defect_case import CASES, OURS, STOCK

    for room in ("defects_of_attention", "defects_elsewhere"):
        importlib.import_module(f"tests.benchmarks.{room}")
    return [
        (room, title, answer(function, STOCK), answer(function, OURS))
        for room, title, function in CASES
    ]


def joined() -> str:
    """Returns the rows of all backends side by side, each in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.defects_table"]
    tables = []
    for backend in BACKENDS:
        environment = {**os.environ, "KERAS_BACKEND": backend}
        out = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        lines = [line for line in out.splitlines() if line.startswith("|")]
        tables.append([line.strip("| ").split(" | ") for line in lines])
    side_by_side = [
        [*parts[0][:2], *(cell for part in parts for cell in part[2:])]
        for parts in zip(*tables, strict=True)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in side_by_side)


def write() -> None:
    """Writes the page that the README links to."""
    import keras

    names = [
        f"{name}: {who}" for name in BACKENDS.values() for who in ("Keras", "ours")
    ]
    heads = ["", "case", *names]
    PAGE.write_text(
        f"# Padding in Keras {keras.__version__}, and here\n\n"
        "What stock Keras and keras_padsafe say in the same few lines, on each "
        "backend, on a CPU. The cases are the functions in `defects_of_attention.py` "
        "and `defects_elsewhere.py`. To measure again:\n\n"
        "    python -m tests.benchmarks.defects_table --write\n\n"
        f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n{joined()}\n"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    for row in rows():
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    write() if "--write" in sys.argv else main()
