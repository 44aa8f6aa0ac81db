"""A model asked the same question in many ways, and what became of its answers."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.padding.measure_pad_outputs import measure_pad_outputs
from keras_padsafe.audit.padding.padding_answers import Answer, Answers
from keras_padsafe.audit.padding.padding_causes import find_causes
from keras_padsafe.audit.padding_report import (
    LayerMovement,
    PaddingReport,
    PadOutputs,
)
from keras_padsafe.audit.run.find_timelines import find_timelines
from keras_padsafe.audit.run.float_noise import SEEDS, round_again
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.movements import movements
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.poison import find_taps
from keras_padsafe.audit.run.record_calls import Record, Value
from keras_padsafe.audit.run.time_axes import ReadAxes
from keras_padsafe.errors import AuditError


class PaddingAudit:
    """One audit.

    Args:
        model: As `check_padding` takes it.
        batch: As `check_padding` takes it.
        pad_id: As `check_padding` takes it.
    """

    def __init__(self, model: keras.layers.Layer, batch: Any, pad_id: Any) -> None:
        self._runs = ModelRuns(model, batch)
        values = [entry.values for entry in self._runs.inputs]
        self._record = self._runs.record(values)
        self._batch = self._read_batch(pad_id)
        added, longer, refused = self._longer()
        read = ReadAxes(self._batch.timelines, self._batch.filled, added, longer)
        read.read(self._record)
        self._axes = read.of
        self._refuse_nan()
        self._noise = self._measure_noise()
        self._answers = Answers(
            self._runs,
            self._batch,
            self._record,
            self._axes,
            self._noise,
            find_taps(self._record, self._batch),
            added,
            longer,
            refused,
        )

    def report(self) -> PaddingReport:
        """Runs every variant and says what they show."""
        answers = self._answers.all()
        findings = find_causes(self._answers, answers)
        pictured = self._pictured(answers)
        layers, row = self._layers(answers.get(pictured))
        line = self._batch.timelines[0]
        return PaddingReport(
            findings=tuple(findings),
            variants={name: answer.variant for name, answer in answers.items()},
            noise_floor=self._answers.noise_floor,
            layers=layers,
            pictured=pictured,
            row=row,
            real=tuple(map(bool, line.real[row])),
            pad_outputs=self._pad_outputs(),
            empty_rows=tuple(map(int, np.flatnonzero(~self._batch.filled))),
        )

    def _read_batch(self, pad_id: Any) -> PaddedBatch:
        inputs = self._runs.inputs
        born = [
            value.mask
            for call in self._record.values()
            for value in call.outputs
            if call.makes_mask and value.mask is not None and value.mask.ndim == 2
        ]
        lines = find_timelines(inputs, pad_id, born)
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

    def _longer(self) -> tuple[list[int], Record, str | None]:
        """How much more padding the model takes, its calls then, and what it said."""
        lines = self._batch.timelines
        longest = max(line.length for line in lines)
        # Growing by different lengths tells the axes of two sequences apart.
        tries = [
            [count + n for n in range(len(lines))]
            for count in (max(4, longest // 2), 1)
        ]
        tries += [[1] * len(lines)] if len(lines) > 1 else []
        best: tuple[list[int], Record, str | None] = ([0] * len(lines), {}, None)
        for counts in tries:
            added = [
                count if line.members and line.padding.any() else 0
                for count, line in zip(counts, lines, strict=True)
            ]
            if not any(added):
                break
            change = self._batch.with_more_padding(added)
            record, error = self._runs.record_until_error(change.inputs)
            if error is None and _has_new_nan(self._record, record):
                error = f"its answer is NaN with {max(added)} more positions"
            if error is None:
                return added, record, None
            if best[2] is None or len(record) > len(best[1]):
                best = (added, record, error)
        return best

    def _refuse_nan(self) -> None:
        for value in outputs_of(self._record).outputs:
            real = self._axes[value].real
            array = value.array
            if self._axes[value].flat:
                array = array.reshape(-1, real.shape[1], *array.shape[1:])
            if bool((np.isnan(array) & real).any()):
                raise AuditError(
                    "model: its own answer to the batch holds NaN, so that nothing can "
                    "be compared with it. keras_padsafe.audit.find_nonfinite says "
                    "where it is born."
                )

    def _measure_noise(self) -> dict[Value, float]:
        """How far rounding, and random numbers if there are any, move each tensor."""
        unchanged = self._batch.unchanged()
        noise: dict[Value, float] = {}
        for seed in range(1, SEEDS + 1):
            alter = round_again(self._record, seed)
            again = self._runs.record(unchanged.inputs, alter, reseeded=seed)
            found = movements(self._record, again, unchanged, self._axes)
            for key, movement in found.items():
                call = self._record[key]
                values = call.inputs + call.outputs
                moved = movement.inputs + movement.outputs
                for value, move in zip(values, moved, strict=True):
                    size = move.size if move is not None else 0.0
                    noise[value] = max(noise.get(value, 0.0), size)
        return noise

    def _pictured(self, answers: dict[str, Answer]) -> str:
        def weight(name: str) -> tuple[bool, bool, float]:
            variant = answers[name].variant
            share = (variant.moved or 0.0) / (variant.noise or 1.0)
            leak = variant.verdict == "leak" and variant.code != "PS403"
            return leak, name == "random content", share

        shown = [name for name, answer in answers.items() if answer.found]
        return max(shown, key=weight) if shown else ""

    def _layers(self, answer: Answer | None) -> tuple[tuple[LayerMovement, ...], int]:
        padding = self._batch.timelines[0].padding.sum(1)
        row = int(np.argmax(np.where(self._batch.filled, padding, -1)))
        if answer is None or answer.found is None:
            return (), row
        layers = []
        for key, call in self._record.items():
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
                        self._noise.get(value, 0.0),
                        positions,
                    )
                )
                break
        return tuple(layers), row

    def _pad_outputs(self) -> PadOutputs | None:
        # The innermost call that puts out the last sequence: it ends before others.
        made_by: dict[Value, str] = {}
        for call in self._record.values():
            for value in call.outputs:
                made_by.setdefault(value, call.path)
        for call in reversed(self._record.values()):
            for value in call.outputs:
                axes = self._axes[value]
                vectors = "float" in value.dtype and value.array.ndim == 3
                if vectors and axes.batch and not axes.flat:
                    for axis, line in axes.time:
                        if axis != 1:
                            continue
                        real = self._batch.timelines[line].real
                        return measure_pad_outputs(made_by[value], value.array, real)
        return None


def _has_new_nan(before: Record, after: Record) -> bool:
    """Whether the answer is NaN in one run and not in the other."""
    pair = [
        any(np.isnan(v.array).any() for v in outputs_of(record).outputs)
        for record in (before, after)
    ]
    return pair == [False, True]
