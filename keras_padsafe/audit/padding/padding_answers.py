"""The answers of a model to one batch, changed in every way that must not matter."""

from dataclasses import dataclass, field

import numpy as np

from keras_padsafe.audit.padding_report import PaddingVariant, Verdict
from keras_padsafe.audit.run.float_noise import MULTIPLE
from keras_padsafe.audit.run.leaks import first_mover, place_of
from keras_padsafe.audit.run.model_runs import what_was_said
from keras_padsafe.audit.run.movements import Movements
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
    """What became of the answer in one variant, and of each tensor on the way.

    `key` is the first call that moved, `where` the row and position that moved most.
    """

    variant: PaddingVariant
    moved: Movements = field(default_factory=Movements)
    key: Key | None = None
    where: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> bool:
        """Whether the model was not asked, or did not answer."""
        return self.variant.verdict == "skipped"


def all_answers(runs: PaddedRuns) -> dict[str, Answer]:
    """Runs every variant of a batch; the answers by name."""
    batch = runs.batch
    longer: Change | str = runs.longer
    if not any(runs.added):
        longer = _OWN_PADDING
    elif runs.refused:
        longer = f"the model refuses it: {runs.refused}"
    answers = {"more padding": _asked(runs, "PS401", longer)}
    less = answers["less padding"] = _less_padding(runs)
    for name, kind in CONTENT.items():
        if runs.taps or runs.features:
            wild = kind != "random"
            answers[name] = _asked(runs, "PS402", *runs.behind(kind), wild=wild)
        else:
            why = "no call was seen that turns ids into features"
            answers[name] = _skipped(runs, "PS402", why)
    other_ids = batch.with_other_ids(np.random.default_rng(0)) or (
        "there is no mask among the inputs and no second pad id, so other ids would be "
        "real words"
    )
    answers["other ids"] = _asked(runs, "PS402", other_ids)
    answers["gradient"] = _gradient(runs)
    other_side = batch.with_padding_on_the_other_side()
    answers["other side"] = _asked(runs, "PS403", other_side)
    answers["other mates"] = _asked(runs, "PS404", batch.with_other_mates())
    # One row alone; if it was taken alone without its padding, that says it.
    alone: Change | str = batch.alone(batch.most_padded)
    shorter = batch.with_less_padding(batch.most_padded)
    was_alone = shorter is not None and len(shorter.rows[0]) == 1 < batch.rows
    if was_alone and less.variant.verdict in ("same", "noise"):
        alone = "`less padding` ran one row alone, and its output did not move"
    answers["alone"] = _asked(runs, "PS404", alone)
    return answers


def noise_floor(runs: PaddedRuns) -> float:
    """How far rounding moves the outputs."""
    return max((runs.noise[value] for value in runs.outputs), default=0.0)


def _less_padding(runs: PaddedRuns) -> Answer:
    """The answer with all padding cut off; if that is refused, some of it."""
    batch, skipped = runs.batch, []
    for only in (None, *range(len(batch.timelines))):
        change = batch.with_less_padding(batch.most_padded, only)
        answer = _asked(runs, "PS401", change or _OWN_PADDING)
        if not answer.skipped:
            return answer
        skipped.append(answer)
    return skipped[0]


def _asked(
    runs: PaddedRuns, code: str, change: Change | str, *put: Alter, wild: bool = False
) -> Answer:
    """The answer to a changed batch; in place of one, why there is none.

    What padding holds in a `wild` one is NaN, or overflows: no model has to bear that.
    """
    if isinstance(change, str):
        return _skipped(runs, code, change)
    try:
        moved = runs.moved(change, *put)
    except Exception as error:  # Whatever a model of the user's raises.
        return _skipped(runs, code, f"the model refuses it: {what_was_said(error)}")
    noise, compared = runs.noise, [value for value in runs.outputs if value in moved]
    if not compared:
        return _skipped(runs, code, "the output then has another shape")
    worst = max(compared, key=lambda value: ratio(moved[value].size, noise[value]))
    size, key, first = moved[worst].size, None, None
    verdict: Verdict = "moved" if code == "PS403" else "leak"
    # More padding may reach behind the last position of a table.
    if np.isinf(size) and (wild or code == "PS401"):
        verdict = "not finite"
    elif size <= MULTIPLE * noise[worst]:
        verdict = "noise" if size else "same"
    if verdict not in ("same", "noise"):
        key = first_mover(runs, moved)
        first = key and place_of(runs, moved, key)
    variant = PaddingVariant(code, size, noise[worst], verdict, first)
    return Answer(variant, moved, key, moved[worst].where)


def _gradient(runs: PaddedRuns) -> Answer:
    outputs = [(value, runs.real(value)) for value in runs.outputs if value.is_float]
    if not outputs or not (runs.taps or runs.features):
        return _skipped(runs, "PS402", "no output or input has a gradient")
    try:
        found = padding_gradient(runs.runs, runs.taps, runs.features, outputs)
    except Exception as error:  # Whatever a model of the user's raises.
        why = f"the model has no gradient ({what_was_said(error)})"
        return _skipped(runs, "PS402", why)
    share = ratio(*found)
    verdict: Verdict = "noise" if share else "same"
    if not np.isfinite(found).all():
        verdict = "not finite"
    elif share > SMALLEST_GRADIENT:
        verdict = "leak"
    share = share if np.isfinite(share) else float("inf")
    return Answer(PaddingVariant("PS402", share, SMALLEST_GRADIENT, verdict))


def _skipped(runs: PaddedRuns, code: str, why: str) -> Answer:
    return Answer(PaddingVariant(code, None, noise_floor(runs), "skipped", why=why))


def ratio(a: float, b: float) -> float:
    """How many times one number is the other; 0 and 0 are the same."""
    if b == 0:
        return 0.0 if a == 0 else float("inf")
    return a / b
