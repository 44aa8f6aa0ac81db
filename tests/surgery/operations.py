"""What each surgery gives for each holder, data type and optimizer: a page.

    python -m tests.surgery.operations > tests/surgery/operations.md

Each cell is a test, in `test_operations.py`: `verify` calls the new file proved, or the
surgery refuses with the message under the table.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError

from . import zoo
from .test_optimizer_slots import KNOWN
from .zoo import DIM, SIZE, STEPS, ids

Cell = tuple[str, str, str]
"""Table of the page, row and column."""


def _grow(source: Path, target: Path, **said: Any) -> None:
    kp.surgery.grow(source, target, rows=2, **said)


def _pad(source: Path, target: Path, **said: Any) -> None:
    kp.surgery.grow(source, target, rows=1, at=0, pad=True, **said)


def _trim(source: Path, target: Path, **said: Any) -> None:
    kp.surgery.trim(source, target, keep=[0, 1, 2, 5, 7, 8, 9, 11], **said)


def _remap(source: Path, target: Path, **said: Any) -> None:
    kp.surgery.remap(source, target, row_map=[*reversed(range(SIZE))], **said)


OPERATIONS: dict[str, Callable[..., None]] = {
    "grow": _grow,
    "grow, a padding id at 0": _pad,
    "trim": _trim,
    "remap": _remap,
}


def _extendable(size: int) -> keras.Model:
    x = ids()
    h = kp.layers.ExtendableEmbedding(size, DIM, name="words")(x)
    return keras.Model(x, layers.Dense(size)(h))


def _low_rank(size: int) -> keras.Model:
    model = zoo.sequential_language_model(size)
    for layer in model.layers:
        if isinstance(layer, layers.Embedding | layers.Dense):
            layer.enable_lora(2)
    return model


HOLDERS: dict[str, zoo.Build] = {
    "`Embedding`, `Dense` head": zoo.sequential_language_model,
    "`ReversibleEmbedding`, tied": zoo.tied,
    "`ReversibleEmbedding`, not tied": zoo.untied,
    "`EinsumDense` head": zoo.einsum_head,
    "`ExtendableEmbedding`": _extendable,
    "with LoRA": _low_rank,
    "nested models": zoo.nested_three_levels,
    "`CategoryEncoding`, kernel": zoo.encoding_multi_hot,
    "encoding beside a table": zoo.wide_and_deep,
}

DTYPES = (
    "float16",
    "bfloat16",
    "float64",
    "mixed_float16",
    "mixed_bfloat16",
    "int8",
    "int4",
)


def _in_dtype(name: str) -> zoo.Build:
    def build(size: int) -> keras.Model:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32" if name.startswith("int") else name)
        try:
            model = zoo.tied(size)
        finally:
            keras.config.set_dtype_policy(before)
        if name.startswith("int"):
            model.get_layer("words").quantize(name)
        return model

    return build


def _trained_by(name: str) -> zoo.Build:
    def build(size: int) -> keras.Model:
        model = zoo.sequential_language_model(size)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(KNOWN[name](), loss, run_eagerly=True)
        x = np.random.default_rng(0).integers(0, size, (4, STEPS))
        model.train_on_batch(x, x)
        return model

    return build


TABLES: dict[str, dict[str, zoo.Build]] = {
    "Holders": HOLDERS,
    "Data types (a tied table)": {name: _in_dtype(name) for name in DTYPES},
    "Optimizers (a table and a head)": {name: _trained_by(name) for name in KNOWN},
}
CELLS: list[Cell] = [
    (page, row, operation)
    for page, rows in TABLES.items()
    for row in rows
    for operation in OPERATIONS
]


def outcome(cell: Cell, folder: Path) -> str:
    """`"proved"`, or the message of a refusal."""
    page, row, operation = cell
    source, target = folder / "old.keras", folder / "new.keras"
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    TABLES[page][row](SIZE).save(source)
    try:
        OPERATIONS[operation](source, target)
    except SurgeryError as refusal:
        return str(refusal).replace(f"{source}: ", "")
    return kp.surgery.verify(source, target).verdict


def page() -> Iterator[str]:
    """The lines of the page."""
    yield "# What each surgery gives"
    yield ""
    yield "Each cell is a test: `verify` calls the new file *proved*, or the surgery"
    yield "refuses, with the message under the table. Written by"
    yield "`python -m tests.surgery.operations`."
    for name, rows in TABLES.items():
        notes: list[str] = []
        yield from ("", f"## {name}", "", f"| | {' | '.join(OPERATIONS)} |")
        yield "|---" * (len(OPERATIONS) + 1) + "|"
        for row in rows:
            cells = [_cell((name, row, o), notes) for o in OPERATIONS]
            yield f"| {row} | {' | '.join(cells)} |"
        if notes:
            yield ""
        for number, note in enumerate(notes, 1):
            yield f"{number}. {' '.join(note.split())}"


def _cell(cell: Cell, notes: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(cell, Path(folder))
    if found in ("proved", "wrong", "not proved"):
        return found
    if found not in notes:
        notes.append(found)
    return f"refused ({notes.index(found) + 1})"


if __name__ == "__main__":
    print("\n".join(page()))
