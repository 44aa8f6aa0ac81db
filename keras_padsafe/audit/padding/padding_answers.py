"""The answers of a model to one batch, changed in every way that must not matter."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from keras_padsafe.audit.padding_report import PaddingVariant, Verdict
from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.leaks import first_mover, place_of
from keras_padsafe.audit.run.model_runs import what_was_said
from keras_padsafe.audit.run.movements import Movement, Movements
from keras_padsafe.audit.run.padded_batch import Change
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.padding_gradient import padding_gradient
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import Key
from keras_padsafe.audit.run.watch import Observer as Alter

CONTENT: dict[str, Kind] = {
    "random content": "random",
    "large content": "large",
    "NaN content": "nan",
}
SMALLEST_GRADIENT = 2.0**-23
"""A share of the gradient that float32 cannot tell from nothing."""

_OWN_PADDING = "the model pads its input by itself"


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of the answer in one variant.

    Attributes:
        variant: What the report says of it.
        moved: How far each tensor moved; empty if there is nothing to compare.
        key: The first call that moved.
        where: The row and position that moved most.
    """

    variant: PaddingVariant
    moved: Movements = field(default_factory=Movements)
    key: Key | None = None
    where: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> bool:
        """Whether the model was not asked, or did not answer."""
        return self.variant.verdict == "skipped"


@dataclass(frozen=True, eq=False)
class Answers:
    """Runs the variants of one batch."""

    runs: PaddedRuns

    @property
    def noise_floor(self) -> float:
        """How far rounding moves the outputs."""
        return max((self.runs.noise[v] for v in self.runs.outputs), default=0.0)

    @cached_property
    def by_name(self) -> dict[str, Answer]:
        """The answers in every variant."""
        batch, row = self.runs.batch, self.runs.batch.most_padded
        answers = {"more padding": self._more_padding()}
        less = answers["less padding"] = self._less_padding(row)
        for name, kind in CONTENT.items():
            answers[name] = self._with_content(kind)
        answers["other ids"] = self._asked(
            "PS402",
            batch.with_other_ids(np.random.default_rng(0))
            or "there is no mask among the inputs and no second pad id, so other ids "
            "would be real words",
        )
        answers["gradient"] = self._gradient()
        other_side = batch.with_padding_on_the_other_side()
        answers["other side"] = self._asked("PS403", other_side)
        answers["other mates"] = self._asked("PS404", batch.with_other_mates())
        answers["alone"] = self._alone(row, less)
        return answers

    def _with_content(self, kind: Kind) -> Answer:
        if not self.runs.taps and not self.runs.features:
            why = "no call was seen that turns ids into features"
            return self._asked("PS402", why)
        return self._asked("PS402", *self.runs.behind(kind), kind=kind)

    def _more_padding(self) -> Answer:
        change: Change | str = self.runs.longer
        if not any(self.runs.added):
            change = _OWN_PADDING
        elif self.runs.refused:
            change = f"the model refuses it: {self.runs.refused}"
        return self._asked("PS401", change)

    def _less_padding(self, row: int) -> Answer:
        """The answer with all padding cut off; if that is refused, some of it."""
        count, skipped = len(self.runs.batch.timelines), []
        for only in (None, *range(count if count > 1 else 0)):
            change = self.runs.batch.with_less_padding(row, only)
            answer = self._asked("PS401", change or _OWN_PADDING)
            if not answer.skipped:
                return answer
            skipped.append(answer)
        return skipped[0]

    def _alone(self, row: int, less: Answer) -> Answer:
        """One row alone; if it was taken alone without its padding, that says it."""
        batch = self.runs.batch
        shorter, change = batch.with_less_padding(row), batch.alone(row)
        alone = shorter is not None and len(shorter.rows[0]) == 1 < batch.rows
        if alone and less.variant.verdict in ("same", "noise"):
            why = "`less padding` ran one row alone, and its output did not move"
            return self._asked("PS404", why)
        return self._asked("PS404", change)

    def _asked(
        self, code: str, change: Change | str, *alters: Alter, kind: Kind = "random"
    ) -> Answer:
        """The answer to a changed batch; in place of one, why there is none."""
        if isinstance(change, str):
            return self._skipped(code, change)
        try:
            moved = self.runs.moved(change, *alters)
        except Exception as error:  # Whatever a model of the user's raises.
            said = what_was_said(error)
            return self._skipped(code, f"the model refuses it: {said}")
        worst = self._worst(moved)
        if worst is None:
            return self._skipped(code, "the output then has another shape")
        move, noise = worst
        verdict: Verdict = "leak" if move.size > MULTIPLE * noise else "noise"
        if move.size == 0:
            verdict = "same"
        # NaN, or what overflows, is not what padding holds; nor is a position behind
        # the last one of a table.
        elif np.isinf(move.size) and (kind != "random" or code == "PS401"):
            verdict = "not finite"
        elif verdict == "leak" and code == "PS403":
            verdict = "moved"
        key = first = None
        if verdict in ("leak", "moved", "not finite"):
            key = first_mover(self.runs, moved)
            first = key and place_of(self.runs, moved, key)
        variant = PaddingVariant(code, move.size, noise, verdict, first)
        return Answer(variant, moved, key, move.where)

    def _worst(self, moved: Movements) -> tuple[Movement, float] | None:
        """The output that moved most beyond its noise."""
        pairs = [
            (moved[value], self.runs.noise[value])
            for value in self.runs.outputs
            if value in moved
        ]
        return max(pairs, key=lambda pair: ratio(pair[0].size, pair[1]), default=None)

    def _gradient(self) -> Answer:
        code = "PS402"
        outputs = [(v, self.runs.real(v)) for v in self.runs.outputs if v.is_float]
        inputs = self.runs.features
        if not outputs or not (self.runs.taps or inputs):
            return self._skipped(code, "no output or input has a gradient")
        try:
            padded, real = padding_gradient(
                self.runs.runs, self.runs.taps, inputs, outputs
            )
        except Exception as error:  # Whatever a model of the user's raises.
            said = what_was_said(error)
            return self._skipped(code, f"the model has no gradient ({said})")
        share = ratio(padded, real)
        verdict: Verdict = "noise" if share else "same"
        if not np.isfinite([padded, real]).all():
            verdict = "not finite"
        elif share > SMALLEST_GRADIENT:
            verdict = "leak"
        share = share if np.isfinite(share) else float("inf")
        return Answer(PaddingVariant(code, share, SMALLEST_GRADIENT, verdict))

    def _skipped(self, code: str, why: str) -> Answer:
        return Answer(
            PaddingVariant(code, None, self.noise_floor, "skipped", None, why)
        )


def ratio(a: float, b: float) -> float:
    """How many times one number is the other; 0 and 0 are the same."""
    if b == 0:
        return 0.0 if a == 0 else float("inf")
    return a / b
