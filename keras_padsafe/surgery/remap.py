"""Moves the ids of a saved model to where another vocabulary has them."""

import os
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.options import WritingOptions, takes_options
from keras_padsafe.surgery.report import Report


@takes_options
def remap(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    row_map: Sequence[int] | np.ndarray | None = None,
    old_vocabulary: Sequence[str | int] | None = None,
    new_vocabulary: Sequence[str | int] | None = None,
    new_rows: Any = "mean",
    **options: Unpack[WritingOptions],
) -> Report:
    """Gives the ids of a trained model new numbers; each keeps its outputs.

    Args:
        source: A `.keras` file, its unzipped folder or a preset of KerasHub; or a live
            Keras model, which goes through a temporary archive and comes back as
            `Report.model`.
        target: The `.keras` file to write, for a preset the folder. May be left out for
            a live model.
        row_map: The old id of each new id, or -1 for a new row; or
        old_vocabulary: the word of each old id, from 0 to the last, and
        new_vocabulary: the word of each new id. Rows follow their words.
        new_rows: How the rows of new ids are made; see `grow`.
        **options: `vocabulary`, `also`, `leave`, `ask`, `optimizer`, `overwrite`,
            `proof` and `progress`; see `WritingOptions`.

    Returns:
        A `Report`; `Report.plan.row_map` holds the old id of each new one.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by you first; the
            message lists the candidates and the flags.
        NotProvedError: if the new file is not proved; its certificate says why.
        SurgeryError: if what you ask for cannot be done.
        ArchiveError: if a file cannot be read or written. In every case nothing was
            written.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(3, 8)]
    ... )
    >>> report = kp.surgery.remap(
    ...     model,
    ...     old_vocabulary=["", "cat", "dog"],
    ...     new_vocabulary=["", "ant", "dog", "cat"],
    ... )
    >>> report.plan.row_map.ids.tolist()
    [0, -1, 2, 1]
    """
    return carry_out(
        source,
        target,
        options,
        row_map=row_map,
        old_vocabulary=old_vocabulary,
        new_vocabulary=new_vocabulary,
        new_rows=new_rows,
    )
