"""One finding for each cause, whatever the number of variants that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.audit.audit_report import plain
from keras_padsafe.audit.codes import CODES
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.padding.padding_answers import CONTENT, Answer, ratio
from keras_padsafe.audit.padding_report import said
from keras_padsafe.audit.run.leaks import first_mover, place_of
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import CallRecord, Key, parameters
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.facts import advice

# What a cause is called if it shows in several ways: the most telling first. If other
# rows beside it show it, it is that.
_ORDER = ("PS402", "PS401", "PS404", "PS403")


@dataclass(eq=False)
class _Cause:
    key: Key | None
    place: str
    names: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)


def find_causes(runs: PaddedRuns, answers: Mapping[str, Answer]) -> list[Finding]:
    """Groups the variants in which the answer moved by where that began."""
    shown = ("leak", "moved")
    leaking = [n for n, answer in answers.items() if answer.variant.verdict in shown]
    content = [name for name in leaking if answers[name].variant.code == "PS402"]
    of_content = _content_causes(runs, answers, content)
    causes: dict[str, _Cause] = {}
    for name in sorted(leaking, key=lambda name: name not in content):
        own = [(answers[name].key, answers[name].variant.first)]
        for key, first in of_content if name in content else own:
            place = first or runs.runs.model.name
            causes.setdefault(place, _Cause(key, place)).names.append(name)
    order = [*runs.record, None]
    kept: list[_Cause] = []
    for cause in sorted(
        causes.values(), key=lambda c: (c.names == ["other side"], order.index(c.key))
    ):
        unmasked = _unmasked(runs, cause.key)
        same = [other for other in kept if unmasked & _unmasked(runs, other.key)]
        if same:
            same[0].also.append(cause.place)
        else:
            kept.append(cause)
    return [_finding(runs, answers, cause) for cause in kept]


def _content_causes(
    runs: PaddedRuns, answers: Mapping[str, Answer], leaking: list[str]
) -> list[tuple[Key | None, str | None]]:
    """Where other content enters, each found while those before it are held still."""
    if not leaking:
        return []
    kinds: list[Kind] = [CONTENT[name] for name in leaking if name in CONTENT]
    if kinds:
        found = runs.leaks(kinds[0])
    else:
        # Where the bits first differ: the gradient says that it is no accident.
        shown = ("random content", "large content", "other ids")
        moves = [answers[name].moved for name in shown]
        firsts = [(first_mover(runs, moved, multiple=0.0), moved) for moved in moves]
        found = [(key, moved) for key, moved in firsts if key][:1]
    places = [(key, place_of(runs, moved, key)) for key, moved in found]
    return [*places] or [(None, None)]


def _unmasked(runs: PaddedRuns, key: Key | None) -> set[int]:
    """The padded tensors without a mask that go into a call which would use one.

    Two calls that lack the mask of one tensor are one fault.
    """
    call = runs.record.get(key) if key else None
    if not call or call.used or not any("mask" in n for n in parameters(call.layer)):
        return set()
    padded = [v for v in call.inputs if v.is_float and runs.axes[v].padded is not None]
    return {value.tensor for value in padded if value.mask is None}


def _finding(runs: PaddedRuns, answers: Mapping[str, Answer], cause: _Cause) -> Finding:
    variants = {name: answers[name].variant for name in cause.names}
    # A row without its padding may have been taken alone for it.
    doubtful = "less padding" if "alone" in variants else ""
    codes = {variant.code for name, variant in variants.items() if name != doubtful}
    code = min(codes, key=_ORDER.index)
    if "other mates" in variants:  # No mask would help.
        code = "PS404"
    figures = {name: _evidence(answers[name]) for name in variants}
    evidence: dict[str, Any] = {"variants": figures}
    kind, path, mask, instead = "the model", cause.place, "", ""
    call = runs.record.get(cause.key) if cause.key else None
    if call is not None:
        kind, path, instead = call.class_name, call.path, _instead(runs, call)
        arrived = bool(call.used) or any(v.mask is not None for v in call.inputs)
        evidence |= {"class": kind, "mask_arrived": arrived}
        if not arrived and any(runs.axes[value].time for value in call.inputs):
            mask = " No mask reaches it."
    where = cause.place.removeprefix(path)  # ", between a and b" in code of one's own
    if cause.also:
        evidence["also"] = cause.also
        mask += f" It does not reach {', '.join(cause.also)} either."
    # Figures of ordinary content say more than those of a gradient or an extreme.
    shown = min(cause.names, key=("large content", "gradient").__contains__)
    title, worst = CODES[code].title, variants[shown]
    measured = (
        f"The output of the model changes by {worst.moved:.3g} with {said(shown)}"
    )
    if shown == "gradient":
        share = f"{worst.moved:.3g} times that at real positions"
        measured = f"The gradient at padded positions is {share}"
    fix = instead or "Leave padding out of every sum, mean and maximum over time."
    if code == "PS403":
        fix = (
            "A model that counts positions does this. Pad on the side that it was "
            "trained with."
        )
    elif code == "PS404":
        fix = f"No row may depend on another row. {instead}".strip()
    return Finding(
        code,
        path,
        f"{title[0].upper()}{title[1:]}: real positions first change in {kind}{where}, "
        f"with {', '.join(map(said, cause.names))}. {measured}; rounding alone changes "
        f"it by {worst.noise:.3g}.{mask}",
        fix,
        evidence,
    )


def _evidence(answer: Answer) -> dict[str, Any]:
    moved, noise = answer.variant.moved or 0.0, answer.variant.noise
    figures = {"moved": moved, "noise": noise, "ratio": ratio(moved, noise)}
    return plain(figures) | answer.where


def _instead(runs: PaddedRuns, call: CallRecord) -> str:
    """What to use instead of the call in which real positions first moved."""
    if not call.has_children or of_a_library(call.layer):
        for kind in type(call.layer).__mro__:
            if kind.__name__ in advice.INSTEAD:
                return advice.INSTEAD[kind.__name__]
            if kind.__name__ in advice.OVER_WINDOWS:
                before = "Set padding to zero before it, or pool over time"
                return f"{before}: {advice.POOLING}."
    use = (
        "masked_softmax or masked_attention for scores, masked_mean or masked_sum for "
        "reductions over time"
    )
    if not any(runs.axes[value].time for value in call.outputs):
        use = f"masked_mean, masked_max or masked_sum; or pool with {advice.POOLING}"
    return f"Use the mask (True = real) there: keras_padsafe.ops.{use}."
