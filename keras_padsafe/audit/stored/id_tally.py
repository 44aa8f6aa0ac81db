"""Counts what is wrong with ids, block by block, in constant memory."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ROWS_SHOWN, _POSITIONS_SHOWN = 5, 8


Place = dict[str, int]
"""Where a block stands: its batch, and its first row there and in the data."""


@dataclass
class Tally:
    """One kind of trouble: how often, and the first rows that have it.

    Attributes:
        ids: The number of ids that have it.
        rows: The number of rows with at least one.
        smallest: The smallest such id; `None` if there is none.
        largest: The largest.
        first: The first rows, as plain data.
    """

    ids: int = 0
    rows: int = 0
    smallest: int | None = None
    largest: int | None = None
    first: list[dict[str, Any]] = field(default_factory=list)

    def add(self, bad: np.ndarray, ids: np.ndarray, place: Place) -> None:
        """Counts the ids that are marked."""
        if not bad.any():
            return
        found = ids[bad]
        low, high = int(found.min()), int(found.max())
        self.smallest = low if self.smallest is None else min(self.smallest, low)
        self.largest = high if self.largest is None else max(self.largest, high)
        self.ids += len(found)
        self.add_rows(_any_in_row(bad), place, (bad, ids))

    def add_rows(
        self,
        bad: np.ndarray,
        place: Place,
        within: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Counts the rows that are marked; `within` says where in a row."""
        numbers = np.flatnonzero(bad)
        self.rows += len(numbers)
        for row in numbers[: _ROWS_SHOWN - len(self.first)].tolist():
            shown: dict[str, Any] = {
                "batch": place["batch"],
                "row": place["row"] + row,
                "data_row": place["data_row"] + row,
            }
            if within is not None:
                at = np.argwhere(within[0][row])[:_POSITIONS_SHOWN]
                shown["positions"] = (
                    at[:, 0].tolist() if at.shape[1] == 1 else at.tolist()
                )
                shown["ids"] = [int(within[1][row][tuple(index)]) for index in at]
            self.first.append(shown)

    def __str__(self) -> str:
        """The first of them, in words."""
        shown = self.first[0]
        text = f"batch {shown['batch']}, row {shown['row']}"
        if shown["data_row"] != shown["row"]:
            text += f" (row {shown['data_row']} of the data)"
        if "ids" in shown:
            text += f", position {shown['positions'][0]}: id {shown['ids'][0]}"
        return text


@dataclass
class IdTally:
    """What was found in all ids so far, and in which batch we are.

    `inside` are pad ids between real ones; `left` and `right` rows padded there.
    """

    input_dim: int
    pad_ids: tuple[int, ...]
    batch: int = 0
    rows: int = 0
    ids: int = 0
    too_large: Tally = field(default_factory=Tally)
    negative: Tally = field(default_factory=Tally)
    empty: Tally = field(default_factory=Tally)
    inside: Tally = field(default_factory=Tally)
    left: Tally = field(default_factory=Tally)
    right: Tally = field(default_factory=Tally)

    def add(self, ids: np.ndarray, present: np.ndarray, first_row: int) -> None:
        """Adds rows of the current batch, from its row `first_row` on."""
        place = {"batch": self.batch, "row": first_row, "data_row": self.rows}
        pad = np.zeros(ids.shape, bool)
        for pad_id in self.pad_ids:
            pad |= present & (ids == pad_id)
        self.rows += len(ids)
        self.ids += int(present.sum())
        real = present & ~pad
        self.negative.add(real & (ids < 0), ids, place)
        self.too_large.add(real & (ids >= self.input_dim), ids, place)
        self.empty.add_rows(~_any_in_row(real), place)
        if pad.any():
            self._add_padding(pad, real, ids, place)

    def _add_padding(
        self, pad: np.ndarray, real: np.ndarray, ids: np.ndarray, place: Place
    ) -> None:
        """Tells padding before, after and between the real ids of each sequence."""
        steps = np.arange(ids.shape[-1])
        first = real.argmax(axis=-1)[..., None]
        last = (ids.shape[-1] - 1 - real[..., ::-1].argmax(axis=-1))[..., None]
        pad = pad & real.any(axis=-1, keepdims=True)  # without ids there are no sides
        self.inside.add(pad & (steps > first) & (steps < last), ids, place)
        self.left.add_rows(_any_in_row(pad & (steps < first)), place)
        self.right.add_rows(_any_in_row(pad & (steps > last)), place)


def _any_in_row(marked: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce(marked, axis=tuple(range(1, marked.ndim)))
