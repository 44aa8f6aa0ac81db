"""What a user asks of a vocabulary, and the plan that it makes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_padsafe.archive import Archive
from keras_padsafe.arguments import (
    Word,
    read_choice,
    read_count,
    read_flag,
    read_text,
    read_word,
)
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.row_map import RowMap
from keras_padsafe.surgery.finding.inventory import Inventory, read_inventory
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.build_plan import build_plan
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.choose_vocabulary import choose_vocabulary
from keras_padsafe.surgery.planning.growth import grown
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.reorder import reworded, trimmed
from keras_padsafe.surgery.planning.take_rows import refilled


@dataclass(frozen=True)
class Request:
    """What a user asks for; the arguments of `plan`, which documents them."""

    vocabulary: str | None = None
    rows: int | None = None
    tokens: Sequence[Word] | None = None
    keep: Sequence[Word] | None = None
    row_map: Sequence[int] | np.ndarray | None = None
    old_vocabulary: Sequence[Word] | None = None
    new_vocabulary: Sequence[Word] | None = None
    new_rows: Any = "mean"
    capacity: int | None = None
    evict: Sequence[Word] | None = None
    multiple_of: int | None = None
    at: int | None = None
    before: Word | None = None
    pad: bool = False
    also: Iterable[str] = ()
    leave: Iterable[str] = ()
    ask: bool = False
    optimizer: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        if self.vocabulary is not None:
            read_text(self.vocabulary, "vocabulary")
        if self.at is not None:
            read_count(self.at, "at")
        if self.before is not None:
            read_word(self.before, "before")
        read_flag(self.pad, "pad")
        read_choice(self.optimizer, "optimizer", ("keep", "drop"))

    def plan(self, archive: Archive) -> Plan:
        """The plan that this request makes for an open archive."""
        found = read_inventory(archive, self.also, self.leave, ask=self.ask)
        return self.plan_from(found)

    def plan_from(self, inventory: Inventory) -> Plan:
        """The plan that this request makes of what was found in a file."""
        chosen = choose_vocabulary(inventory, self.vocabulary)
        return build_plan(
            inventory,
            chosen,
            self._change(chosen),
            new_rows=self.new_rows,
            optimizer=self.optimizer,
        )

    def _change(self, vocabulary: Vocabulary) -> Change:
        asked = [
            name
            for name in ("rows", "tokens", "keep", "row_map", "new_vocabulary")
            if getattr(self, name) is not None
        ]
        sizing = ("capacity", "multiple_of", "at", "before")
        placed = [name for name in sizing if getattr(self, name) is not None]
        placed += ["pad"] if self.pad else []
        if self.evict is not None and asked in ([], ["tokens"]):
            if placed:
                raise SurgeryError(
                    "refill: every word keeps its id, and the table keeps its size. "
                    "Expected: no `capacity`, `multiple_of`, `at`, `before` or `pad` "
                    "with `evict`."
                )
            return refilled(vocabulary, self.tokens, self.evict)
        if self.capacity is not None and not asked:
            asked = ["tokens"]
        if len(asked) != 1 or self.evict is not None:
            asked += ["evict"] if self.evict is not None else []
            raise SurgeryError(
                "expected one of `rows`, `tokens`, `capacity`, `keep`, `row_map`, or "
                "`old_vocabulary` with `new_vocabulary`, or `evict` with or without "
                f"`tokens`; received {' and '.join(asked) or 'none'}."
            )
        if placed and asked[0] not in ("rows", "tokens"):
            raise SurgeryError(
                f"{placed[0]}: `{asked[0]}` says already how many rows there will be, "
                "and where. Expected: this option with `rows` or `tokens` only."
            )
        if self.keep is not None:
            return trimmed(vocabulary, self.keep)
        if self.row_map is not None:
            return Change(RowMap(self.row_map, vocabulary.size))
        if self.new_vocabulary is not None:
            if self.old_vocabulary is None:
                raise SurgeryError(
                    "remap: `new_vocabulary` needs `old_vocabulary`, the word of "
                    "each old id."
                )
            return reworded(vocabulary, self.old_vocabulary, self.new_vocabulary)
        given = ("rows", "tokens", *sizing, "pad")
        return grown(vocabulary, **{name: getattr(self, name) for name in given})
