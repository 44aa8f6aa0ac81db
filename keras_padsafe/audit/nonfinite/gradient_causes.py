"""Why a gradient is not finite though the loss is."""

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.causes import Cause, diverged, of_operation
from keras_padsafe.audit.nonfinite.experiment import JITTER, jittered, jittered_back
from keras_padsafe.audit.nonfinite.first_primitive import (
    OwnCode,
    agreed,
    own_code,
    own_code_of,
)
from keras_padsafe.audit.nonfinite.gradient_births import (
    ForwardRecord,
    GradientBirth,
    backward,
)
from keras_padsafe.audit.run.bad_values import BadValues, is_float, to_numpy
from keras_padsafe.audit.run.intervene import Intervene, Key
from keras_padsafe.audit.run.watch import Observer

# A value that moves by more than this many times the noise put in has a pole there.
_POLE = 100.0

# What overflows in float16 vanishes by the second, which float32 may need.
_SCALES = (2.0**-12, 2.0**-64)


def gradient_cause(run: BatchRun, record: ForwardRecord, birth: GradientBirth) -> Cause:
    """Tells why gradients are lost, by what flowed forward and by experiments."""
    behind_mask = _nan_behind_mask(record, birth)
    if behind_mask is not None:
        because = (
            "the mask hides a NaN from the loss, and 0 * NaN is NaN on the way back"
        )
        return Cause("PS506", because, {"hidden": behind_mask.evidence()})
    if any(backward(run, record, scale=scale).all_finite for scale in _SCALES):
        because = "the gradient does not fit into its dtype"
        return diverged(run) or Cause("PS503", because)
    code = _own_code(run, birth)
    made = agreed(code)
    if code.made and code.chooses:
        because = "`where` hides a value that is not finite, and 0 * inf is NaN"
        return Cause("PS507", because, {"operation": code.made[0].name})
    if made is not None:
        return of_operation(made)
    if code.ran and not code.chooses:
        because = "the derivative at exactly zero is a division by zero"
        return Cause("PS508", because)
    changes = dict.fromkeys(birth.feeds, jittered)
    if backward(run, record, changes).all_finite and not _has_pole(run, birth):
        because = "the derivative at exactly zero is a division by zero"
        return Cause("PS508", because)
    because = (
        "a branch that `where` does not take has an infinite derivative, and "
        "0 * inf is NaN"
    )
    return Cause("PS507", because)


def _own_code(run: BatchRun, birth: GradientBirth) -> OwnCode:
    if birth.call is not None:
        return own_code(run, birth.call.index, {})
    if run.loss is None:
        return OwnCode(-1, {})
    outputs, _ = run(Observer())
    return own_code_of(lambda: run.loss_of(outputs))


def _nan_behind_mask(record: ForwardRecord, birth: GradientBirth) -> BadValues | None:
    around: list[Key] = []
    call = birth.call
    while call is not None:
        around.append((call.index, "enter"))
        call = call.parent
    for key in [*sorted(birth.feeds), *around]:
        bad = record.bad.get(key)
        if bad is not None and bad.only_in_padding:
            return bad
    return None


def _has_pole(run: BatchRun, birth: GradientBirth) -> bool:
    """Whether a little noise moves the outputs far: a guarded 1/0 became 1/noise."""
    key: Key = (birth.call.index if birth.call else 0, "leave")
    kept = []
    for change in (lambda structure: structure, jittered, jittered_back):
        observer = Intervene(dict.fromkeys(birth.feeds, change), keep=key)
        run(observer)
        kept.append(observer.kept)
    still, *moved = kept
    pairs = [pair for other in moved for pair in zip(still, other, strict=True)]
    return any(
        float(abs(to_numpy(after) - to_numpy(before)).max(initial=0.0)) > _POLE * JITTER
        for before, after in pairs
        if is_float(before)
    )
