"""Grows a vocabulary of a saved model."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.planning.request import Request
from keras_padsafe.surgery.report import Report


def grow(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    rows: int | None = None,
    tokens: Sequence[str | int] | None = None,
    vocabulary: str | None = None,
    new_rows: Any = "mean",
    multiple_of: int | None = None,
    also: Iterable[str] = (),
    leave: Iterable[str] = (),
    optimizer: Literal["keep", "drop"] = "keep",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Adds new ids to a trained model; old ids keep their outputs.

    Everything bound to the vocabulary changes together or not at all: embedding
    tables, output heads tied or not and their biases, lookup layers, the optimizer's
    slots, and every number of config.json that counts ids. All else is copied byte
    for byte. No model is built, Keras is not imported, memory does not grow with the
    file, and the source is never modified. The new file loads in plain Keras.

    Args:
        source: A `.keras` file or its unzipped folder; or a live Keras model, which
            goes through a temporary archive and comes back as `Report.model`.
        target: The `.keras` file to write. May be left out for a live model.
        rows: The number of new ids, or
        tokens: the new words, one id each.
        vocabulary: Name of the vocabulary, or of a layer bound to it; may be left out
            when the model has one.
        new_rows: How the new rows are made: `"mean"`, `"zeros"`, a number,
            `"normal:SEED"`, or the rows themselves, `(new, dim)`. See `NewRows`.
        multiple_of: Round the number of rows up to a multiple of this.
        also: Arrays of your own classes that belong to the vocabulary, each as
            `"LAYER:AXIS"` or `"LAYER:AXIS:KEY"`.
        leave: Layers or arrays that do not, though an axis has the same size.
        optimizer: `"keep"` lets the optimizer's state grow along, so that training
            goes on; `"drop"` leaves it behind.
        overwrite: Whether `target` may exist.
        progress: Called with the bytes written so far and their total.

    Returns:
        A `Report`; `Report.tokens` holds the ids of the new words.

    Raises:
        AmbiguousVocabularyError: if something has to be settled by you first; the
            message lists the candidates and the flags.
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
    request = Request(
        vocabulary=vocabulary,
        rows=rows,
        tokens=tokens,
        new_rows=new_rows,
        multiple_of=multiple_of,
        also=also,
        leave=leave,
        optimizer=optimizer,
    )
    return carry_out(request, source, target, overwrite, progress)
