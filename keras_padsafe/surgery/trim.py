"""Trims a vocabulary of a saved model to the words in use."""

import os
from collections.abc import Sequence
from typing import Any, Unpack

from keras_padsafe.surgery.carry_out import carry_out
from keras_padsafe.surgery.options import WritingOptions, takes_options
from keras_padsafe.surgery.report import Report


@takes_options
def trim(
    source: Any,
    target: str | os.PathLike[str] | None = None,
    *,
    keep: Sequence[str | int],
    **options: Unpack[WritingOptions],
) -> Report:
    """Keeps some ids of a trained model; those keep their outputs, all others go.

    The ids kept are numbered anew in the order of the old ones. Ids that mean padding
    or an unknown word stay without being named.

    Args:
        source: A `.keras` file, its unzipped folder or a preset of KerasHub; or a live
            Keras model, which goes through a temporary archive and comes back as
            `Report.model`.
        target: The `.keras` file to write, for a preset the folder. May be left out for
            a live model.
        keep: The words to keep; or ids, where words are text or not known.
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
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> report = kp.surgery.trim(model, keep=[0, 7, 9])
    >>> report.model.layers[0].input_dim
    3
    """
    return carry_out(source, target, options, keep=keep)
