"""Where gradients stop being finite though the loss is, and why.

Zeros are added to whatever enters and leaves each call. The gradient by such a zero is
what flows back there, so that the call at fault is the one that is handed finite
gradients and hands on others, or gives them to its weights.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.batch_run import BatchRun, unrolled
from keras_padsafe.audit.nonfinite.births import spoils_spots
from keras_padsafe.audit.nonfinite.cause import Cause, diverged
from keras_padsafe.audit.nonfinite.experiments import jittered
from keras_padsafe.audit.nonfinite.forward import settled
from keras_padsafe.audit.nonfinite.own_code import OwnCode, own_code
from keras_padsafe.audit.nonfinite.wording import nonfinite_finding
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    bad_values,
    floats_in,
    is_finite,
    is_float,
    of_tensors,
)
from keras_padsafe.audit.run.look import Look, Noted
from keras_padsafe.audit.run.watch import LayerCall, Moment, Observer, Spot
from keras_padsafe.backends.running import gradients
from keras_padsafe.types import Tensor

# What overflows in float16 vanishes by the second, which float32 may need.
_SCALES = (2.0**-12, 2.0**-64)


@dataclass(frozen=True)
class _Flowing:
    """What flows back that is not finite, by spot, and the weights that get such."""

    lost: dict[Spot, BadValues]
    bad_weights: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.bad_weights)


@dataclass(frozen=True)
class _Fault:
    """The call at which gradients stop being finite; `None` is the loss itself."""

    place: str
    call: LayerCall | None
    bad: BadValues | None
    weights: tuple[str, ...]
    after: str | None
    feeds: frozenset[Spot]


class Backward:
    """The gradients of a batch whose forward run is finite."""

    def __init__(self, run: BatchRun) -> None:
        self._run = run
        self._look = Look()
        run(self._look)

    def findings(self) -> list[Finding]:
        """Where gradients are lost, if they are."""
        flowing = self._flowing()
        # What reaches no weight does no harm: `fit` never sees it.
        if not flowing.bad_weights:
            return []
        fault = self._fault(flowing)
        loops = [fault.call.layer] if fault.call else []
        loops = [x for x in loops if isinstance(x, keras.layers.RNN) and not x.unroll]
        if loops:
            with unrolled(loops):
                return Backward(self._run).findings()
        made_by = self._births_behind(fault)
        if made_by:
            return made_by
        more = {"weights": list(fault.weights), "after": fault.after}
        more = {name: value for name, value in more.items() if value}
        cause = self._cause(fault)
        return [nonfinite_finding(cause, fault.place, "backward", fault.bad, more)]

    def _flowing(self, jittering: Container[Spot] = (), scale: float = 1.0) -> _Flowing:
        """Differentiates the loss, or without targets a weighted sum of the outputs."""
        every = self._look.flows
        flat = [flow for flows in every.values() for flow in flows]
        taps = [keras.ops.zeros(flow.bad.shape, flow.dtype) for flow in flat]
        variables = [v for v in self._run.trainable if is_float(v)]

        def scalar(taps: list[Tensor], values: list[Tensor]) -> Tensor:
            outputs, loss = self._run(
                _add(self._by_spot(taps), jittering),
                only={call.key for call in self._look.calls.values()},
                variables=list(zip(variables, values, strict=True)),
            )
            if loss is None:
                loss = _weighted_sum(outputs, every[0, "leave"])
            return keras.ops.cast(loss, "float32") * scale

        by_taps, by_values = gradients(scalar, taps, variables)
        gained = zip(variables, by_values, strict=True)
        weights = [v.path for v, g in gained if g is not None and not is_finite(g)]
        lost: dict[Spot, BadValues] = {}
        for spot, tensors in self._by_spot(by_taps).items():
            pairs = zip(tensors, every[spot], strict=True)
            found = [bad_values(t, f.mask, f.each) for t, f in pairs if t is not None]
            if any(found):
                lost[spot] = next(filter(None, found))
        return _Flowing(lost, tuple(weights))

    def _by_spot(self, tensors: list[Any]) -> dict[Spot, list[Any]]:
        rest = iter(tensors)
        every = self._look.flows.items()
        return {spot: [next(rest) for _ in flows] for spot, flows in every}

    def _fault(self, flowing: _Flowing) -> _Fault:
        """The first call, on the way back, at which gradients stop being finite."""
        for call in sorted(self._look.calls.values(), key=lambda call: -call.index):
            if (call.index, "leave") in flowing.lost:
                continue
            weights = self._bad_own_weights(call, flowing)
            bad = flowing.lost.get((call.index, "enter"))
            if bad or weights:
                inner = self._look.children(call)
                lost = [c.path for c in inner if (c.index, "leave") in flowing.lost]
                feeds: set[Spot] = {(c.index, "leave") for c in inner}
                feeds.add((call.index, "enter"))
                after = lost[-1] if lost else None
                return _Fault(call.path, call, bad, weights, after, frozenset(feeds))
        bad = flowing.lost.get((0, "leave"))
        return _Fault("loss", None, bad, (), None, frozenset({(0, "leave")}))

    def _bad_own_weights(self, call: LayerCall, flowing: _Flowing) -> tuple[str, ...]:
        # Another call with the same weights is handed what is not finite already.
        same = [c for c in self._look.calls.values() if c.layer is call.layer]
        lost = [c for c in same if (c.index, "leave") in flowing.lost]
        others = {v.path for other in lost for v in other.layer_variables}
        inner = self._look.children(call)
        below = {v.path for child in inner for v in child.layer_variables}
        own = {v.path for v in call.layer_variables} - below - others
        return tuple(sorted(own & set(flowing.bad_weights)))

    def _cause(self, fault: _Fault) -> Cause:
        """Tells why, by what flowed forward and by experiments."""
        behind = [noted.bad[-1] for noted in self._given(fault)]
        hidden = [bad.evidence() for bad in behind if bad.only_in_padding]
        if hidden:
            because = (
                "the mask hides a NaN from the loss, but in the gradient 0 * NaN is NaN"
            )
            return Cause("PS506", because, {"hidden": hidden[0]})
        if not all(self._flowing(scale=scale) for scale in _SCALES):
            because = "the gradient is too large for its dtype"
            grown = diverged(self._run.trainable, self._run.x)
            return grown or Cause("PS503", because)
        code = self._own_code(fault)
        if code.made and code.hides:
            because = (
                "`where` hides a value that is not finite, but in the gradient 0 * "
                "inf is NaN"
            )
            return Cause("PS507", because, code.made[0].evidence)
        if code.cause is not None:
            return code.cause
        at_zero = Cause("PS508", "the derivative at exactly zero divides by zero")
        if code.ran and not code.chooses:
            return at_zero
        if not self._flowing(fault.feeds):
            return at_zero
        because = (
            "a branch that `where` does not take has an infinite derivative, and 0 * "
            "inf is NaN"
        )
        return Cause("PS507", because)

    def _own_code(self, fault: _Fault) -> OwnCode:
        if fault.call is not None:
            return own_code(self._run, fault.call.index)
        if not self._run.has_loss:
            return OwnCode()
        outputs, _ = self._run()
        return OwnCode().look_at(lambda: self._run.loss_of(outputs))

    def _births_behind(self, fault: _Fault) -> list[Finding]:
        """What made the values that outputs and loss hide and the gradient does not."""
        given = self._given(fault)
        if not given:
            return []
        spots: set[tuple[str, Moment]] = {(n.call.path, n.moment) for n in given}
        spoils = spoils_spots(self._run, spots)
        found, _ = settled(self._run, spoils).that_count()
        lost = {"gradient_lost_at": fault.place}
        return [
            replace(finding, evidence=finding.evidence | lost)
            for finding in found
            if finding.place != "input" and "input" not in finding.evidence
        ]

    def _given(self, fault: _Fault) -> list[Noted]:
        """What is not finite before the fault."""
        around: list[Spot] = []
        call = fault.call
        while call is not None:
            around.append((call.index, "enter"))
            call = call.parent
        spots = [*sorted(fault.feeds), *around]
        return [self._look.noted[spot] for spot in spots if spot in self._look.noted]


def _add(taps: dict[Spot, list[Tensor]], jittering: Container[Spot]) -> Observer:
    """Adds the taps at each spot, to some noise too; masks given by name stay."""

    def at(call: LayerCall, moment: Moment, structure: Any) -> Any:
        spot: Spot = (call.index, moment)
        rest = iter(taps[spot])
        flowing = {id(tensor) for tensor in call.shown(moment)}

        @of_tensors
        def tapped(tensor: Tensor) -> Tensor:
            if id(tensor) not in flowing:
                return tensor
            return (jittered(tensor) if spot in jittering else tensor) + next(rest)

        return tapped(structure)

    return at


def _weighted_sum(outputs: Any, flows: list[BadValues]) -> Tensor:
    """A scalar that depends on every real output; a plain sum of a softmax is 1."""
    total = keras.ops.zeros((), "float32")
    for tensor, flow in zip(floats_in(outputs), flows, strict=True):
        weights = np.random.default_rng(0).uniform(0.5, 1.5, tuple(tensor.shape))
        tensor = keras.ops.cast(tensor, "float32")
        if flow.mask is not None:
            real = flow.mask.reshape(*flow.mask.shape, *[1] * (len(tensor.shape) - 2))
            tensor = keras.ops.where(keras.ops.convert_to_tensor(real), tensor, 0.0)
        total += keras.ops.sum(tensor * keras.ops.convert_to_tensor(weights, "float32"))
    return total
