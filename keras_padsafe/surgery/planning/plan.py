"""A change of one vocabulary, written down before anything is touched."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_padsafe.archive.atomic_file import write_file
from keras_padsafe.archive.byte_window import read_whole_file
from keras_padsafe.archive.limits import MIB, Limits
from keras_padsafe.archive.refusal import SAVE_AGAIN
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.arguments import read_flag, read_path
from keras_padsafe.errors import ArchiveError, SurgeryError
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.surgery.finding.sites import Quantised
from keras_padsafe.surgery.planning.check_plan import ZEROS_INITIALIZER, check_plan
from keras_padsafe.surgery.planning.id_map import id_map_text
from keras_padsafe.surgery.planning.new_rows import NewRows, read_new_rows
from keras_padsafe.surgery.planning.row_map import RowMap

FORMAT = "keras_padsafe.plan/1"
_MOST_PLAN_BYTES = 256 * MIB  # new rows may be spelled out
_PLAN_LIMITS = Limits(max_json_bytes=_MOST_PLAN_BYTES)


@dataclass(frozen=True)
class ArrayChange:
    """An array whose axis over the ids changes.

    See `ArraySite` for the fields; `new_skips` are the ids for which the new array has
    no entry.
    """

    path: str
    shape: tuple[int, ...]
    new_shape: tuple[int, ...]
    dtype: str
    axis: int
    role: str
    fill: Literal["rows", "bias", "scale", "zero"] | float
    reason: str
    like: str | None = None
    skips: tuple[int, ...] = ()
    new_skips: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    quantised: Quantised | None = None

    @property
    def real_shape(self) -> tuple[int, ...]:
        """Its shape, with the numbers that share a byte told apart."""
        return self.quantised.shape(self.shape) if self.quantised else self.shape

    @property
    def is_packed(self) -> bool:
        """Whether two ids share a byte."""
        return self.quantised is not None and self.quantised.packed == self.axis

    def own(self, row_map: RowMap) -> RowMap:
        """The row map of the axis: the ids that it has entries for, and the rest."""
        own = row_map.without(self.skips, self.new_skips)
        return own.within(self.starts, self.shape[self.axis]) if self.starts else own

    def inverse(self, row_map: RowMap) -> "ArrayChange":
        """The change back, where `row_map` is the one of this change."""
        more = (row_map.size - len(self.new_skips)) - (
            row_map.old_size - len(self.skips)
        )
        return replace(
            self,
            shape=self.new_shape,
            new_shape=self.shape,
            skips=self.new_skips,
            new_skips=self.skips,
            starts=tuple(start + n * more for n, start in enumerate(self.starts)),
            quantised=self.quantised
            if self.quantised is None or not self.is_packed
            else replace(self.quantised, length=self.quantised.length + more),
        )


@dataclass(frozen=True)
class ConfigChange:
    """A value of config.json that changes, and the keys that lead to it."""

    path: ConfigPath
    old: Any
    new: Any
    reason: str


@dataclass(frozen=True)
class WordsChange:
    """A lookup layer or tokenizer whose words change with the ids.

    Attributes:
        layer: Name of the layer.
        config_path: Where config.json lists the words, if it does.
        assets: The files that list them, if they do.
        first_id: The id of the first word listed.
        new_first_id: The same after.
        count: The number of words before.
        new_count: The number of words after.
        added: Words of the new ids, in order; new ids may be more than words.
        removed: Words that no new id keeps, in the order of their ids.
        reason: Why the words belong to the vocabulary.
        weights_path: Where config.json lists a weight for each word, if it does.
        weight: The weight of a word that is added.
    """

    layer: str
    config_path: ConfigPath | None
    assets: tuple[str, ...]
    first_id: int
    new_first_id: int
    count: int
    new_count: int
    added: tuple[str | int, ...]
    removed: tuple[str | int, ...]
    reason: str
    weights_path: ConfigPath | None = None
    weight: float = 0.0


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
        left: Layers that need not know the new ids, as the user says.
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
    left_alone: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    needs_proof: bool = False
    pad: int | None = None
    spare_ids: tuple[int, ...] = ()
    old_spare_ids: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    old_words: Mapping[int, str | int] = field(
        default_factory=dict, compare=False, repr=False
    )

    def rows_of(self, change: ArrayChange) -> NewRows:
        """What the new entries of an array start with."""
        if isinstance(change.fill, int | float):
            return NewRows("constant", value=float(change.fill))
        return self.new_rows

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
            words=tuple(
                replace(
                    change,
                    first_id=change.new_first_id,
                    new_first_id=change.first_id,
                    count=change.new_count,
                    new_count=change.count,
                    added=change.removed,
                    removed=change.added,
                )
                for change in self.words
            ),
            tokens={},
            pad=None,
            spare_ids=tuple(int(i) for i in np.setdiff1d(self.old_spare_ids, old)),
            old_spare_ids=tuple(int(i) for i in np.union1d(self.spare_ids, still)),
            old_words={},
            notes=(),
        )

    def to_json(self, *, with_rows: bool = True) -> dict[str, Any]:
        """The plan as plain data.

        Args:
            with_rows: Whether to spell out the rows of `new_rows`, if it has any.
        """
        rows = self.new_rows.rows if with_rows else None
        return {
            "format": FORMAT,
            "vocabulary": self.vocabulary,
            "old_size": self.old_size,
            "new_size": self.new_size,
            "row_map": self.row_map.to_json(),
            "new_rows": str(self.new_rows),
            "rows": None if rows is None else rows.tolist(),
            "mix": self.new_rows.mix if with_rows else None,
            "optimizer": self.optimizer,
            "tokens": [[token, id_] for token, id_ in self.tokens.items()],
            "arrays": [asdict(change) for change in self.arrays],
            "config": [asdict(change) for change in self.config],
            "words": [asdict(change) for change in self.words],
            "left_alone": list(self.left_alone),
            "notes": list(self.notes),
            "needs_proof": self.needs_proof,
            "pad": self.pad,
            "spare_ids": list(self.spare_ids),
            "old_spare_ids": list(self.old_spare_ids),
            "encoders": list(self.encoders),
            "left": list(self.left),
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
        except SurgeryError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise SurgeryError(
                "plan: the document is incomplete or altered "
                f"({shortly(error)}). Expected: what Plan.save wrote. Make the plan "
                "again."
            ) from None
        check_plan(plan)
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
        return id_map_text(self.row_map, self.tokens, self.old_words)

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
    rows = document["rows"]
    spec = document["new_rows"]
    given = NewRows("rows") if rows is None else read_new_rows(rows)
    if rows is not None and spec != "rows":
        raise SurgeryError(
            f"plan: new_rows is {shortly(spec)}, and rows are given. Expected: "
            "new_rows 'rows' beside them, or rows null."
        )
    return Plan(
        vocabulary=document["vocabulary"],
        old_size=document["old_size"],
        new_size=document["new_size"],
        row_map=RowMap.from_json(document["row_map"], document["old_size"]),
        new_rows=given if spec == "rows" else _read_kind(spec, document.get("mix")),
        arrays=tuple(
            ArrayChange(
                **{
                    **change,
                    "shape": tuple(change["shape"]),
                    "new_shape": tuple(change["new_shape"]),
                    "skips": tuple(change["skips"]),
                    "new_skips": tuple(change["new_skips"]),
                    "starts": tuple(change.get("starts", ())),
                    "quantised": None
                    if change.get("quantised") is None
                    else Quantised(**change["quantised"]),
                }
            )
            for change in document["arrays"]
        ),
        config=tuple(
            ConfigChange(**{**change, "path": tuple(change["path"])})
            for change in document["config"]
        ),
        words=tuple(
            WordsChange(
                **{
                    "new_first_id": change["first_id"],
                    **change,
                    "config_path": change["config_path"]
                    and tuple(change["config_path"]),
                    "assets": tuple(change["assets"]),
                    "added": tuple(change["added"]),
                    "removed": tuple(change["removed"]),
                    "weights_path": change.get("weights_path")
                    and tuple(change["weights_path"]),
                }
            )
            for change in document["words"]
        ),
        tokens={token: id_ for token, id_ in document["tokens"]},
        optimizer=document["optimizer"],
        left_alone=tuple(document["left_alone"]),
        notes=tuple(document["notes"]),
        needs_proof=bool(document.get("needs_proof", False)),
        pad=document.get("pad"),
        spare_ids=tuple(document.get("spare_ids", ())),
        old_spare_ids=tuple(document.get("old_spare_ids", ())),
        encoders=tuple(document.get("encoders", ())),
        left=tuple(document.get("left", ())),
    )


def _read_kind(spec: Any, mix: Any) -> NewRows:
    """What `to_json` wrote of rows that are not given: always text."""
    if not isinstance(spec, str):
        raise SurgeryError(
            f"plan: new_rows is {shortly(spec)}. Expected: text, as 'mean'. The plan "
            "was altered; make it again."
        )
    if spec == "mix":
        return NewRows("mix", mix=None if mix is None else tuple(map(tuple, mix)))
    return read_new_rows(spec)
