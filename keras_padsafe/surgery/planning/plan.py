"""A change of one vocabulary, written down before anything is touched."""

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_padsafe.archive.archive import FileState
from keras_padsafe.archive.atomic_file import write_file
from keras_padsafe.archive.byte_window import read_whole_file
from keras_padsafe.archive.limits import MIB, Limits
from keras_padsafe.archive.refusal import SAVE_AGAIN
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.arguments import read_flag, read_path
from keras_padsafe.errors import ArchiveError, SurgeryError, message_of
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.saved_model.row_map import NEW, RowMap
from keras_padsafe.surgery.finding.claims import renamed_claim
from keras_padsafe.surgery.finding.vocabulary import LeftAlone
from keras_padsafe.surgery.planning.changes import (
    ArrayChange,
    ConfigChange,
    WordsChange,
)
from keras_padsafe.surgery.planning.check_plan import ZEROS_INITIALIZER, check_plan
from keras_padsafe.surgery.planning.new_rows import NewRows, read_new_rows
from keras_padsafe.surgery.planning.read_as import expect, read_as

FORMAT = "keras_padsafe.plan/1"
_MOST_PLAN_BYTES = 256 * MIB  # new rows may be spelled out
_PLAN_LIMITS = Limits(max_json_bytes=_MOST_PLAN_BYTES)


@dataclass(frozen=True)
class Plan:
    """A change of one vocabulary: vocabulary, sites, row map and new rows.

    Plain data: readable before it is applied, saved as JSON, replayable on a second
    checkpoint of the same model.

    Attributes:
        vocabulary: Name of the vocabulary.
        old_size: The number of ids before.
        new_size: The number of ids after.
        row_map: The old id of each new id.
        new_rows: How the rows of new ids are made.
        arrays: The arrays that change, optimizer slots among them.
        config: The values of config.json that change.
        words: The lookup layers that change.
        tokens: The new words and their ids.
        optimizer: `"keep"` or `"drop"` the optimizer's state.
        left_alone: Arrays with an axis of the same size that do not change, and why.
        notes: What else a user should know before.
        needs_proof: Whether a file made by the plan must be proved: Keras had to be
            asked about the model, an id becomes padding, or more than its tables
            reads the ids.
        pad: The new id that means padding, if one does.
        spare_ids: New ids that are kept for words to come.
        old_spare_ids: Old ids that were; they take no part in any mean.
        encoders: What makes a column of each id: layers by their groups of the weights
            file, operations by their names.
        also: What the user said belongs to the vocabulary.
        leave: What the user said does not.
        ask: Whether Keras was to be asked in any case.
        words_digest: The SHA-256 digest of the words of the old ids: a plan that moves
            ids, or takes rows of some, fits files with the same words alone.
        made_of: The state of the file that it was made of, by which it is known not to
            come from elsewhere; not part of the JSON.
        old_words: The words of old ids, as far as they are known; not part of the
            JSON.
    """

    vocabulary: str
    old_size: int
    new_size: int
    row_map: RowMap
    new_rows: NewRows
    arrays: tuple[ArrayChange, ...]
    config: tuple[ConfigChange, ...]
    words: tuple[WordsChange, ...] = ()
    tokens: dict[str | int, int] = field(default_factory=dict)
    optimizer: Literal["keep", "drop"] = "keep"
    left_alone: tuple[LeftAlone, ...] = ()
    notes: tuple[str, ...] = ()
    needs_proof: bool = False
    pad: int | None = None
    spare_ids: tuple[int, ...] = ()
    old_spare_ids: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    ask: bool = False
    words_digest: str | None = None
    made_of: FileState | None = field(default=None, compare=False, repr=False)
    old_words: Mapping[int, str | int] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def spells_rows(self) -> bool:
        """Whether it has the rows that it was given; what a file records has none."""
        spelled = {"rows": self.new_rows.rows, "mix": self.new_rows.mix}
        return spelled.get(self.new_rows.kind, ()) is not None

    def inverse(self) -> "Plan":
        """The plan that undoes this one on the file it made.

        Old rows come back bit for bit. A row that this plan dropped comes back as a
        new row, the mean if this plan was given its new rows, and an initializer that
        held a whole table stays replaced.
        """
        new, old = self.row_map.kept
        still = new[np.isin(old, self.old_spare_ids)]
        return replace(
            self,
            new_rows=NewRows()
            if self.new_rows.kind in ("rows", "mix")
            else self.new_rows,
            old_size=self.new_size,
            new_size=self.old_size,
            row_map=self.row_map.inverse(),
            arrays=tuple(change.inverse(self.row_map) for change in self.arrays),
            config=tuple(
                replace(change, old=change.new, new=change.old)
                for change in self.config
                if change.new != ZEROS_INITIALIZER
            ),
            words=tuple(change.inverse() for change in self.words),
            tokens={},
            words_digest=None,
            also=tuple(renamed_claim(text, self._new_id) for text in self.also),
            pad=None,
            spare_ids=tuple(int(i) for i in np.setdiff1d(self.old_spare_ids, old)),
            old_spare_ids=tuple(int(i) for i in np.union1d(self.spare_ids, still)),
            old_words={},
            made_of=None,
            notes=(),
        )

    def _new_id(self, old: int) -> int | None:
        places = np.flatnonzero(self.row_map.ids == old)
        return int(places[0]) if places.size else None

    def to_json(self, *, with_rows: bool = True) -> dict[str, Any]:
        """The plan as plain data.

        Args:
            with_rows: Whether to spell out the rows of `new_rows`, if it has any.
        """
        rows = self.new_rows.rows if with_rows else None
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        for name in ("arrays", "config", "words", "left_alone"):
            plain[name] = tuple(map(asdict, plain[name]))
        lists = {k: list(v) for k, v in plain.items() if isinstance(v, tuple)}
        return {
            "format": FORMAT,
            **plain,
            **lists,
            "row_map": self.row_map.to_json(),
            "new_rows": str(self.new_rows),
            "rows": None if rows is None else rows.tolist(),
            "mix": self.new_rows.mix,
            "tokens": [[token, id_] for token, id_ in self.tokens.items()],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Plan":
        """Reads what `to_json` wrote.

        Raises:
            SurgeryError: if `document` is not a plan.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            received = document.get("format") if isinstance(document, dict) else None
            raise SurgeryError(
                f"plan: expected a document of format {FORMAT!r}, as Plan.save writes "
                f"it; received format {received!r}."
            )
        try:
            plan = _read(document)
            check_plan(plan)
        except SurgeryError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SurgeryError(
                "plan: the document is incomplete or altered "
                f"({message_of(error)}). Expected: what Plan.save wrote. Make the plan "
                "again."
            ) from None
        return plan

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the plan as a JSON file, whole or not at all.

        Args:
            path: The file.
            overwrite: Whether it may exist.

        Raises:
            SurgeryError: if the file cannot be written.
        """
        self._write(path, self.text(), "the plan", overwrite)

    def text(self) -> str:
        """The plan as `save` writes it."""
        return json.dumps(self.to_json(), indent=1) + "\n"

    def save_map(
        self, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Writes what becomes of each id as CSV: `old_id,new_id,word`.

        For data that was stored with the old ids. A new id has no old one, and one
        that was dropped no new one. Words are those that the file, or whoever made the
        plan, has for the ids; a plan read from a file knows those of new ids only.

        Args:
            path: The file.
            overwrite: Whether it may exist.

        Raises:
            SurgeryError: if the file cannot be written.
        """
        self._write(path, self.map_text(), "the table of ids", overwrite)

    def map_text(self) -> str:
        """The table of ids as `save_map` writes it."""
        text, row_map = io.StringIO(), self.row_map
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("old_id", "new_id", "word"))
        new_words = {id_: word for word, id_ in self.tokens.items()}
        for new, old in enumerate(row_map.ids.tolist()):
            if old == NEW:
                lines.writerow(("", new, new_words.get(new, "")))
            else:
                lines.writerow((old, new, self.old_words.get(old, "")))
        for old in np.setdiff1d(np.arange(row_map.old_size), row_map.ids).tolist():
            lines.writerow((old, "", self.old_words.get(old, "")))
        return text.getvalue()

    @staticmethod
    def _write(path: Any, text: str, what: str, overwrite: Any) -> None:
        try:
            name = read_path(path, "path")
            write_file(name, text, overwrite=read_flag(overwrite, "overwrite"))
        except ArchiveError as error:
            raise SurgeryError(f"{what} could not be written: {error}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Reads a plan from a JSON file.

        Raises:
            SurgeryError: if the file is not one.
        """
        name = read_path(path, "path")
        try:
            text = read_whole_file(Path(name), _MOST_PLAN_BYTES)
            document = parse_object(name, text, _PLAN_LIMITS)
        except ArchiveError as error:
            what = str(error).removesuffix(f" {SAVE_AGAIN}")
            raise SurgeryError(
                f"no plan could be read: {what} Expected: what Plan.save wrote."
            ) from None
        return cls.from_json(document)


def _read(document: dict[str, Any]) -> Plan:
    known = {field.name for field in fields(Plan) if field.compare}
    given = {name: item for name, item in document.items() if name in known}
    for name in document.keys() - known - {"format", "rows", "mix"}:
        expect(False, name, "no such field", document[name])
    rows, spec = document["rows"], document["new_rows"]
    if rows is not None and spec != "rows":
        raise SurgeryError(
            f"plan: new_rows is {shortly(spec)}, and rows are given. Expected: "
            "new_rows 'rows' beside them, or rows null."
        )
    expect(isinstance(spec, str), "new_rows", "text, as 'mean'", spec)
    mix = document.get("mix")
    expect(mix is None or spec == "mix", "mix", "null beside other new_rows", mix)
    if spec in ("rows", "mix"):
        mix = read_as(tuple[tuple[int, ...], ...] | None, mix, "mix")
        made = NewRows(spec, mix=mix) if rows is None else read_new_rows(rows)
    else:
        made = read_new_rows(spec)
    # Plans of old do not say where words begin after the change.
    words = [{"new_first_id": one["first_id"], **one} for one in document["words"]]
    return read_as(
        Plan,
        {
            **given,
            "row_map": RowMap.from_json(document["row_map"], document["old_size"]),
            "new_rows": made,
            "tokens": {token: id_ for token, id_ in document["tokens"]},
            "words": words,
        },
        "",
    )
