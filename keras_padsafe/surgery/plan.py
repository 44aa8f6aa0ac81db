"""Plans a change of one vocabulary of a saved model."""

import os
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from keras_padsafe.archive import open_archive
from keras_padsafe.arguments import read_path
from keras_padsafe.surgery.options import Options, takes_options
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.request import Request


@takes_options
def plan(
    source: str | os.PathLike[str],
    *,
    rows: int | None = None,
    tokens: Sequence[str | int] | None = None,
    keep: Sequence[str | int] | None = None,
    row_map: Sequence[int] | np.ndarray | None = None,
    old_vocabulary: Sequence[str | int] | None = None,
    new_vocabulary: Sequence[str | int] | None = None,
    new_rows: Any = "mean",
    capacity: int | None = None,
    evict: Sequence[str | int] | None = None,
    multiple_of: int | None = None,
    at: int | None = None,
    before: str | int | None = None,
    pad: bool = False,
    **options: Unpack[Options],
) -> Plan:
    """Plans a change of one vocabulary, without touching anything.

    Give one of `rows`, `tokens`, `keep`, `row_map`, or the two word lists; `capacity`
    alone or beside `tokens`, or `evict` alone or beside `tokens`.

    Args:
        source: A `.keras` file, its unzipped folder or a preset of KerasHub.
        rows: The number of ids to add at the end.
        tokens: Words to add, one id each. If a lookup layer or a tokenizer of KerasHub
            feeds the table, it learns them too.
        keep: Words or ids to keep; all others go. Ids for padding and unknown words
            stay without being named.
        row_map: The old id of each new id, or -1 for a new row.
        old_vocabulary: The word of each old id, from 0 to the last.
        new_vocabulary: The word of each new id; rows follow their words.
        new_rows: How the new rows are made, as in `grow`.
        capacity: How many spare rows there are to be, as in `grow`.
        evict: Words or ids to evict, as in `refill`; with `tokens` it may be empty.
        multiple_of: Round a grown table up to a multiple of this many rows.
        at: The id of the first new one, as in `grow`.
        before: The word before which new ones go, as in `grow`.
        pad: Whether the one new id means padding, as in `grow`.
        **options: `vocabulary`, `also`, `leave`, `ask` and `optimizer`; see `Options`.

    Returns:
        A `Plan`, which `apply_plan` carries out and `Plan.save` writes as JSON.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by you first; the
            message lists the candidates and the flags.
        SurgeryError: if what you ask for cannot be done.
        ArchiveError: if the file cannot be read safely.
    """
    request = Request(
        rows=rows,
        tokens=tokens,
        keep=keep,
        row_map=row_map,
        old_vocabulary=old_vocabulary,
        new_vocabulary=new_vocabulary,
        new_rows=new_rows,
        capacity=capacity,
        evict=evict,
        multiple_of=multiple_of,
        at=at,
        before=before,
        pad=pad,
        **options,
    )
    with open_archive(read_path(source, "source")) as archive:
        return request.plan(archive)
