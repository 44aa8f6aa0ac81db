"""Grows a vocabulary of a saved model."""

import os
from collections.abc import Sequence
from typing import Any, Unpack

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.options import WritingOptions, takes_options
from keras_padsafe.surgery.report import Report


@takes_options
def grow(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    rows: int | None = None,
    tokens: Sequence[str | int] | None = None,
    new_rows: Any = "mean",
    capacity: int | None = None,
    multiple_of: int | None = None,
    at: int | None = None,
    before: str | int | None = None,
    pad: bool = False,
    **options: Unpack[WritingOptions],
) -> Report:
    """Adds new ids to a trained model; old ids keep their outputs.

    Everything bound to the vocabulary changes together or not at all: embedding
    tables, output heads tied or not and their biases, lookup layers, the optimizer's
    slots, and every number of config.json that counts ids. All else is copied byte
    for byte. No model is built, Keras is not imported, memory does not grow with the
    file, and the source is never modified. The new file loads in plain Keras.

    Args:
        source: A `.keras` file, its unzipped folder or a preset of KerasHub; or a live
            Keras model, which goes through a temporary archive and comes back as
            `Report.model`.
        target: The `.keras` file to write, for a preset the folder. May be left out for
            a live model.
        rows: The number of new ids, or
        tokens: the new words, one id each.
        new_rows: How the new rows are made: `"mean"`, `"zeros"`, a number,
            `"normal:SEED"`, `"covariance:SCALE:SEED"`, `"like:WORD"`, `"unknown"`, the
            row of unknown words, `"pieces"`, the mean of the WordPieces of each word,
            a mapping such as `{"okapi": ["giraffe", "zebra"]}` of new words to the old
            ones whose mean they take, or the rows themselves, `(new, dim)`. See
            `NewRows` for formulas and sources.
        capacity: How many spare rows there are to be: ids kept for words to come,
            which `refill` gives out without a change of shape. New words take those
            that there are first. In a softmax they take no probability.
        multiple_of: Round the number of rows up to a multiple of this.
        at: The id of the first new one; old ids from there on move up. Left out, new
            ids go to the end, or
        before: before this word.
        pad: Whether the one new id means padding: its row is zero, the table masks
            it, and a lookup layer calls it by the new word. `keras.layers.Embedding`
            masks id 0 only.
        **options: `vocabulary`, `also`, `leave`, `ask`, `optimizer`, `overwrite`,
            `proof` and `progress`; see `WritingOptions`.

    Returns:
        A `Report`; `Report.tokens` holds the ids of the new words.

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
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> grown = kp.surgery.grow(model, rows=3).model
    >>> grown.layers[0].input_dim
    53
    """
    return carry_out(
        source,
        target,
        options,
        rows=rows,
        tokens=tokens,
        new_rows=new_rows,
        capacity=capacity,
        multiple_of=multiple_of,
        at=at,
        before=before,
        pad=pad,
    )
