"""Finds what is wrong with ids before a model sees them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_padsafe.arguments import as_integer, read_count
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.stored.id_batches import batches_of, blocks_of, ids_of
from keras_padsafe.errors import IdError

_ROWS_SHOWN, _POSITIONS_SHOWN = 5, 8
_PLACE = ("batch", "row", "data_row")


def check_ids(
    batches: Any,
    input_dim: int,
    pad_id: int | Iterable[int] | None = None,
    *,
    input_name: str | int | None = None,
) -> AuditReport:
    """Finds what is wrong with ids before a model sees them.

    Looks for ids that the table has no row for, negative ids, rows without a real id,
    pad ids between real ones, and rows padded on different sides. One finding for each
    kind, with counts and the first rows. Nothing is run but the data itself, one epoch
    of it in constant memory; for NumPy data no backend is imported.

    A row of ids is one sample, `(time,)`; where ids have more axes the last one is
    time. Padding at either end of a row, or at both, is not inside it, and a row of
    padding alone is empty and has no side. A pad id is never out of range, as for
    `ExtendableEmbedding`; if your table has no row for it and is a stock `Embedding`,
    leave `pad_id` out and it is counted as the bad id that it is there.

    Args:
        batches: Ids, `(batch, time)`, as an array or a list of rows of any lengths; a
            1-D array is one sequence. Or what `fit` takes: a `keras.utils.PyDataset`,
            a `tf.data.Dataset`, a torch `DataLoader`, any iterable of batches. A batch
            is `x`, `(x, y)` or `(x, y, sample_weight)`. A generator is used up; of one
            without an end pass a part: `itertools.islice(batches, steps)`.
        input_dim: Number of rows of the table.
        pad_id: The id, or ids, that mean padding.
        input_name: Which input holds the ids, by its key or number, if `x` is a dict
            or a list of several. May be left out if one is called `token_ids` or
            `input_ids`.

    Returns:
        An `AuditReport` of findings PS101 to PS105.

    Raises:
        IdError: if the data is empty, has no end, or holds no integer ids.

    Example:
    >>> report = keras_padsafe.audit.check_ids(
    ...     [[5, 9, 0, 0], [7, 50, 3, 2]], input_dim=50, pad_id=0
    ... )
    >>> report.passed
    False
    >>> [(finding.code, finding.evidence["ids"]) for finding in report]
    [('PS101', 1)]
    """
    rows = read_count(input_dim, "input_dim", IdError, least=1)
    tally = _Ids(rows, _pad_ids(pad_id))
    name = "ids"
    for number, batch in enumerate(batches_of(batches)):
        name, ids = ids_of(batch, input_name, f"batch {number}")
        row = 0
        for block, present in blocks_of(ids, f"batch {number}, {name}"):
            tally.add(block, present, number, row)
            row += len(block)
    if not tally.rows:
        raise IdError(
            "batches: they hold no row of ids. Expected: at least one batch with a "
            "row. A generator may be used up already: make a new one."
        )
    return AuditReport(tuple(_findings(tally, name)))


@dataclass
class _Tally:
    """One kind of trouble: how many ids and rows have it, and the first rows."""

    ids: int = 0
    rows: int = 0
    smallest: int = 1 << 64
    largest: int = -1 << 64
    first: list[dict[str, Any]] = field(default_factory=list)

    def add(self, bad: np.ndarray, ids: np.ndarray, *place: int) -> None:
        """Counts the ids that are marked, or, on one axis, the rows.

        `place` is their batch, and the number of the first row there and in the data.
        """
        numbers, of_ids = np.flatnonzero(_any_in_row(bad)), bad.ndim > 1
        if of_ids and numbers.size:
            found = ids[bad]
            self.smallest = min(self.smallest, int(found.min()))
            self.largest = max(self.largest, int(found.max()))
            self.ids += len(found)
        self.rows += len(numbers)
        for row in numbers[: _ROWS_SHOWN - len(self.first)].tolist():
            at = (place[0], place[1] + row, place[2] + row)
            shown: dict[str, Any] = dict(zip(_PLACE, at, strict=True))
            if of_ids:
                found = np.argwhere(bad[row])[:_POSITIONS_SHOWN].tolist()
                shown["positions"] = [p[0] if len(p) == 1 else p for p in found]
                shown["ids"] = [int(ids[row][tuple(p)]) for p in found]
            self.first.append(shown)

    def __str__(self) -> str:
        """The first of them, in words."""
        if not self.first:
            return "none"
        shown = self.first[0]
        text = f"batch {shown['batch']}, row {shown['row']}"
        if shown["data_row"] != shown["row"]:
            text += f" (row {shown['data_row']} of the data)"
        if "ids" in shown:
            text += f", position {shown['positions'][0]}: id {shown['ids'][0]}"
        return text


@dataclass
class _Ids:
    """What was found in all ids so far: by code, and of rows padded left and right."""

    input_dim: int
    pad_ids: tuple[int, ...]
    rows: int = 0
    ids: int = 0
    kinds: dict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))

    def add(self, ids: np.ndarray, present: np.ndarray, *place: int) -> None:
        """Adds rows; `place` is their batch, and the number of the first one there."""
        place = (*place, self.rows)
        pad = np.zeros(ids.shape, bool)
        for pad_id in self.pad_ids:
            pad |= present & (ids == pad_id)
        self.rows += len(ids)
        self.ids += int(present.sum())
        real = present & ~pad
        marks = {
            "PS101": real & (ids >= self.input_dim),
            "PS102": real & (ids < 0),
            "PS103": ~_any_in_row(real),
        }
        if pad.any():
            steps = np.arange(ids.shape[-1])
            first = real.argmax(axis=-1)[..., None]
            last = (ids.shape[-1] - 1 - real[..., ::-1].argmax(axis=-1))[..., None]
            # Without ids there are no sides.
            pad = pad & real.any(axis=-1, keepdims=True)
            marks["PS104"] = pad & (steps > first) & (steps < last)
            marks["left"] = _any_in_row(pad & (steps < first))
            marks["right"] = _any_in_row(pad & (steps > last))
        for kind, bad in marks.items():
            self.kinds[kind].add(bad, ids, *place)


def _any_in_row(marked: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce(marked, axis=tuple(range(1, marked.ndim)))


def _findings(tally: _Ids, name: str) -> Iterator[Finding]:
    rows, kinds = f"of {tally.rows} rows", tally.kinds
    large, negative, empty, inside = (kinds[f"PS10{number}"] for number in range(1, 5))
    texts = {
        "PS101": (
            f"{large.ids} of {tally.ids} ids, in {large.rows} {rows}, are past the end "
            f"of a table of {tally.input_dim} rows; the largest is {large.largest}. "
            f"The first is in {large}.",
            "Add the missing rows with keras_padsafe.surgery.grow, or map such ids "
            "to the unknown token.",
        ),
        "PS102": (
            f"{negative.ids} of {tally.ids} ids, in {negative.rows} {rows}, are "
            f"negative; the smallest is {negative.smallest}. The first is in "
            f"{negative}.",
            "If they mean padding, pass `pad_id` here and to "
            "keras_padsafe.layers.ExtendableEmbedding. If not, correct the code that "
            "makes them.",
        ),
        "PS103": (
            f"{empty.rows} {rows} hold no real id. The first is {empty}.",
            "Drop these rows, put the unknown token into them, or use layers that "
            "return zeros for an empty row, such as "
            "keras_padsafe.layers.MaskedGlobalAveragePooling1D.",
        ),
        "PS104": (
            f"{inside.ids} pad ids lie between real ids, in {inside.rows} {rows}. The "
            f"first is in {inside}.",
            "If this id is also a word, give padding its own id, such as -1 in "
            "keras_padsafe.layers.ExtendableEmbedding. If not, close the gaps.",
        ),
    }
    for code, (message, fix) in texts.items():
        bad = kinds[code]
        if bad.rows:
            figures = vars(bad) | {"of_ids": tally.ids, "of_rows": tally.rows}
            shown = figures if bad.ids else ("rows", "of_rows", "first")
            evidence = {figure: figures[figure] for figure in shown}
            yield Finding(code, name, message, fix, evidence)
    left, right = kinds["left"], kinds["right"]
    if left.rows and right.rows:
        yield Finding(
            "PS105",
            name,
            f"{left.rows} {rows} are padded on the left and {right.rows} on the right. "
            f"The first are {left} and {right}.",
            "Pad all rows on the same side, in training and in use, for example with "
            "`keras.utils.pad_sequences(..., padding='post')`.",
            {
                "left_rows": left.rows,
                "right_rows": right.rows,
                "of_rows": tally.rows,
                "first_left": left.first,
                "first_right": right.first,
            },
        )


def _pad_ids(pad_id: Any) -> tuple[int, ...]:
    listed = isinstance(pad_id, Iterable) and getattr(pad_id, "ndim", 1) > 0
    several = pad_id if listed and not isinstance(pad_id, str | bytes) else [pad_id]
    numbers = [] if pad_id is None else [*map(as_integer, several)]
    found = tuple(number for number in numbers if number is not None)
    if len(found) < len(numbers):
        raise IdError(
            "pad_id: expected one integer or several; received "
            f"{type(pad_id).__name__} {str(pad_id)[:40]}."
        )
    return found
