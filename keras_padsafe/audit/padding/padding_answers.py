"""The answers of a model to one batch, changed in every way that must not matter."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_padsafe.audit.padding_report import PaddingVariant, Verdict
from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.leaks import first_mover, place_of, real_in
from keras_padsafe.audit.run.model_runs import outputs_of, what_was_said
from keras_padsafe.audit.run.movements import Movement, Movements
from keras_padsafe.audit.run.padded_batch import Change
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.padding_gradient import padding_gradient
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import Alter, Key

CONTENT: dict[str, Kind] = {
    "random content": "random",
    "large content": "large",
    "NaN content": "nan",
}
SMALLEST_GRADIENT = 2.0**-23
"""A share of the gradient that float32 cannot tell from nothing."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of the answer in one variant.

    Attributes:
        variant: What the report says of it.
        found: How far each call moved; `None` if there is nothing to compare.
        key: The first call that moved.
        where: The row and position that moved most.
    """

    variant: PaddingVariant
    found: Movements | None = None
    key: Key | None = None
    where: Mapping[str, int] | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """Runs the variants of one batch.

    Attributes:
        runs: The batch and the model.
    """

    runs: PaddedRuns

    @property
    def noise_floor(self) -> float:
        """How far rounding moves the outputs."""
        return max(
            (self.runs.noise.get(value, 0.0) for value in self.runs.outputs),
            default=0.0,
        )

    def all(self) -> dict[str, Answer]:
        """The answers in every variant, by name."""
        batch, random = self.runs.batch, np.random.default_rng(0)
        most_padded = sum(
            line.padding.reshape(batch.rows, -1).mean(1) for line in batch.timelines
        )
        row = int(np.argmax(np.where(batch.filled, most_padded, -1.0)))
        answers = {
            "more padding": self._more_padding(),
            "less padding": self._less_padding(row),
        }
        for name, kind in CONTENT.items():
            answers[name] = self.with_content(kind)
        answers["other ids"] = self._of(
            "PS402",
            batch.with_other_ids(random),
            "there is no mask among the inputs and no second pad id, so other ids "
            "would be real words",
        )
        answers["gradient"] = self._gradient()
        answers["other side"] = self._of(
            "PS403",
            batch.with_padding_on_the_other_side(),
            "",
        )
        answers["other mates"] = self._of("PS404", batch.with_other_mates(), "")
        answers["alone"] = self._alone(row, answers["less padding"])
        return answers

    def with_content(self, kind: Kind) -> Answer:
        """The answer with other content behind the padding."""
        if not self.runs.taps and not self.runs.features:
            return self._skipped(
                "PS402", "no call was seen that turns ids into features"
            )
        return self._compared("PS402", *self.runs.behind(kind), kind=kind)

    def place(self, found: Movements, key: Key) -> str:
        """Where a call is, in words."""
        return place_of(self.runs.record, found, self.runs.noise, key)

    def faintest_mover(self, answer: Answer) -> Key | None:
        """The first call that moved at all, however little."""
        if answer.found is None:
            return None
        return first_mover(
            self.runs.record, answer.found, self.runs.noise, multiple=0.0
        )

    def _more_padding(self) -> Answer:
        if not any(self.runs.added):
            return self._skipped("PS401", "the model pads its input by itself")
        if self.runs.refused:
            return self._skipped("PS401", f"the model refuses it: {self.runs.refused}")
        return self._compared("PS401", self.runs.longer)

    def _less_padding(self, row: int) -> Answer:
        """The answer with all padding cut off; if that is refused, some of it."""
        made = "the model pads its input by itself"
        count = len(self.runs.batch.timelines)
        first = self._of("PS401", self.runs.batch.with_less_padding(row), made)
        for only in range(count if count > 1 else 0):
            if first.variant.verdict != "skipped":
                break
            change = self.runs.batch.with_less_padding(row, only)
            other = self._of("PS401", change, made)
            first = other if other.variant.verdict != "skipped" else first
        return first

    def _of(self, code: str, change: Change | None, why: str) -> Answer:
        if change is None:
            return self._skipped(code, why)
        return self._compared(code, change)

    def _compared(
        self, code: str, change: Change, *alters: Alter, kind: Kind = "random"
    ) -> Answer:
        try:
            found = self.runs.moved(change, *alters)
        except Exception as error:  # Whatever a model of the user's raises.
            said = what_was_said(error)
            return self._skipped(code, f"the model refuses it: {said}")
        worst = self._worst(found)
        if worst is None:
            return self._skipped(code, "the output then has another shape")
        move, noise = worst
        verdict = _verdict(move.size, noise)
        # NaN, or what overflows, is not what padding holds; nor is a position behind
        # the last one of a table.
        if np.isinf(move.size) and (kind != "random" or code == "PS401"):
            verdict = "not finite"
        if verdict == "leak" and code == "PS403":
            verdict = "moved"
        key = first = None
        if verdict in ("leak", "moved", "not finite"):
            key = first_mover(self.runs.record, found, self.runs.noise)
            first = key and place_of(self.runs.record, found, self.runs.noise, key)
        variant = PaddingVariant(code, move.size, noise, verdict, first)
        return Answer(variant, found, key, move.where)

    def _worst(self, found: Movements) -> tuple[Movement, float] | None:
        """The output that moved most beyond its noise."""
        root = outputs_of(self.runs.record)
        if root.key not in found:
            return None
        pairs = [
            (move, self.runs.noise.get(value, 0.0))
            for value, move in zip(root.outputs, found[root.key].outputs, strict=True)
            if move is not None and value in self.runs.outputs
        ]
        return max(pairs, key=lambda pair: _ratio(pair[0].size, pair[1]), default=None)

    def _alone(self, row: int, less: Answer) -> Answer:
        """One row alone; if it was taken alone without its padding, that says it."""
        change = self.runs.batch.with_less_padding(row)
        alone = change is not None and len(change.rows[0]) == 1 < self.runs.batch.rows
        if alone and less.variant.verdict in ("same", "noise"):
            why = "`less padding` ran one row alone, and its output did not move"
            return self._skipped("PS404", why)
        return self._of("PS404", self.runs.batch.alone(row), "")

    def _gradient(self) -> Answer:
        code = "PS402"
        outputs = [
            (value, real_in(value, self.runs.axes))
            for value in self.runs.outputs
            if "float" in value.dtype
        ]
        inputs = self.runs.features
        if not outputs or not (self.runs.taps or inputs):
            return self._skipped(code, "no output or input has a gradient")
        try:
            found = padding_gradient(self.runs.runs, self.runs.taps, inputs, outputs)
        except Exception as error:  # Whatever a model of the user's raises.
            said = what_was_said(error)
            return self._skipped(code, f"the model has no gradient ({said})")
        share = _ratio(found.padded, found.real)
        verdict: Verdict = "noise" if share else "same"
        if not np.isfinite([found.padded, found.real]).all():
            verdict = "not finite"
        elif share > SMALLEST_GRADIENT:
            verdict = "leak"
        share = share if np.isfinite(share) else float("inf")
        return Answer(PaddingVariant(code, share, SMALLEST_GRADIENT, verdict))

    def _skipped(self, code: str, why: str) -> Answer:
        return Answer(
            PaddingVariant(code, None, self.noise_floor, "skipped", None, why)
        )


def _verdict(moved: float, noise: float) -> Verdict:
    if moved == 0:
        return "same"
    return "leak" if moved > MULTIPLE * noise else "noise"


def _ratio(a: float, b: float) -> float:
    if b == 0:
        return 0.0 if a == 0 else float("inf")
    return a / b
