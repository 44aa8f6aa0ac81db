"""Trims a vocabulary of a saved model to the words in use."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.planning.request import Request
from keras_padsafe.surgery.report import Report


def trim(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    keep: Sequence[str | int],
    vocabulary: str | None = None,
    also: Iterable[str] = (),
    leave: Iterable[str] = (),
    optimizer: Literal["keep", "drop"] = "keep",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Keeps some ids of a trained model; those keep their outputs, all others go.

    The ids kept are numbered anew in the order of the old ones. Ids that mean padding
    or an unknown word stay without being named.

    Args:
        source: A `.keras` file or its unzipped folder; or a live Keras model, which
            goes through a temporary archive and comes back as `Report.model`.
        target: The `.keras` file to write. May be left out for a live model.
        keep: The words, or the ids, to keep.
        vocabulary: Name of the vocabulary, or of a layer bound to it; may be left out
            when the model has one.
        also: Arrays of your own classes that belong to the vocabulary, each as
            `"LAYER:AXIS"` or `"LAYER:AXIS:KEY"`.
        leave: Layers or arrays that do not, though an axis has the same size.
        optimizer: `"keep"` lets the optimizer's state change along; `"drop"` leaves it
            behind.
        overwrite: Whether `target` may exist.
        progress: Called with the bytes written so far and their total.

    Returns:
        A `Report`; `Report.plan.row_map` holds the old id of each new one.

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
    >>> report = kp.surgery.trim(model, keep=[0, 7, 9])
    >>> report.model.layers[0].input_dim
    3
    """
    request = Request(
        vocabulary=vocabulary, keep=keep, also=also, leave=leave, optimizer=optimizer
    )
    return carry_out(request, source, target, overwrite, progress)
