"""What each surgery gives for each holder, data type and optimizer: a page.

    KERAS_BACKEND=tensorflow python -m tests.surgery.operations > FILE

writes it whole. `test_operations.py` runs a part of the cells that is drawn by chance.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

import keras_padsafe as kp
from keras_padsafe.compat import inner_layers, saved_arrays, walk_saved
from keras_padsafe.errors import SurgeryError

from . import zoo
from .test_optimizer_slots import KNOWN, as_array
from .zoo import DIM, SIZE, STEPS, ids

WORDS = [f"word {number}" for number in range(1, SIZE)]
VERDICTS = ("proved", "wrong", "not proved", "kept", "moved", "no such model")


INTRO = """\
# What each surgery gives

For each holder of a vocabulary, each optimizer and each data type; every two of the
three meet in some row. *Proved* says `verify` of the new file; *kept*, that every old
entry stayed what it was, bit for bit, while new ones trained. *Refused*: with the
message under the table. *No such model*: TensorFlow does not train it, or to no finite
numbers. Each cell is a test, of which a part runs at a time. Written by
`python -m tests.surgery.operations`.

One more step of training on old data, where no head grew, gives the loss and the old
rows of the model that did not grow, for each optimizer but two
(`test_optimizer_slots.py`). Adafactor and Lamb scale a step by a norm of the whole
weight, new rows too: with 13 rows grown to 16, their next step starts from the same
loss, and differs by 10 % and by 0.8 % of its length.
"""


class Row(NamedTuple):
    """What a file holds: of each a name."""

    holder: str
    optimizer: str
    dtype: str


class Cell(NamedTuple):
    """A row of the page, and what is done with the file."""

    row: Row
    operation: str


def _grow(source: Path, target: Path) -> str:
    kp.surgery.grow(source, target, rows=2)
    return kp.surgery.verify(source, target).verdict


def _pad(source: Path, target: Path) -> str:
    kp.surgery.grow(source, target, rows=1, at=0, pad=True)
    return kp.surgery.verify(source, target).verdict


def _trim(source: Path, target: Path) -> str:
    kp.surgery.trim(source, target, keep=[0, 1, 2, 5, 7, 8, 9, 11])
    return kp.surgery.verify(source, target).verdict


def _remap(source: Path, target: Path) -> str:
    kp.surgery.remap(source, target, row_map=[*reversed(range(SIZE))])
    return kp.surgery.verify(source, target).verdict


def _refill(source: Path, target: Path) -> str:
    full = target.with_name("full.keras")
    kp.surgery.grow(source, full, tokens=["one"], capacity=2)
    kp.surgery.refill(full, target, tokens=["two"], evict=["one", WORDS[3]])
    return kp.surgery.verify(full, target).verdict


def _freeze(source: Path, target: Path) -> str:
    """Trains new ids: `"kept"` if every old entry stays what it was."""
    plan = kp.surgery.grow(source, target, rows=2).plan
    grown: Any = keras.models.load_model(target)
    tuned = kp.surgery.freeze_old_rows(target, SIZE)
    _train(tuned, tuned.optimizer if tuned.compiled else "sgd", first=SIZE - 2)
    before, after = _saved(grown), _saved(tuned)
    held = []
    for change in plan.arrays:
        if not change.path.startswith("optimizer/"):
            old = np.flatnonzero(change.own(plan.row_map).ids >= 0)
            name = before[change.path][0]
            values = [
                np.moveaxis(found, change.axis, 0)[old]
                for pairs in (before, after)
                for own, found in pairs.values()
                if own == name
            ]
            held.append(len(values) == 2 and np.array_equal(*values))
    return "kept" if all(held) else "moved"


OPERATIONS: dict[str, Callable[[Path, Path], str]] = {
    "grow": _grow,
    "grow, a padding id at 0": _pad,
    "trim": _trim,
    "remap": _remap,
    "grow by capacity, refill": _refill,
    "grow, freeze old rows, train": _freeze,
}


def _saved(model: Any) -> dict[str, tuple[str, np.ndarray]]:
    """What a model saves by path, with a name that no change of class changes."""
    return {
        f"{group}/{path}": (
            f"{saved.name}/{path}",
            np.array(keras.ops.convert_to_numpy(value)),
        )
        for group, saved in walk_saved(model)
        if isinstance(saved, keras.Layer)
        for path, value in saved_arrays([("", saved)])
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


@keras.saving.register_keras_serializable("tests.operations")
class Rows(layers.Layer):
    """A table that a user wrote."""

    def __init__(self, number_of_words: int, **options: Any) -> None:
        super().__init__(**options)
        self.number_of_words = number_of_words

    def build(self, _: Any) -> None:
        self.rows = self.add_weight(shape=(self.number_of_words, DIM))

    def call(self, x: Any) -> Any:
        return keras.ops.take(self.rows, x, axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "number_of_words": self.number_of_words}


def _own_class(size: int) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Dense(size)(Rows(size)(x)))


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
    "a table of a class of one's own": _own_class,
}
WHOLE = ("int8", "int4")
DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "float64",
    "mixed_float16",
    "mixed_bfloat16",
    *WHOLE,
)
# Data types go round, from another one on in each table, so that every two of a holder,
# an optimizer and a data type meet.
TABLES: dict[str, list[Row]] = {
    holder: [
        Row(holder, optimizer, DTYPES[(start + number) % len(DTYPES)])
        for number, optimizer in enumerate(KNOWN)
    ]
    for start, holder in enumerate(HOLDERS)
}
CELLS = [
    Cell(row, operation)
    for rows in TABLES.values()
    for row in rows
    for operation in OPERATIONS
]


def _build(row: Row, *, words: bool) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if row.dtype in WHOLE else row.dtype)
    try:
        model = HOLDERS[row.holder](SIZE)
        if words:
            x = keras.Input((STEPS,), dtype="string")
            model = keras.Model(x, model(layers.StringLookup(vocabulary=WORDS)(x)))
        for layer in inner_layers(model) if row.dtype in WHOLE else ():
            if isinstance(layer, layers.Embedding | layers.Dense | layers.EinsumDense):
                layer.quantize(row.dtype)
        _train(model, KNOWN[row.optimizer](), first=1)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def _train(model: Any, optimizer: Any, first: int) -> None:
    """Two steps on four ids, from one on."""
    x: Any = np.arange(first, first + 4).repeat(STEPS).reshape(4, STEPS)
    if model.inputs[0].dtype == "string":
        x = np.array([[f"word {n}" for n in row] for row in x])
    y = np.ones([4, *(dim or STEPS for dim in model.outputs[0].shape[1:])], "float32")
    model.compile(optimizer, "mse", run_eagerly=True)
    for _ in range(2):
        model.train_on_batch(x, y)


def outcome(cell: Cell, folder: Path) -> str:
    """A verdict, or the message of a refusal."""
    source, target = folder / "old.keras", folder / "new.keras"
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    try:
        model = _build(cell.row, words="refill" in cell.operation)
    except Exception:  # As bfloat16 in a count of ids, by TensorFlow.
        return "no such model"
    if not all(np.isfinite(as_array(weight)).all() for weight in model.weights):
        return "no such model"  # As Adamax in float16, whose epsilon is 0 there.
    model.save(source)
    try:
        return OPERATIONS[cell.operation](source, target)
    except SurgeryError as refusal:
        return " ".join(str(refusal).replace(f"{folder}/", "").split())


def label(row: Row) -> str:
    """What a row of the page is called."""
    return f"{row.optimizer}, {row.dtype}"


def page() -> Iterator[str]:
    """The lines of the page."""
    yield from INTRO.splitlines()
    for name, rows in TABLES.items():
        notes: list[str] = []
        yield from ("", f"## {name}", "", f"| | {' | '.join(OPERATIONS)} |")
        yield "|---" * (len(OPERATIONS) + 1) + "|"
        for row in rows:
            cells = [_cell(Cell(row, one), notes) for one in OPERATIONS]
            yield f"| {label(row)} | {' | '.join(cells)} |"
        if notes:
            yield ""
        for number, note in enumerate(notes, 1):
            yield f"{number}. {note}"


def _cell(cell: Cell, notes: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(cell, Path(folder))
    if found in VERDICTS:
        return found
    if found not in notes:
        notes.append(found)
    return f"refused ({notes.index(found) + 1})"


if __name__ == "__main__":
    for line in page():
        print(line, flush=True)
