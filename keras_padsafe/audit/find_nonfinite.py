"""Finds where NaN and infinities come from."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_padsafe.arguments import read_flag, read_layer, read_words
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.search import search
from keras_padsafe.audit.nonfinite.wording import Tokens
from keras_padsafe.audit.read_batch import read_batch
from keras_padsafe.errors import AuditError


def find_nonfinite(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Any = None,
    *,
    sample_weight: Any = None,
    training: bool = False,
    vocabulary: Sequence[str] | Mapping[int, str] | None = None,
) -> AuditReport:
    """Finds where a NaN or infinity is born, forward or backward, and why.

    The batch is run eagerly and each call of a layer is watched, also in nested and
    subclassed models, wrappers and recurrent layers. What is not finite is replaced by
    zero where it is first seen, so that each finding is a birth and not its
    consequence; a birth is reported only if it alone makes the outputs or the loss
    non-finite, so that the `-inf` of an attention score is no finding. Causes are told
    apart by the single operation that made the value, and where that is not seen, by
    running the model again with what feeds the layer made smaller, wider or noisier. If
    outputs and loss are finite, the gradients are looked at alike; where they are lost
    to a value that a mask hides, the layer that made it is named.

    The model stays as it is: weights, BatchNorm statistics, seeds, compiled functions.

    Args:
        model: A built or callable Keras model or layer.
        x: One batch, as the model takes it: an array, or a list or dictionary.
        y: The targets of the batch. Without them the gradients are those of a weighted
            sum of the outputs at real positions.
        loss: A Keras loss, its name, or a function of targets and outputs; by default
            the loss that the model was compiled with.
        sample_weight: Weights of the rows, for the loss.
        training: Whether Dropout, BatchNormalization and such behave as in training.
        vocabulary: The words by id, a list or a dictionary; findings then show text.

    Returns:
        An `AuditReport`, the first place first. Codes are PS501 empty row, PS502 id or
        label out of range, PS503 overflow, PS504 NaN in the input, PS505 NaN in a
        weight, PS506 NaN crossing a mask, PS507 unsafe-where gradient, PS508 division
        by zero, PS509 diverged weights, PS510 undefined operation.

    Raises:
        AuditError: if targets are given and no loss is known, or `x` holds no numbers.

    Example:
    >>> model = keras.Sequential(
    ...     [
    ...         keras.layers.Embedding(9, 4, mask_zero=True),
    ...         keras.layers.GlobalAveragePooling1D(name="pool"),
    ...     ]
    ... )
    >>> batch = np.array([[5, 3, 0], [0, 0, 0]])
    >>> words = ["", "the", "a", "cat", "dog", "big"]
    >>> for finding in keras_padsafe.audit.find_nonfinite(
    ...     model, batch, vocabulary=words
    ... ):
    ...     print(finding.code, finding.place, finding.evidence["rows"])
    PS501 pool [1]
    """
    read_layer(model, "model", AuditError)
    for value, name in ((x, "x"), (y, "y"), (sample_weight, "sample_weight")):
        if name == "x" or value is not None:
            read_batch(value, name, AuditError)
    training = read_flag(training, "training", AuditError)
    run = BatchRun(model, x, y, loss, sample_weight, training)
    words = vocabulary
    if words is not None and not isinstance(words, Mapping):
        words = read_words(words, "vocabulary", AuditError)
    found, missing = search(run)
    worded = map(Tokens(run.x, words).worded, found)
    return AuditReport(tuple(worded), not_looked_at=tuple(missing))
