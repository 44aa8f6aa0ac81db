"""A model asked the same question in many ways, and what became of its answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.padding.measure_pad_outputs import measure_pad_outputs
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
        record = runs.record([entry.values for entry in runs.inputs])
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
                    "model: its own answer to the batch holds NaN, so that nothing can "
                    "be compared with it. keras_padsafe.audit.find_nonfinite says "
                    "where it is born."
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
                    return measure_pad_outputs(made_by[value], value.array, ~padded)
        return None


def _read_batch(runs: ModelRuns, record: Record, pad_id: Any) -> PaddedBatch:
    inputs = runs.inputs
    lines = find_timelines(inputs, pad_id, born_masks(record))
    if not lines:
        named = ", ".join(f"{e.name!r} {e.values.shape}" for e in inputs)
        raise AuditError(
            f"batch: no position of it is padding (inputs: {named}). Expected: an "
            f"input (batch, time) that holds the pad id {pad_id!r}, a mask among "
            "the inputs, or a layer of the model that makes one. Pass a batch of "
            "sequences of several lengths, and the id they are padded with."
        )
    padded = PaddedBatch(inputs, tuple(lines), pad_id)
    if not any(line.padding.any() for line in lines):
        raise AuditError(
            "batch: its masks say that every position is real. Pass a batch of "
            "sequences of several lengths, padded to one."
        )
    if not padded.filled.any():
        raise AuditError(
            "batch: every row holds nothing but padding, and so has no answer that "
            "could change. Pass rows that hold something too."
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
        yield f"what becomes of padding in some position: {why}"
