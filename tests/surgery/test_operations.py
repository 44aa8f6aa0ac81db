"""The page of surgeries says what they give."""

import random
import re
from pathlib import Path

import keras
import pytest

from .operations import CELLS, OPERATIONS, Cell, label, outcome

# Keras before 3.15 has other scales for four bits, and the page is of a newer one.
OLDER = int(keras.__version__.split(".")[1]) < 15
CELLS_HERE = [cell for cell in CELLS if not OLDER or cell.row.dtype != "int4"]
# The whole page is run by whoever writes it anew.
SOME = random.Random(keras.__version__).sample(CELLS_HERE, 60)
PAGE = Path(__file__).with_name("operations.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.usefixtures("quick_compile"),
    # Keras wraps an optimizer under mixed_float16, and does not when it loads the file.
    pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer"),
    # The new mask ends at a head: Keras tells of it.
    pytest.mark.filterwarnings("ignore:.*was passed an input with a mask attached"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="files are the same on every backend: run on one",
    ),
]


def said(cell: Cell) -> str:
    """What the page says of a cell: a verdict, or the message of a refusal."""
    table, row = cell.row.holder, label(cell.row)
    (section,) = (s for s in PAGE.split("\n## ") if s.startswith(f"{table}\n"))
    (line,) = (s for s in section.splitlines() if s.startswith(f"| {row} |"))
    text = line.split(" | ")[1 + [*OPERATIONS].index(cell.operation)].removesuffix(" |")
    if found := re.fullmatch(r"refused \((\d+)\)", text):
        (note,) = re.findall(rf"^{found[1]}\. (.*)$", section, re.MULTILINE)
        return note
    return text


@pytest.mark.parametrize(
    "cell", SOME, ids=lambda c: f"{c.row.holder}, {label(c.row)}: {c.operation}"
)
def test_the_page_says_what_a_surgery_gives(cell: Cell, tmp_path: Path) -> None:
    assert outcome(cell, tmp_path) == said(cell)
