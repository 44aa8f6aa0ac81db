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
from keras_padsafe.audit.nonfinite.own_code import (
    OwnCode,
    own_code,
    own_code_of,
)
from keras_padsafe.audit.nonfinite.wording import nonfinite_finding
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    bad_values,
    floats_in,
    is_finite,
    is_float,
    transform_floats,
)
from keras_padsafe.audit.run.look import Flow, Look
from keras_padsafe.audit.run.watch import (
    LayerCall,
    Moment,
    Observer,
    Spot,
)
from keras_padsafe.backends.running import gradients
from keras_padsafe.types import Tensor

# What overflows in float16 vanishes by the second, which float32 may need.
_SCALES = (2.0**-12, 2.0**-64)


@dataclass(frozen=True)
class _Flowing:
    """What flows back at each spot, and the weights that get what is not finite."""

    at: dict[Spot, list[Tensor | None]]
    bad_weights: tuple[str, ...]

    def finite(self, spot: Spot) -> bool:
        """Whether what flows back there is finite."""
        return all(g is None or is_finite(g) for g in self.at[spot])

    @property
    def all_finite(self) -> bool:
        """Whether every gradient is finite."""
        return not self.bad_weights and all(map(self.finite, self.at))


@dataclass(frozen=True)
class _Fault:
    """The call at which gradients stop being finite; `None` is the loss itself."""

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
        cause, place = self._cause(fault), _place(fault)
        return [nonfinite_finding(cause, place, "backward", fault.bad, more)]

    def _flowing(self, jittering: Container[Spot] = (), scale: float = 1.0) -> _Flowing:
        """Differentiates the loss, or without targets a weighted sum of the outputs."""
        every = self._look.flows
        taps = [_zeros(flow) for flows in every.values() for flow in flows]
        variables = [v for v in self._run.trainable if is_float(v)]

        def scalar(taps: list[Tensor], values: list[Tensor]) -> Tensor:
            outputs, loss = self._run(
                _add(self._by_spot(taps), jittering),
                only=self._look.calls.keys(),
                variables=list(zip(variables, values, strict=True)),
            )
            if loss is None:
                loss = _weighted_sum(outputs, every[0, "leave"])
            return keras.ops.cast(loss, "float32") * scale

        by_taps, by_values = gradients(scalar, taps, variables)
        pairs = zip(variables, by_values, strict=True)
        bad = [v.path for v, g in pairs if g is not None and not is_finite(g)]
        return _Flowing(self._by_spot(by_taps), tuple(bad))

    def _by_spot(self, tensors: list[Any]) -> dict[Spot, list[Any]]:
        rest = iter(tensors)
        return {
            spot: [next(rest) for _ in flows]
            for spot, flows in self._look.flows.items()
        }

    def _fault(self, flowing: _Flowing) -> _Fault:
        """The first call, on the way back, at which gradients stop being finite."""
        for call in sorted(self._look.calls.values(), key=lambda call: -call.index):
            if not flowing.finite((call.index, "leave")):
                continue
            weights = self._bad_own_weights(call, flowing)
            bad = self._bad_gradient((call.index, "enter"), flowing)
            if bad is not None or weights:
                inner = self._look.children(call)
                lost = [c.path for c in inner if not flowing.finite((c.index, "leave"))]
                feeds: set[Spot] = {(c.index, "leave") for c in inner}
                feeds.add((call.index, "enter"))
                after = lost[-1] if lost else None
                return _Fault(call, bad, weights, after, frozenset(feeds))
        bad = self._bad_gradient((0, "leave"), flowing)
        return _Fault(None, bad, (), None, frozenset({(0, "leave")}))

    def _bad_own_weights(self, call: LayerCall, flowing: _Flowing) -> tuple[str, ...]:
        # Another call with the same weights is handed what is not finite already.
        others = {
            variable.path
            for other in self._look.calls.values()
            if other.layer is call.layer and other.index != call.index
            if not flowing.finite((other.index, "leave"))
            for variable in other.layer_variables
        }
        inner = self._look.children(call)
        below = {v.path for child in inner for v in child.layer_variables}
        own = {v.path for v in call.layer_variables} - below - others
        return tuple(sorted(own & set(flowing.bad_weights)))

    def _bad_gradient(self, spot: Spot, flowing: _Flowing) -> BadValues | None:
        pairs = zip(flowing.at[spot], self._look.flows[spot], strict=True)
        every = [bad_values(g, f.mask, f.each) for g, f in pairs if g is not None]
        return next((bad for bad in every if bad is not None), None)

    def _cause(self, fault: _Fault) -> Cause:
        """Tells why, by what flowed forward and by experiments."""
        hidden = self._nan_behind_mask(fault)
        if hidden is not None:
            because = (
                "the mask hides a NaN from the loss, but in the gradient 0 * NaN is NaN"
            )
            return Cause("PS506", because, {"hidden": hidden.evidence()})
        if any(self._flowing(scale=scale).all_finite for scale in _SCALES):
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
        if self._flowing(fault.feeds).all_finite:
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
        return own_code_of(lambda: self._run.loss_of(outputs))

    def _births_behind(self, fault: _Fault) -> list[Finding]:
        """What made the values that outputs and loss hide and the gradient does not."""
        given = [self._look.noted[spot] for spot in self._given(fault)]
        if not given:
            return []
        spots: set[tuple[str, Moment]] = {(n.call.path, n.moment) for n in given}
        spoils = spoils_spots(self._run, spots)
        found, _ = settled(self._run, spoils).that_count()
        lost = {"gradient_lost_at": _place(fault)}
        return [
            replace(finding, evidence=finding.evidence | lost)
            for finding in found
            if finding.place != "input" and "input" not in finding.evidence
        ]

    def _nan_behind_mask(self, fault: _Fault) -> BadValues | None:
        bad = [self._look.noted[spot].bad[-1] for spot in self._given(fault)]
        return next((one for one in bad if one.only_in_padding), None)

    def _given(self, fault: _Fault) -> list[Spot]:
        """The spots before the fault where something is not finite."""
        around: list[Spot] = []
        call = fault.call
        while call is not None:
            around.append((call.index, "enter"))
            call = call.parent
        spots = [*sorted(fault.feeds), *around]
        return [spot for spot in spots if spot in self._look.noted]


def _place(fault: _Fault) -> str:
    return fault.call.path if fault.call else "loss"


def _zeros(flow: Flow) -> Tensor:
    zeros = keras.ops.convert_to_tensor(np.zeros(flow.shape, "float32"))
    return keras.ops.cast(zeros, flow.dtype)


def _add(taps: dict[Spot, list[Tensor]], jittering: Container[Spot]) -> Observer:
    """Adds the taps at each spot, to some noise too; masks given by name stay."""

    def at(call: LayerCall, moment: Moment, structure: Any) -> Any:
        spot: Spot = (call.index, moment)
        rest = iter(taps[spot])

        def tapped(structure: Any) -> Any:
            if spot in jittering:
                structure = jittered(structure)
            return transform_floats(lambda tensor: tensor + next(rest), structure)

        if moment == "leave":
            return tapped(structure)
        args, kwargs = structure
        masks = {name: value for name, value in kwargs.items() if "mask" in name}
        named = {name: value for name, value in kwargs.items() if name not in masks}
        args, named = tapped((args, named))
        return args, {**named, **masks}

    return at


def _weighted_sum(outputs: Any, flows: list[Flow]) -> Tensor:
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
