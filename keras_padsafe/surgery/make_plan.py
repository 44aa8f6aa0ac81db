"""Plans a change of one vocabulary of a saved model."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from keras_padsafe.archive import Archive, open_archive
from keras_padsafe.surgery.build_plan import build_plan, choose_vocabulary, grown
from keras_padsafe.surgery.inventory import read_inventory
from keras_padsafe.surgery.plan import Plan


def plan(
    source: str | os.PathLike[str],
    *,
    vocabulary: str | None = None,
    rows: int | None = None,
    tokens: Sequence[str | int] | None = None,
    new_rows: Any = "mean",
    multiple_of: int | None = None,
    also: Iterable[str] = (),
    leave: Iterable[str] = (),
    optimizer: Literal["keep", "drop"] = "keep",
) -> Plan:
    """Plans the growth of a vocabulary, without touching anything.

    Args:
        source: A `.keras` file or its unzipped folder.
        vocabulary: Name of the vocabulary, or of a layer bound to it; may be left out
            when the model has one.
        rows: The number of new ids, or
        tokens: the new words, one id each. If a lookup layer or a WordPiece tokenizer
            feeds the table, it learns them too.
        new_rows: How the new rows are made: `"mean"` of the old rows, `"zeros"`, a
            number, `"normal"` or `"normal:SEED"` with the statistics of the table, or
            the rows themselves, `(new, dim)`. See `NewRows`.
        multiple_of: Round the number of rows up to a multiple of this.
        also: Arrays of your own classes that belong to the vocabulary, each as
            `"LAYER:AXIS"` or `"LAYER:AXIS:KEY"`.
        leave: Layers or arrays that do not, though an axis has the same size.
        optimizer: `"keep"` lets the optimizer's state grow along; `"drop"` leaves it
            behind.

    Returns:
        A `Plan`, which `apply_plan` carries out and `Plan.save` writes as JSON.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by you first; the
            message lists the candidates and the flags.
        SurgeryError: if what you ask for cannot be done.
        ArchiveError: if the file cannot be read safely.
    """
    with open_archive(source) as archive:
        return plan_growth(
            archive,
            vocabulary=vocabulary,
            rows=rows,
            tokens=tokens,
            new_rows=new_rows,
            multiple_of=multiple_of,
            also=also,
            leave=leave,
            optimizer=optimizer,
        )


def plan_growth(
    archive: Archive,
    *,
    vocabulary: str | None,
    rows: int | None,
    tokens: Sequence[str | int] | None,
    new_rows: Any,
    multiple_of: int | None,
    also: Iterable[str],
    leave: Iterable[str],
    optimizer: Literal["keep", "drop"],
) -> Plan:
    """`plan` for an archive that is open already."""
    inventory = read_inventory(archive, also, leave)
    chosen = choose_vocabulary(inventory, vocabulary)
    change = grown(chosen, rows, tokens, multiple_of)
    return build_plan(inventory, chosen, change, new_rows=new_rows, optimizer=optimizer)
