"""One finding for each cause, whatever the number of variants that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.audit.audit_report import plain
from keras_padsafe.audit.codes import CODES
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.padding.padding_answers import (
    CONTENT,
    Answer,
    Answers,
    ratio,
)
from keras_padsafe.audit.padding.said import said
from keras_padsafe.audit.padding_report import PaddingVariant
from keras_padsafe.audit.run.leaks import first_mover, place_of
from keras_padsafe.audit.run.poison import Kind
from keras_padsafe.audit.run.record_calls import CallRecord, Key, parameters
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.facts import advice

# What a cause is called if it shows in several ways: the most telling first.
_ORDER = ("PS402", "PS401", "PS404", "PS403")


@dataclass(eq=False)
class _Cause:
    key: Key | None
    place: str
    names: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)


def find_causes(answers: Answers) -> list[Finding]:
    """Groups the variants in which the answer moved by where that began."""
    causes: dict[str, _Cause] = {}
    by_name = answers.by_name
    shown = ("leak", "moved")
    leaking = [n for n, a in by_name.items() if a.variant.verdict in shown]
    content = [name for name in leaking if by_name[name].variant.code == "PS402"]
    if content:
        for cause in _content_causes(answers, content):
            causes.setdefault(cause.place, cause).names += content
    for name in leaking:
        if name not in content:
            answer = by_name[name]
            place = answer.variant.first or answers.runs.runs.model.name
            causes.setdefault(place, _Cause(answer.key, place)).names.append(name)
    order = [*answers.runs.record, None]
    kept: list[_Cause] = []
    for cause in sorted(
        causes.values(), key=lambda c: (c.names == ["other side"], order.index(c.key))
    ):
        unmasked = _unmasked(answers, cause)
        same = [other for other in kept if unmasked & _unmasked(answers, other)]
        if same:
            same[0].also.append(cause.place)
        else:
            kept.append(cause)
    return [_finding(answers, cause) for cause in kept]


def _unmasked(answers: Answers, cause: _Cause) -> set[int]:
    """The padded tensors without a mask that go into a call which would use one.

    Two calls that lack the mask of one tensor are one fault.
    """
    if cause.key is None:
        return set()
    call = answers.runs.record[cause.key]
    if call.used or not any("mask" in name for name in parameters(call.layer)):
        return set()
    axes = answers.runs.axes
    padded = [v for v in call.inputs if v.is_float and axes[v].padded is not None]
    return {value.tensor for value in padded if value.mask is None}


def _content_causes(answers: Answers, leaking: list[str]) -> list[_Cause]:
    """The leaks, each found while those before it are held still."""
    runs = answers.runs
    kinds: list[Kind] = [CONTENT[name] for name in leaking if name in CONTENT]
    if kinds:
        leaks = runs.leaks(kinds[0])
        causes = [_Cause(key, place_of(runs, moved, key)) for key, moved in leaks]
        return causes or [_Cause(None, runs.runs.model.name)]
    # Where the bits first differ: the gradient says that it is no accident.
    for name in ("random content", "large content", "other ids"):
        moved = answers.by_name[name].moved
        key = first_mover(runs, moved, multiple=0.0)
        if key is not None:
            return [_Cause(key, place_of(runs, moved, key))]
    return [_Cause(None, runs.runs.model.name)]


def _finding(answers: Answers, cause: _Cause) -> Finding:
    variants = {name: answers.by_name[name] for name in cause.names}
    code = _code(variants)
    call = answers.runs.record.get(cause.key) if cause.key else None
    kind = call.class_name if call else "the model"
    path = call.path if call else cause.place
    where = cause.place.removeprefix(path)  # ", between a and b" in code of one's own
    evidence: dict[str, Any] = {
        "variants": {name: _evidence(answer) for name, answer in variants.items()}
    }
    mask = ""
    if call is not None:
        arrived = bool(call.used) or any(v.mask is not None for v in call.inputs)
        evidence |= {"class": kind, "mask_arrived": arrived}
        timed = any(answers.runs.axes[value].time for value in call.inputs)
        mask = "" if arrived or not timed else " No mask reaches it."
    if cause.also:
        evidence["also"] = cause.also
        mask += f" It does not reach {', '.join(cause.also)} either."
    # Figures of ordinary content say more than those of a gradient or an extreme.
    shown = min(cause.names, key=("large content", "gradient").__contains__)
    worst = variants[shown].variant
    return Finding(
        code,
        path,
        f"{CODES[code].title[0].upper()}{CODES[code].title[1:]}: real positions "
        f"first change in {kind}{where}, with {', '.join(map(said, cause.names))}. "
        f"{_measured(shown, worst)}; rounding alone changes it by "
        f"{worst.noise:.3g}.{mask}",
        _fix(code, cause, _instead(answers, call) if call else ""),
        evidence,
    )


def _code(variants: Mapping[str, Answer]) -> str:
    # A row without its padding may have been taken alone for it.
    doubtful = "less padding" if "alone" in variants else ""
    codes = {a.variant.code for name, a in variants.items() if name != doubtful}
    return min(codes, key=_ORDER.index)


def _fix(code: str, cause: _Cause, instead: str) -> str:
    if code == "PS403":
        return (
            "A model that counts positions does this. Pad on the side that it was "
            "trained with."
        )
    if code == "PS404":
        return f"No row may depend on another row. {instead}".strip()
    return instead or "Leave padding out of every sum, mean and maximum over time."


def _evidence(answer: Answer) -> dict[str, Any]:
    moved, noise = answer.variant.moved or 0.0, answer.variant.noise
    figures = {"moved": moved, "noise": noise, "ratio": ratio(moved, noise)}
    return plain(figures) | answer.where


def _measured(name: str, variant: PaddingVariant) -> str:
    if name == "gradient":
        share = f"{variant.moved:.3g} times that at real positions"
        return f"The gradient at padded positions is {share}"
    return f"The output of the model changes by {variant.moved:.3g} with {said(name)}"


def _instead(answers: Answers, call: CallRecord) -> str:
    """What to use instead of the call in which real positions first moved."""
    if not call.has_children or of_a_library(call.layer):
        for kind in type(call.layer).__mro__:
            if kind.__name__ in advice.INSTEAD:
                return advice.INSTEAD[kind.__name__]
            if kind.__name__ in advice.OVER_WINDOWS:
                before = "Set padding to zero before it, or pool over time"
                return f"{before}: {advice.POOLING}."
    use = "Use the mask (True = real) there: keras_padsafe.ops."
    if not any(answers.runs.axes[value].time for value in call.outputs):
        return (
            f"{use}masked_mean, masked_max or masked_sum; or pool with "
            f"{advice.POOLING}."
        )
    return (
        f"{use}masked_softmax or masked_attention for scores, masked_mean or "
        "masked_sum for reductions over time."
    )
