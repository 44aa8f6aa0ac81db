"""What a batch loses on its way forward: each birth, its cause and where it crosses."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite import experiments
from keras_padsafe.audit.nonfinite.batch_run import BatchRun, unrolled
from keras_padsafe.audit.nonfinite.births import (
    Spoils,
    let_through,
    spoils_answers,
)
from keras_padsafe.audit.nonfinite.cause import (
    DIVERGED,
    DIVISION_BY_ZERO,
    UNDEFINED,
    Cause,
    bad_id,
    bad_weight,
    empty_row,
)
from keras_padsafe.audit.nonfinite.own_code import OwnCode, own_code
from keras_padsafe.audit.nonfinite.wording import joined, nonfinite_finding
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    all_finite,
    bad_values,
    floats_in,
    is_finite,
    is_float,
    largest_of,
    replace_nonfinite,
    to_numpy,
)
from keras_padsafe.audit.run.look import Look, Noted
from keras_padsafe.audit.run.model_runs import Values
from keras_padsafe.audit.run.watch import Change, Observer, Spot, changing, tensors_in
from keras_padsafe.backends.running import double_precision


class Forward:
    """A settled run of a batch; by default births count that spoil outputs or loss."""

    def __init__(self, run: BatchRun, look: Look, spoils: Spoils | None = None) -> None:
        self._run, self._look = run, look
        self._spoils = spoils or spoils_answers(run)
        self.births = list(look.noted.values())

    def that_count(self) -> tuple[list[Finding], "Forward"]:
        """What the births are that count, and the last run that was looked at.

        Where code put infinities that no operation made, as a mask of scores does, not
        those are at fault, but what cannot bear them; another run lets them be.
        """
        births = self._births_that_count()
        meant = {birth.spot for birth in births if self._is_meant(birth)}
        found = self.findings([b for b in births if b.spot not in meant])
        if not meant:
            return found, self
        again = settled(self._run, self._spoils, meant)
        known = {birth.spot for birth in births}
        more = [b for b in again._births_that_count() if b.spot not in known]
        places = {(finding.code, finding.place) for finding in found}
        found += [f for f in again.findings(more) if (f.code, f.place) not in places]
        return found, again

    def findings(self, births: list[Noted]) -> list[Finding]:
        """What some births are."""
        loops = [loop for birth in births for loop in _loops_at(birth)]
        if loops:
            with unrolled(loops):
                again = settled(self._run, self._spoils)
                found, again = again.that_count()
                return found or again.findings(again.births[:1])
        by_place: dict[tuple[str, str], Finding] = {}
        for number, birth in enumerate(births):
            # It may have to do with the zeros put in for earlier ones alone.
            noisy = changing([b.spot for b in births[:number]], experiments.noisy)
            if number and all_finite(self._run.kept(birth.spot, noisy)):
                continue
            finding = self._finding(birth)
            place = finding.code, finding.place
            if place in by_place:
                by_place[place] = joined(by_place[place], finding)
            # All that comes after weights that diverged is lost for the same reason.
            elif finding.code != "PS509" or all(c != "PS509" for c, _ in by_place):
                by_place[place] = finding
        return [*by_place.values()]

    def _births_that_count(self) -> list[Noted]:
        """Those that alone spoil something, in order."""
        births, meant = self.births, bool(self._look.meant)
        return [b for b in births if self._spoils(let_through(b, births), meant)]

    def raised(self) -> Finding | None:
        """What an exception in a model has to do with ids, if it has."""
        for call in reversed(self._look.unfinished):
            cause = bad_id(call)
            if cause is not None:
                return nonfinite_finding(cause, call.path, "forward")
        return None

    def _is_meant(self, birth: Noted) -> bool:
        if birth.is_input or birth.lost.has_nan or _loops_at(birth):
            return False
        if self._weight_elsewhere(birth):
            return False
        code = self._own_code(birth)
        # Calls in a loop that was staged before are seen one by one now.
        whole = code.inner == len(self._look.children(birth.scope))
        return whole and code.passes and not code.made

    def _finding(self, birth: Noted) -> Finding:
        crossed = self._crossing(birth)
        if birth.is_input:
            return self._of_input(birth, crossed)
        cause = self._cause(birth)
        place, bad, more = birth.place, birth.lost, {}
        if birth.moment == "enter" and birth.before:
            more["after"] = birth.before[-1].path
        above = birth.call.parent
        if above is not None and isinstance(above.layer, keras.layers.RNN):
            beside = birth.look.children(above)
            earlier = [c for c in beside if c.index < birth.call.index]
            more["step"] = sum(c.layer is birth.call.layer for c in earlier)
        if crossed is not None:
            more["crosses_at"] = crossed[0]
        return nonfinite_finding(cause, place, "forward", bad, more)

    def _of_input(self, birth: Noted, crossed: tuple[str, BadValues] | None) -> Finding:
        because, more = "the batch itself holds that value", {}
        code, place, bad = "PS504", birth.place, birth.lost
        names = _lost_inputs(self._run.model, self._run.x)
        if names:
            because, more = f"{because}, in {', '.join(names)}", {"inputs": names}
        if crossed is not None:
            because = (
                "it comes from padded positions of the input, which the mask should "
                "hide"
            )
            more |= {"input": bad.evidence()}
            code, (place, bad) = "PS506", crossed
        return nonfinite_finding(Cause(code, because), place, "forward", bad, more)

    def _alone(self, birth: Noted) -> Observer:
        """Zeros for all births but one."""
        spots = [other.spot for other in self.births if other.spot != birth.spot]
        return changing(spots, replace_nonfinite)

    def _own_code(self, birth: Noted) -> OwnCode:
        alone, scope = self._alone(birth), birth.scope.index
        return own_code(self._run, scope, alone, until=birth.spot)

    # Where it goes.

    def _crossing(self, birth: Noted) -> tuple[str, BadValues] | None:
        """Where a birth at padded positions first reaches a real one.

        `None` if it is at real positions already, or never leaves the padded ones.
        """
        known, look = self._look.masks, Look()
        _, loss = self._run(self._alone(birth), look)
        shape = birth.lost.bad.shape
        if birth.is_input:
            # A layer may read the mask off the NaN itself, which zeros took away.
            known = look.masks
            masks = [m for m in known.all() if m.shape == shape[:2] and len(shape) > 2]
        elif birth.lost.mask is not None:
            masks = [birth.lost.mask]
        else:
            given = [t for t in floats_in(birth.call.args) if tuple(t.shape) == shape]
            masks = [mask for t in given if (mask := known.of(t)) is not None]
        if not masks or not replace(birth.lost, mask=masks[0]).only_in_padding:
            return None
        for noted in look.noted.values():
            for bad in noted.bad:
                mask = known.like(bad.bad.shape) if bad.mask is None else bad.mask
                if noted.is_input or (mask is None and bad.bad.ndim > 2):
                    continue
                bad = replace(bad, mask=mask)
                if not bad.only_in_padding:
                    return noted.place, bad
        lost = None if loss is None else bad_values(loss, None)
        return ("loss", lost) if lost else None

    # Why it happens.

    def _cause(self, birth: Noted) -> Cause:
        return (
            bad_id(birth.call)
            or bad_weight(birth.variables, self._run.trainable)
            or self._weight_elsewhere(birth)
            or empty_row(birth)
            or self._by_experiment(birth)
        )

    def _weight_elsewhere(self, birth: Noted) -> Cause | None:
        """Whether a weight of another layer makes it, as a tied head uses a table."""
        every = self._run.model.variables
        bad = [v for v in every if is_float(v) and not is_finite(v.value)]
        mended = [(v, replace_nonfinite(v.value)) for v in bad]
        if not bad or not self._finite_with(birth, lambda given: given, mended):
            return None
        return bad_weight(bad, self._run.trainable)

    def _by_experiment(self, birth: Noted) -> Cause:
        bad, made = birth.lost, self._own_code(birth).cause
        if made is not None and made.code == "PS503":
            return self._too_large(birth, made.evidence)
        if made is not None and made.code in ("PS501", "PS508"):
            empty = self._rows_of_zeros(birth)
            because = "these rows of the batch are all zeros, like an empty row"
            rows = {"empty_rows": empty[:8]}
            return Cause("PS501", because, rows) if empty else made
        if made is not None:
            return made
        if self._finite_when_wider(birth):
            return self._too_large(birth)
        if self._finite_with(birth, experiments.jittered):
            return DIVISION_BY_ZERO
        floats, moved = filter(is_float, birth.variables), experiments.without_zeros
        weights = [(v, moved(v.value)) for v in floats]
        if weights and self._finite_with(birth, moved, weights):
            return DIVISION_BY_ZERO
        if bad.has_inf and self._finite_with(birth, experiments.shrunk):
            return self._too_large(birth)
        if bad.has_inf and not bad.has_nan:
            return DIVISION_BY_ZERO
        return UNDEFINED

    def _finite_with(self, birth: Noted, change: Change, values: Values = ()) -> bool:
        """Whether a birth does not happen once what feeds it is changed."""
        changed = self._alone(birth), changing(birth.feeds, change)
        return all_finite(self._run.kept(birth.spot, *changed, variables=values))

    def _finite_when_wider(self, birth: Noted) -> bool:
        """Whether a birth does not happen if it is computed in float64."""
        try:
            with double_precision(), experiments.in_float64(birth.scope.layer):
                return self._finite_with(birth, experiments.widened)
        except Exception:
            # Code that mixes in float32 of its own cannot be widened; that shows
            # nothing.
            return False

    def _too_large(self, birth: Noted, more: Mapping[str, Any] | None = None) -> Cause:
        inputs, given = largest_of(birth.call.inputs), largest_of(self._run.x)
        weights = largest_of([v.value for v in birth.variables])
        evidence = {"largest_input": inputs, "largest_weight": weights, **(more or {})}
        # Weights that diverged everywhere make large inputs too, but no large batch.
        if weights > DIVERGED and weights >= min(inputs, given):
            because = f"its weights have grown to {weights:.3g}"
            return Cause("PS509", because, evidence)
        because = f"the result is too large for {birth.lost.dtype}"
        return Cause("PS503", because, evidence)

    def _rows_of_zeros(self, birth: Noted) -> list[int]:
        """The bad rows, if ids or a mask of the batch are zero throughout there."""
        lost = birth.lost
        bad, count = lost.own_rows, len(lost.bad) if lost.bad.ndim else 0
        for tensor in tensors_in(self._run.x):
            if count in np.cumprod(tensor.shape)[:-1]:
                array = to_numpy(tensor)
                if not is_float(tensor) or np.isin(array, (0, 1)).all():
                    rows = array.reshape(count, -1).astype(bool)
                    if len(bad) and not rows[bad].any():
                        return lost.rows.tolist()
        return []


def settled(run: BatchRun, spoils: Spoils, meant: Collection[Spot] = ()) -> Forward:
    """A run with zeros for what is not finite, but infinities where they are meant."""
    look = Look(settle=True, meant=meant)
    run(look)
    return Forward(run, look, spoils)


def _lost_inputs(model: keras.layers.Layer, x: Any) -> list[str]:
    """Which inputs of several hold what is not finite."""
    leaves = keras.tree.flatten_with_path(x)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if isinstance(x, dict) or len(names) != len(leaves):
        names = ["/".join(map(str, path)) for path, _ in leaves]
    pairs = zip(names, leaves, strict=True) if len(leaves) > 1 else ()
    return [name for name, (_, leaf) in pairs if not all_finite(leaf)]


def _loops_at(birth: Noted) -> list[keras.layers.RNN]:
    """The recurrent layer that a birth is in, if its steps were not seen one by one."""
    is_leaf = birth.moment == "leave" and not birth.before
    at = [birth.call.layer] if is_leaf else []
    at += [birth.call.parent.layer] if birth.call.parent else []
    return [x for x in at if isinstance(x, keras.layers.RNN) and not x.unroll]
