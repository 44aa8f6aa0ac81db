"""One finding for each cause, whatever the number of variants that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_padsafe.audit.codes import CODES
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.padding.padding_answers import CONTENT, Answer, Answers
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


def find_causes(answers: Answers, by_name: Mapping[str, Answer]) -> list[Finding]:
    """Groups the variants in which the answer moved by where that began."""
    causes: dict[str, _Cause] = {}
    shown = ("leak", "moved")
    leaking = [n for n, a in by_name.items() if a.variant.verdict in shown]
    content = [name for name in leaking if by_name[name].variant.code == "PS402"]
    if content:
        for cause in _content_causes(answers, by_name, content):
            causes.setdefault(cause.place, cause).names += content
    for name in leaking:
        answer = by_name[name]
        if name in content:
            continue
        place = answer.variant.first or answers.runs.runs.model.name
        causes.setdefault(place, _Cause(answer.key, place)).names.append(name)
    kept: list[_Cause] = []
    for cause in _in_order(answers, causes):
        unmasked = _unmasked(answers, cause)
        same = [other for other in kept if unmasked & _unmasked(answers, other)]
        if same:
            same[0].also.append(cause.place)
        else:
            kept.append(cause)
    return [_finding(answers, by_name, cause) for cause in kept]


def _unmasked(answers: Answers, cause: _Cause) -> set[int]:
    """The padded tensors without a mask that go into a call which would use one.

    Two calls that lack the mask of one tensor are one fault.
    """
    call = answers.runs.record[cause.key] if cause.key else None
    if (
        call is None
        or call.used
        or not any("mask" in n for n in parameters(call.layer))
    ):
        return set()
    axes = answers.runs.axes
    padded = [v for v in call.inputs if v.is_float and axes[v].padded is not None]
    return {value.tensor for value in padded if value.mask is None}


def _content_causes(
    answers: Answers, by_name: Mapping[str, Answer], leaking: list[str]
) -> list[_Cause]:
    """The leaks, each found while those before it are held still."""
    kinds: list[Kind] = [CONTENT[name] for name in leaking if name in CONTENT]
    if not kinds:
        return [_faint_cause(answers, by_name)]
    causes = [
        _Cause(key, answers.place(found, key))
        for key, found in answers.runs.leaks(kinds[0])
    ]
    return causes or [_Cause(None, answers.runs.runs.model.name)]


def _faint_cause(answers: Answers, by_name: Mapping[str, Answer]) -> _Cause:
    """Where the bits first differ: the gradient says that it is no accident."""
    for name in ("random content", "large content", "other ids"):
        answer = by_name[name]
        key = answers.faintest_mover(answer)
        if key is not None and answer.found is not None:
            return _Cause(key, answers.place(answer.found, key))
    return _Cause(None, answers.runs.runs.model.name)


def _in_order(answers: Answers, causes: Mapping[str, _Cause]) -> list[_Cause]:
    order = {key: n for n, key in enumerate(answers.runs.record)}
    last = len(order)

    def rank(cause: _Cause) -> tuple[bool, int]:
        position = last if cause.key is None else order.get(cause.key, last)
        return cause.names == ["other side"], position

    return sorted(causes.values(), key=rank)


def _finding(answers: Answers, by_name: Mapping[str, Answer], cause: _Cause) -> Finding:
    variants = {name: by_name[name] for name in cause.names}
    code = _code(by_name, cause.names)
    call = answers.runs.record.get(cause.key) if cause.key else None
    kind = type(call.layer).__name__ if call else "the model"
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
    shown = min(cause.names, key=_telling)
    worst = by_name[shown].variant
    return Finding(
        code,
        path,
        f"{CODES[code].title[0].upper()}{CODES[code].title[1:]}: real positions "
        f"first change in {kind}{where} ({', '.join(cause.names)}). The output of "
        f"the model changes by {worst.moved:.3g} with {shown}; rounding alone "
        f"changes it by {worst.noise:.3g}.{mask}",
        _fix(code, cause, _instead(answers, call) if call else ""),
        evidence,
    )


def _code(by_name: Mapping[str, Answer], names: list[str]) -> str:
    if "alone" in names:
        # A row without its padding may have been taken alone for it.
        names = [name for name in names if name != "less padding"]
    return min((by_name[name].variant.code for name in names), key=_ORDER.index)


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
    variant = answer.variant
    moved = variant.moved if variant.moved is not None else 0.0
    found: dict[str, Any] = {
        "moved": "inf" if np.isinf(moved) else moved,
        "noise": variant.noise,
        "ratio": "inf" if _share(answer) == np.inf else _share(answer),
    }
    return found | dict(answer.where or {})


def _share(answer: Answer) -> float:
    moved, noise = answer.variant.moved or 0.0, answer.variant.noise
    return moved / noise if noise else float("inf")


def _telling(name: str) -> bool:
    """Figures of ordinary content say more than those of a gradient or an extreme."""
    return name in ("large content", "gradient")


def _instead(answers: Answers, call: CallRecord) -> str:
    """What to use instead of the call in which real positions first moved."""
    if not call.has_children or of_a_library(call.layer):
        for kind in type(call.layer).__mro__:
            if kind.__name__ in advice.INSTEAD:
                return advice.INSTEAD[kind.__name__]
            if kind.__name__ in advice.OVER_WINDOWS:
                before = "Set padding to zero before it, or pool over time"
                return f"{before}: {advice.POOLING}."
    if not any(answers.runs.axes[value].time for value in call.outputs):
        return (
            "Use the mask (True = real) there: keras_padsafe.ops.masked_mean, "
            f"masked_max or masked_sum; or pool with {advice.POOLING}."
        )
    return (
        "Use the mask (True = real) there: keras_padsafe.ops.masked_softmax or "
        "masked_attention for scores, masked_mean or masked_sum for reductions over "
        "time."
    )
