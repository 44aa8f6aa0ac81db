"""The answers of a model to one batch, changed in every way that must not matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_padsafe.audit.padding_report import PaddingVariant, Verdict
from keras_padsafe.audit.run.first_movers import (
    first_mover,
    hold_still,
    place_of,
    real_in,
)
from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.model_runs import (
    ModelRuns,
    attempt,
    outputs_of,
    what_was_said,
)
from keras_padsafe.audit.run.movements import Movement, Movements, movements
from keras_padsafe.audit.run.padded_batch import Change, PaddedBatch
from keras_padsafe.audit.run.padding_gradient import padding_gradient
from keras_padsafe.audit.run.poison import Kind, Tap, poisoned, put_in
from keras_padsafe.audit.run.record_calls import Alter, Key, Record, Value
from keras_padsafe.audit.run.time_axes import Axes
from keras_padsafe.audit.run.watch import LayerCall

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
        runs: The model.
        batch: The batch.
        record: The calls of the batch itself.
        axes: How its tensors are read.
        noise: How far rounding moves them.
        taps: Where padded content enters.
        added: How much more padding the model takes; zeros if it takes none.
        longer: Its calls then.
        refused: What it said if it refused.
    """

    runs: ModelRuns
    batch: PaddedBatch
    record: Record
    axes: Mapping[Value, Axes]
    noise: Mapping[Value, float]
    taps: Sequence[Tap]
    added: Sequence[int]
    longer: Record
    refused: str | None

    @property
    def noise_floor(self) -> float:
        """How far rounding moves the outputs."""
        return max((self.noise.get(value, 0.0) for value in self._outputs), default=0.0)

    def all(self) -> dict[str, Answer]:
        """The answers in every variant, by name."""
        batch, random = self.batch, np.random.default_rng(0)
        most_padded = sum(line.padding.mean(1) for line in batch.timelines)
        row = int(np.argmax(np.where(batch.filled, most_padded, -1.0)))
        answers = {
            "more padding": self._more_padding(),
            "less padding": self._of(
                "PS401",
                batch.with_less_padding(row),
                "the model pads its input by itself",
            ),
        }
        for name, kind in CONTENT.items():
            answers[name] = self.with_content(kind)
        answers["other ids"] = self._of(
            "PS402",
            batch.with_other_ids(random),
            "no mask among the inputs and no second pad id: other ids would be real",
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

    def with_content(self, kind: Kind, held_still: Sequence[Key] = ()) -> Answer:
        """The answer with other content behind the padding.

        Args:
            kind: Which content.
            held_still: Calls whose outputs keep their real positions.
        """
        values = list(self.batch.unchanged().inputs)
        random = np.random.default_rng(1)
        for i, padding in self._held_inputs().items():
            array = values[i]
            values[i] = poisoned(array, padding, kind, str(array.dtype), random)
        if not self.taps and not self._held_inputs():
            return self._skipped("PS402", "nothing turns ids into features in a call")
        alter = _both(
            put_in(self.taps, kind), hold_still(self.record, self.axes, held_still)
        )
        return self._compared("PS402", self._with(values), alter, kind)

    def place(self, answer: Answer, key: Key) -> str:
        """Where a call is, in words."""
        assert answer.found is not None
        return place_of(self.record, answer.found, self.noise, key)

    def faintest_mover(self, answer: Answer) -> Key | None:
        """The first call that moved at all, however little."""
        if answer.found is None:
            return None
        return first_mover(self.record, answer.found, self.noise, multiple=0.0)

    @property
    def _outputs(self) -> list[Value]:
        outputs = outputs_of(self.record).outputs
        floats = [value for value in outputs if "float" in value.dtype]
        return floats or outputs

    def _with(self, values: Sequence[np.ndarray]) -> Change:
        same = self.batch.unchanged()
        return Change(tuple(values), same.rows, same.where)

    def _held_inputs(self) -> dict[int, np.ndarray]:
        """Inputs of features behind a mask, with their padding."""
        return {
            i: line.padding
            for line in self.batch.timelines
            if line.held and line.padding.any()
            for i in line.members
            if i not in line.masks
            and self.batch.inputs[i].is_float
            and self.batch.inputs[i].values.shape[:2] == line.padding.shape
        }

    def _more_padding(self) -> Answer:
        if not any(self.added):
            return self._skipped("PS401", "the model pads its input by itself")
        change = self.batch.with_more_padding(self.added)
        if self.refused:
            return self._skipped("PS401", f"the model refuses it: {self.refused}")
        return self._judged("PS401", change, self.longer)

    def _of(self, code: str, change: Change | None, why: str) -> Answer:
        if change is None:
            return self._skipped(code, why)
        return self._compared(code, change)

    def _compared(
        self,
        code: str,
        change: Change,
        alter: Alter | None = None,
        kind: Kind = "random",
    ) -> Answer:
        after, error = attempt(lambda: self.runs.record(change.inputs, alter))
        if after is None:
            return self._skipped(code, f"the model refuses it: {error}")
        return self._judged(code, change, after, kind)

    def _judged(
        self, code: str, change: Change, after: Record, kind: Kind = "random"
    ) -> Answer:
        found = movements(self.record, after, change, self.axes)
        worst = self._worst(found)
        if worst is None:
            return self._skipped(code, "the answer has another shape then")
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
            key = first_mover(self.record, found, self.noise)
            first = key and place_of(self.record, found, self.noise, key)
        variant = PaddingVariant(code, move.size, noise, verdict, first)
        return Answer(variant, found, key, move.where)

    def _worst(self, found: Movements) -> tuple[Movement, float] | None:
        """The output that moved most beyond its noise."""
        root = outputs_of(self.record)
        if root.key not in found:
            return None
        pairs = [
            (move, self.noise.get(value, 0.0))
            for value, move in zip(root.outputs, found[root.key].outputs, strict=True)
            if move is not None and value in self._outputs
        ]
        return max(pairs, key=lambda pair: _ratio(pair[0].size, pair[1]), default=None)

    def _alone(self, row: int, less: Answer) -> Answer:
        """One row alone; if it was taken alone without its padding, that says it."""
        change = self.batch.with_less_padding(row)
        alone = change is not None and len(change.rows[0]) == 1 < self.batch.rows
        if alone and less.variant.verdict in ("same", "noise"):
            why = "`less padding` took one row alone, and its answer did not move"
            return self._skipped("PS404", why)
        return self._of("PS404", self.batch.alone(row), "")

    def _gradient(self) -> Answer:
        code = "PS402"
        outputs = [
            (value, real_in(value, self.axes))
            for value in self._outputs
            if "float" in value.dtype
        ]
        inputs = self._held_inputs()
        if not outputs or not (self.taps or inputs):
            return self._skipped(code, "there is nothing to differentiate")
        try:
            found = padding_gradient(self.runs, self.taps, inputs, outputs)
        except Exception as error:  # Whatever a model of the user's raises.
            said = what_was_said(error)
            return self._skipped(code, f"it cannot be differentiated: {said}")
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


def _both(first: Alter, second: Alter) -> Alter:
    def alter(key: Key, call: LayerCall) -> None:
        first(key, call)
        second(key, call)

    return alter


def _verdict(moved: float, noise: float) -> Verdict:
    if moved == 0:
        return "same"
    return "leak" if moved > MULTIPLE * noise else "noise"


def _ratio(a: float, b: float) -> float:
    if b == 0:
        return 0.0 if a == 0 else float("inf")
    return a / b


def _weight(answer: Answer) -> float:
    return -1.0 if answer.variant.moved is None else answer.variant.moved
