"""A model asked the same question in many ways, and what became of its answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.padding.padding_answers import Answer, Answers
from keras_padsafe.audit.padding.padding_causes import find_causes
from keras_padsafe.audit.padding_report import (
    LayerMovement,
    PaddingReport,
    PaddingVariant,
    PadOutputs,
)
from keras_padsafe.audit.run.find_timelines import born_masks, find_timelines
from keras_padsafe.audit.run.leaks import real_in
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import Record, Value
from keras_padsafe.errors import AuditError


class PaddingAudit:
    """One audit.

    Args:
        model: As `check_padding` takes it.
        batch: As `check_padding` takes it.
        pad_id: As `check_padding` takes it.
    """

    def __init__(self, model: keras.layers.Layer, batch: Any, pad_id: Any) -> None:
        runs = ModelRuns(model, batch)
        record = runs.record_own(AuditError)
        self._runs = PaddedRuns(runs, record, _read_batch(runs, record, pad_id))
        self._refuse_nan()
        self._answers = Answers(self._runs)

    def report(self) -> PaddingReport:
        """Runs every variant and says what they show."""
        answers = self._answers.all()
        findings = find_causes(self._answers, answers)
        pictured = self._pictured(answers)
        layers, row = self._layers(answers.get(pictured))
        line = self._runs.batch.timelines[0]
        return PaddingReport(
            findings=tuple(findings),
            variants={name: answer.variant for name, answer in answers.items()},
            noise_floor=self._answers.noise_floor,
            layers=layers,
            pictured=pictured,
            row=row,
            real=tuple(map(bool, line.real[row])),
            pad_outputs=self._pad_outputs(),
            not_looked_at=tuple(_missing(self._runs, answers)),
            empty_rows=tuple(map(int, np.flatnonzero(~self._runs.batch.filled))),
        )

    def _refuse_nan(self) -> None:
        for value in outputs_of(self._runs.record).outputs:
            if bool((np.isnan(value.array) & real_in(value, self._runs.axes)).any()):
                raise AuditError(
                    "model: its outputs for this batch hold NaN, so no other run can "
                    "be compared with them. keras_padsafe.audit.find_nonfinite shows "
                    "where NaN begins."
                )

    def _pictured(self, answers: dict[str, Answer]) -> str:
        def weight(name: str) -> tuple[bool, bool, float]:
            variant = answers[name].variant
            share = (variant.moved or 0.0) / (variant.noise or 1.0)
            leak = variant.verdict == "leak" and variant.code != "PS403"
            return leak, name == "random content", share

        shown = [name for name, answer in answers.items() if answer.found]
        return max(shown, key=weight) if shown else ""

    def _layers(self, answer: Answer | None) -> tuple[tuple[LayerMovement, ...], int]:
        padding = self._runs.batch.timelines[0].padding.sum(1)
        row = int(np.argmax(np.where(self._runs.batch.filled, padding, -1)))
        if answer is None or answer.found is None:
            return (), row
        layers = []
        for key, call in self._runs.record.items():
            if key not in answer.found:
                continue
            for value, move in zip(
                call.outputs, answer.found[key].outputs, strict=False
            ):
                if move is None or "float" not in value.dtype or not len(move.rows):
                    continue
                at = np.flatnonzero(move.rows == row)
                timed = move.everywhere.ndim == 2 and at.size
                positions = tuple(map(float, move.everywhere[at[0]])) if timed else None
                layers.append(
                    LayerMovement(
                        call.path,
                        type(call.layer).__name__,
                        move.size,
                        self._runs.noise.get(value, 0.0),
                        positions,
                    )
                )
                break
        return tuple(layers), row

    def _pad_outputs(self) -> PadOutputs | None:
        # The innermost call that puts out the last sequence: it ends before others.
        made_by: dict[Value, str] = {}
        for call in self._runs.record.values():
            for value in call.outputs:
                made_by.setdefault(value, call.path)
        for call in reversed(self._runs.record.values()):
            for value in call.outputs:
                axes = self._runs.axes[value]
                padded = axes.padded
                vectors = value.is_float and value.array.ndim == 3
                if vectors and axes.batch and padded is not None and padded.ndim == 2:
                    return _measure_pad_outputs(made_by[value], value.array, ~padded)
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


def _missing(runs: PaddedRuns, answers: Mapping[str, Answer]) -> Iterator[str]:
    """The padding of which neither the content nor the amount could be changed."""

    def tried(code: str) -> list[PaddingVariant]:
        return [a.variant for a in answers.values() if a.variant.code == code]

    if any(variant.verdict != "skipped" for variant in tried("PS402")):
        return
    amount = tried("PS401")
    judged = any(variant.verdict != "skipped" for variant in amount)
    pairs = zip(runs.batch.timelines, runs.added, strict=True)
    still = [line for line, count in pairs if line.padding.any() and not count]
    if still or not judged:
        why = "; ".join(
            dict.fromkeys(v.why for v in [*tried("PS402"), *amount] if v.why)
        )
        yield f"the effect of padding at some positions: {why}"


def _measure_pad_outputs(
    path: str, vectors: np.ndarray, real: np.ndarray
) -> PadOutputs | None:
    """Measures the vectors at padded positions, and their part in a mean over time.

    Args:
        path: The layer that they come from.
        vectors: Array `(batch, time, dim)`.
        real: Bools `(batch, time)`.

    Returns:
        The figures; `None` if no row holds both padding and something real.
    """
    rows = (~real).any(1) & real.any(1)
    vectors, real = vectors[rows].astype("float64"), real[rows]
    if not rows.any() or not np.isfinite(vectors).all():
        return None
    norms = np.linalg.norm(vectors, axis=-1)
    everything = vectors.mean(1)
    alone = (vectors * real[..., None]).sum(1) / real.sum(1)[:, None]
    apart = np.linalg.norm(everything - alone, axis=-1)
    length = np.linalg.norm(everything, axis=-1)
    both = length * np.linalg.norm(alone, axis=-1)
    rows_of, positions_of = np.nonzero(~real)
    padded = vectors[~real]
    return PadOutputs(
        path=path,
        padded_norm=float(norms[~real].mean()),
        real_norm=float(norms[real].mean()),
        by_position=_explained(padded, positions_of),
        by_sentence=_explained(padded, rows_of),
        share_of_mean=float(np.mean(_ratio(apart, length))),
        cosine=float(np.mean(_ratio((everything * alone).sum(-1), both))),
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


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
