"""The search behind `find_nonfinite`: forward, then the loss, then backward."""

from typing import Any

import keras

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.births import Birth, Scan, births_that_count
from keras_padsafe.audit.nonfinite.causes import (
    NOTHING_LEFT,
    Cause,
    bad_id,
    bad_weight,
    cause_of,
)
from keras_padsafe.audit.nonfinite.crossing import Crossing, crossing
from keras_padsafe.audit.nonfinite.gradient_births import (
    ForwardRecord,
    backward,
    gradient_birth,
)
from keras_padsafe.audit.nonfinite.gradient_causes import gradient_cause
from keras_padsafe.audit.nonfinite.loss_cause import loss_finding
from keras_padsafe.audit.nonfinite.nonfinite_finding import joined, nonfinite_finding
from keras_padsafe.audit.nonfinite.nothing_left import nothing_left
from keras_padsafe.audit.nonfinite.tokens import Tokens
from keras_padsafe.audit.nonfinite.unrolled import unrolled
from keras_padsafe.audit.run.bad_values import (
    all_finite,
    is_finite,
    replace_by_noise,
)
from keras_padsafe.audit.run.intervene import Intervene
from keras_padsafe.audit.run.watch import Observer, watch


def search(run: BatchRun, tokens: Tokens) -> list[Finding]:
    """Every place where a value of the batch, or else a gradient, is lost."""
    scan = Scan()
    try:
        if not run.model.built:
            with watch(run.model, scan):
                run.model(run.x)
            scan = Scan()
        outputs, loss = run(scan)
    except Exception:
        raised = _raised(scan, tokens)
        if raised is None:
            raise
        return [raised]
    births = births_that_count(run, scan.births)
    if births:
        return _forward(run, scan, births, tokens)
    if scan.births:
        outputs, loss = run(Observer())
    if not all_finite(outputs):
        # Each alone does no harm, so that all of them together do.
        return _forward(run, scan, scan.births[:1], tokens)
    if loss is not None and not is_finite(loss):
        return [loss_finding(run, outputs, tokens)]
    found = _backward(run, tokens)
    # A kernel may make zeros of the NaN of a weight, but none of its gradient.
    spoilt = [birth for birth in scan.births if bad_weight(run.model, birth.variables)]
    return _forward(run, scan, spoilt, tokens) if found and spoilt else found


def _forward(
    run: BatchRun, scan: Scan, births: list[Birth], tokens: Tokens
) -> list[Finding]:
    loops = [loop for birth in births for loop in _loops_at(birth)]
    if loops:
        with unrolled(loops):
            scan = Scan()
            run(scan)
            births = births_that_count(run, scan.births) or scan.births[:1]
            return _forward(run, scan, births, tokens)
    found: list[Finding] = []
    for number, birth in enumerate(births):
        if number and not _happens_anyway(run, birth, births[:number]):
            continue
        finding = _of_birth(run, scan, birth, tokens)
        same = [f for f in found if (f.code, f.place) == (finding.code, finding.place)]
        if same:
            found[found.index(same[0])] = joined(same[0], finding, tokens)
        # All that comes after weights that diverged is lost for the same reason.
        elif not any(f.code == finding.code == "PS509" for f in found):
            found.append(finding)
    return found


def _happens_anyway(run: BatchRun, birth: Birth, earlier: list[Birth]) -> bool:
    """Whether a birth has nothing to do with the zeros put in for earlier ones."""
    changes = dict.fromkeys([b.key for b in earlier], replace_by_noise)
    experiment = Intervene(changes, keep=birth.key)
    run(experiment)
    return not all_finite(experiment.kept)


def _loops_at(birth: Birth) -> list[keras.layers.RNN]:
    """The recurrent layer that a birth is in, if its steps were not seen one by one."""
    at = [birth.call.layer] if birth.is_leaf else []
    at += [birth.call.parent.layer] if birth.call.parent else []
    return [x for x in at if isinstance(x, keras.layers.RNN) and not x.unroll]


def _of_birth(run: BatchRun, scan: Scan, birth: Birth, tokens: Tokens) -> Finding:
    others = {other.key for other in scan.births} - {birth.key}
    crossed = crossing(run, scan, birth)
    if birth.is_input:
        return _of_input(birth, crossed, tokens)
    cause = cause_of(run, birth, others)
    left = nothing_left(run, birth, others) if cause.code != "PS505" else None
    if left is not None:
        cause = Cause("PS501", NOTHING_LEFT)
        return nonfinite_finding(cause, left.place, "forward", left.bad, tokens)
    more: dict[str, Any] = {}
    if birth.moment == "enter" and birth.after is not None:
        more["after"] = birth.after
    if birth.call.parent and isinstance(birth.call.parent.layer, keras.layers.RNN):
        more["step"] = birth.step
    if crossed is not None:
        more["crosses_at"] = crossed.place
    return nonfinite_finding(cause, birth.place, "forward", birth.bad, tokens, more)


def _of_input(birth: Birth, crossed: Crossing | None, tokens: Tokens) -> Finding:
    if crossed is None:
        cause = Cause("PS504", "the batch itself holds it")
        return nonfinite_finding(cause, "input", "forward", birth.bad, tokens)
    because = "it comes from padded positions of the input, which the mask should hide"
    more = {"input": birth.bad.evidence()}
    cause = Cause("PS506", because)
    return nonfinite_finding(cause, crossed.place, "forward", crossed.bad, tokens, more)


def _raised(scan: Scan, tokens: Tokens) -> Finding | None:
    """What an exception in a model has to do with ids, if it has."""
    for call in reversed(scan.unfinished):
        cause = bad_id(call)
        if cause is not None:
            return nonfinite_finding(cause, call.path, "forward", None, tokens)
    return None


def _backward(run: BatchRun, tokens: Tokens) -> list[Finding]:
    record = ForwardRecord()
    run(record)
    flowing = backward(run, record)
    # What reaches no weight does no harm: `fit` never sees it.
    birth = gradient_birth(record, flowing) if flowing.bad_weights else None
    if birth is None:
        return []
    if birth.call is not None:
        layer = birth.call.layer
        if isinstance(layer, keras.layers.RNN) and not layer.unroll:
            with unrolled([layer]):
                return _backward(run, tokens)
    more: dict[str, Any] = {}
    if birth.weights:
        more["weights"] = list(birth.weights)
    if birth.after is not None:
        more["after"] = birth.after
    cause = gradient_cause(run, record, birth)
    return [nonfinite_finding(cause, birth.place, "backward", birth.bad, tokens, more)]
