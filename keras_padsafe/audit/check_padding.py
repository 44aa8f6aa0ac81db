"""Whether padding changes what a model answers, and where that begins."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.padding.padding_answers import Answer, all_answers, noise_floor
from keras_padsafe.audit.padding.padding_causes import find_causes
from keras_padsafe.audit.padding_report import LayerMovement, PaddingReport, PadOutputs
from keras_padsafe.audit.read_batch import read_batch, read_pad_id
from keras_padsafe.audit.run.find_timelines import born_masks, find_timelines
from keras_padsafe.audit.run.id_inputs import own_record
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import Record
from keras_padsafe.errors import AuditError


def check_padding(
    model: keras.layers.Layer, batch: Any, pad_id: Any = 0
) -> PaddingReport:
    """Finds the layer, if there is one, that lets padding change an answer.

    The model answers the same batch many times: with more padding and with less, with
    padding on the other side, in other company and alone, with other ids and other
    content behind the padding: random, ten thousand times too large, NaN. Last, the
    gradient of the answers by what padding holds, which is zero if nothing leaks.

    How far rounding alone moves an answer is measured, layer by layer, on the running
    backend: what moves eight times as far is a leak. The first layer where a real
    position moved is named. Where several leak, each is held still in turn to find the
    next. An answer that differs with padding on the other side is a note only: models
    that count positions do that.

    The model runs eagerly, as at inference, and stays as it is. Take a batch of a few
    rows: what every layer puts out is kept.

    Args:
        model: Any layer or model.
        batch: What the model takes: an array of ids or features, or a list, tuple or
            dict of such. Some rows need padding. What padding is, is said by a mask
            among the inputs; without one by the mask that the model makes, or by
            `pad_id`.
        pad_id: The id of padding, or several. A dict from the name of an input to its
            id where it is not clear which input is padded. For features, the number
            that fills padded steps, or `None` if a mask says it.

    Returns:
        A `PaddingReport`.

    Raises:
        AuditError: if the batch holds no padding, or nothing else; if it is not clear
            which input is padded; if the model's own answer holds NaN.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> batch = np.array([[4, 8, 15, 16], [23, 42, 0, 0]])
    >>> model = keras.Sequential([
    ...     keras.layers.Embedding(50, 8),
    ...     keras.layers.GlobalAveragePooling1D(name="pool"),
    ... ])
    >>> report = kp.audit.check_padding(model, batch, pad_id=0)
    >>> [(finding.code, finding.place) for finding in report]
    [('PS402', 'pool')]
    >>> model = keras.Sequential([
    ...     keras.layers.Embedding(50, 8, mask_zero=True),
    ...     keras.layers.GlobalAveragePooling1D(),
    ... ])
    >>> kp.audit.check_padding(model, batch, pad_id=0).passed
    True
    """
    read_layer(model, "model", AuditError)
    model_runs = ModelRuns(model, read_batch(batch, "batch", AuditError))
    pad_id = read_pad_id(pad_id, "pad_id", AuditError)
    record = own_record(model_runs, AuditError)
    padded = _read_batch(model_runs, record, pad_id)
    runs = PaddedRuns(model_runs, record, padded)
    answered = outputs_of(record).outputs
    if any((np.isnan(value.array) & runs.real(value)).any() for value in answered):
        raise AuditError(
            "model: its outputs for this batch hold NaN, so no other run can be "
            "compared with them. keras_padsafe.audit.find_nonfinite shows where NaN "
            "begins."
        )
    answers = all_answers(runs)
    pictured = _pictured(answers)
    return PaddingReport(
        findings=tuple(find_causes(runs, answers)),
        variants={name: answer.variant for name, answer in answers.items()},
        noise_floor=noise_floor(runs),
        layers=tuple(_layers(runs, answers[pictured])) if pictured else (),
        pictured=pictured,
        row=padded.most_padded,
        real=tuple(map(bool, padded.timelines[0].real[padded.most_padded])),
        pad_outputs=_pad_outputs(runs),
        not_looked_at=tuple(_missing(runs, answers)),
        empty_rows=tuple(map(int, np.flatnonzero(~padded.filled))),
    )


def _pictured(answers: dict[str, Answer]) -> str:
    """The variant that shows most."""

    def weight(name: str) -> tuple[bool, bool, float]:
        variant = answers[name].variant
        share = (variant.moved or 0.0) / (variant.noise or 1.0)
        leak = variant.verdict == "leak" and variant.code != "PS403"
        return leak, name == "random content", share

    shown = [name for name, answer in answers.items() if answer.moved]
    return max(shown, key=weight, default="")


def _layers(runs: PaddedRuns, answer: Answer) -> Iterator[LayerMovement]:
    for call in runs.record.values():
        for value in call.outputs:
            move = answer.moved.get(value)
            if move is None or not value.is_float or not len(move.rows):
                continue
            at = np.flatnonzero(move.rows == runs.batch.most_padded)
            timed = move.everywhere.ndim == 2 and at.size
            positions = tuple(map(float, move.everywhere[at[0]])) if timed else None
            noise = runs.noise[value]
            yield LayerMovement(call.path, call.class_name, move.size, noise, positions)
            break


def _pad_outputs(runs: PaddedRuns) -> PadOutputs | None:
    calls = runs.record.values()
    for value in (value for call in reversed(calls) for value in call.outputs):
        axes = runs.axes[value]
        padded, vectors = axes.padded, value.is_float and value.array.ndim == 3
        if vectors and axes.batch and padded is not None and padded.ndim == 2:
            # The innermost call that puts it out: it ends before others.
            path = next(call.path for call in calls if value in call.outputs)
            return _measured(path, value.array, ~padded)
    return None


def _read_batch(runs: ModelRuns, record: Record, pad_id: Any) -> PaddedBatch:
    inputs = runs.inputs
    lines = find_timelines(inputs, pad_id, born_masks(record))
    if not lines:
        named = ", ".join(f"{e.name!r} {e.values.shape}" for e in inputs)
        raise AuditError(
            f"batch: it has no padding (inputs: {named}). Expected: an input (batch, "
            f"time) that holds the pad id {pad_id!r}, a mask among the inputs, or a "
            "layer of the model that makes one. Pass sequences of different lengths, "
            "and the id that pads them."
        )
    padded = PaddedBatch(inputs, tuple(lines), pad_id)
    if not any(line.padding.any() for line in lines):
        raise AuditError(
            "batch: its masks say that every position is real. Pass sequences of "
            "different lengths, padded to one length."
        )
    if not padded.filled.any():
        raise AuditError(
            "batch: every row is only padding, so no output could change. Pass rows "
            "with real positions too."
        )
    return padded


def _missing(runs: PaddedRuns, answers: dict[str, Answer]) -> Iterator[str]:
    """The padding of which neither the content nor the amount could be changed."""
    content, amount = (
        [answer for answer in answers.values() if answer.variant.code == code]
        for code in ("PS402", "PS401")
    )
    if not all(answer.skipped for answer in content):
        return
    pairs = zip(runs.batch.timelines, runs.added, strict=True)
    still = any(line.padding.any() and not count for line, count in pairs)
    if still or all(answer.skipped for answer in amount):
        said = [answer.variant.why for answer in [*content, *amount]]
        why = "; ".join(dict.fromkeys(reason for reason in said if reason))
        yield f"the effect of padding at some positions: {why}"


def _measured(path: str, vectors: np.ndarray, real: np.ndarray) -> PadOutputs | None:
    """Of vectors `(batch, time, dim)`; `None` if no row holds padding and more."""
    rows = (~real).any(1) & real.any(1)
    vectors, real = vectors[rows].astype("float64"), real[rows]
    if not rows.any() or not np.isfinite(vectors).all():
        return None
    norms = np.linalg.norm(vectors, axis=-1)
    everything = vectors.mean(1)
    alone = (vectors * real[..., None]).sum(1) / real.sum(1)[:, None]
    apart, length, other = (
        np.linalg.norm(mean, axis=-1)
        for mean in (everything - alone, everything, alone)
    )
    above = np.stack([apart, (everything * alone).sum(-1)])
    below = np.stack([length, length * other])
    ratios = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    share, cosine = ratios.mean(1)
    rows_of, positions_of = np.nonzero(~real)
    padded = vectors[~real]
    return PadOutputs(
        path=path,
        padded_norm=float(norms[~real].mean()),
        real_norm=float(norms[real].mean()),
        by_position=_explained(padded, positions_of),
        by_sentence=_explained(padded, rows_of),
        share_of_mean=float(share),
        cosine=float(cosine),
    )


def _explained(vectors: np.ndarray, groups: np.ndarray) -> float:
    """The share of the variance that lies between groups."""
    centred = vectors - vectors.mean(0)
    total = np.square(centred).sum()
    # Vectors that are all alike differ by rounding alone.
    if total <= 1e-12 * np.square(vectors).sum():
        return 0.0
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((counts.size, vectors.shape[1]))
    np.add.at(sums, number, centred)
    return float(np.square(sums / np.sqrt(counts)[:, None]).sum() / total)
