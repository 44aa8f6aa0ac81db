"""Where non-finite gradients are born in a backward run.

Zeros are added to whatever enters and leaves each call. The gradient by such a zero is
what flows back there, so that the call at fault is the one that is handed finite
gradients and hands on others, or gives them to its weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.run.backends import gradients
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    bad_values,
    is_finite,
    is_float,
    transform_floats,
)
from keras_padsafe.audit.run.intervene import Change, Key
from keras_padsafe.audit.run.known_masks import KnownMasks
from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in
from keras_padsafe.types import Tensor


@dataclass(frozen=True)
class GradientBirth:
    """A call at which non-finite gradients are born; `None` is the loss itself.

    Attributes:
        call: The call, or `None`.
        bad: What is not finite of what it hands back, if it is not only its weights'.
        weights: The weights whose gradient is not finite.
        after: The path of the call inside after which it happens, if there is one.
        feeds: The observations whose tensors the fault is computed from.
    """

    call: LayerCall | None
    bad: BadValues | None
    weights: tuple[str, ...]
    after: str | None
    feeds: frozenset[Key]

    @property
    def place(self) -> str:
        """The path of the call, or `"loss"`."""
        return self.call.path if self.call else "loss"


class ForwardRecord(Observer):
    """The calls of a forward run, what flows in them, and where it is not finite."""

    def __init__(self) -> None:
        self.calls: dict[int, LayerCall] = {}
        self.zeros: dict[Key, list[Tensor]] = {}
        self.masks: dict[Key, list[np.ndarray | None]] = {}
        self.bad: dict[Key, BadValues] = {}
        self.known = KnownMasks()

    def enter(self, call: LayerCall) -> None:
        # What flowed is not kept: only where, and of what shape.
        self.calls[call.index] = replace(call, args=(), kwargs={})
        self.known.note_all((call.args, call.kwargs))
        self._note((call.index, "enter"), (call.args, _without_masks(call.kwargs)))

    def leave(self, call: LayerCall) -> None:
        self.known.note_all(call.outputs)
        self._note((call.index, "leave"), call.outputs)

    def _note(self, key: Key, structure: Any) -> None:
        tensors = [tensor for tensor in tensors_in(structure) if is_float(tensor)]
        self.masks[key] = [self.known.of(tensor) for tensor in tensors]
        self.zeros[key] = [keras.ops.zeros_like(tensor) for tensor in tensors]
        for tensor, mask in zip(tensors, self.masks[key], strict=True):
            bad = bad_values(tensor, mask)
            if bad is not None:
                self.bad[key] = bad

    def children(self, call: LayerCall) -> list[LayerCall]:
        """The calls that happened directly inside a call, in order."""
        return [
            inner
            for inner in self.calls.values()
            if inner.parent is not None and inner.parent.index == call.index
        ]


@dataclass(frozen=True)
class Gradients:
    """What flows back at each observation, and into each weight."""

    at: dict[Key, list[Tensor | None]]
    weights: dict[str, Tensor | None]

    def finite(self, key: Key) -> bool:
        """Whether what flows back there is finite."""
        return all(g is None or is_finite(g) for g in self.at[key])

    @property
    def bad_weights(self) -> list[str]:
        """The weights whose gradient is not finite."""
        return [
            p for p, g in self.weights.items() if g is not None and not is_finite(g)
        ]

    @property
    def all_finite(self) -> bool:
        """Whether every gradient is finite."""
        return not self.bad_weights and all(map(self.finite, self.at))


def backward(
    run: BatchRun,
    record: ForwardRecord,
    changes: Mapping[Key, Change] | None = None,
    scale: float = 1.0,
) -> Gradients:
    """Differentiates the loss, or without targets a weighted sum of the outputs.

    Args:
        run: The batch.
        record: Its forward run.
        changes: What to do to the tensors of some observations.
        scale: What to multiply the loss with.
    """
    keys = list(record.zeros)
    taps = [tap for key in keys for tap in record.zeros[key]]
    variables = [v for v in run.model.trainable_variables if is_float(v)]

    def scalar(taps: list[Tensor], values: list[Tensor]) -> Tensor:
        rest = iter(taps)
        at = {key: [next(rest) for _ in record.zeros[key]] for key in keys}
        outputs, loss = run(
            _AddTaps(at, changes or {}),
            only=record.calls.keys(),
            values=list(zip(variables, values, strict=True)),
        )
        if loss is None:
            loss = _weighted_sum(outputs, record.masks[0, "leave"])
        return keras.ops.cast(loss, "float32") * scale

    by_taps, by_values = gradients(scalar, taps, variables)
    rest = iter(by_taps)
    return Gradients(
        at={key: [next(rest) for _ in record.zeros[key]] for key in keys},
        weights={v.path: g for v, g in zip(variables, by_values, strict=True)},
    )


def gradient_birth(record: ForwardRecord, found: Gradients) -> GradientBirth | None:
    """The first call, on the way back, at which gradients stop being finite."""
    if found.all_finite:
        return None
    for call in sorted(record.calls.values(), key=lambda call: -call.index):
        if not found.finite((call.index, "leave")):
            continue
        weights = _bad_own_weights(call, record, found)
        bad = _bad_gradient((call.index, "enter"), record, found)
        if bad is not None or weights:
            inner = record.children(call)
            lost = [c.path for c in inner if not found.finite((c.index, "leave"))]
            after = lost[-1] if lost else None
            feeds: set[Key] = {(c.index, "leave") for c in inner}
            feeds.add((call.index, "enter"))
            return GradientBirth(call, bad, weights, after, frozenset(feeds))
    bad = _bad_gradient((0, "leave"), record, found)
    return GradientBirth(None, bad, (), None, frozenset({(0, "leave")}))


def _bad_own_weights(
    call: LayerCall, record: ForwardRecord, found: Gradients
) -> tuple[str, ...]:
    bad = set(found.bad_weights)
    inner = record.children(call)
    # Another call with the same weights is handed what is not finite already.
    bad -= {
        variable.path
        for other in record.calls.values()
        if other.index != call.index and not found.finite((other.index, "leave"))
        for variable in other.layer_variables
        if other.layer is call.layer
    }
    below = {v.path for child in inner for v in child.layer_variables}
    own = {v.path for v in call.layer_variables} - below
    return tuple(sorted(own & bad))


def _bad_gradient(
    key: Key, record: ForwardRecord, found: Gradients
) -> BadValues | None:
    for gradient, mask in zip(found.at[key], record.masks[key], strict=True):
        if gradient is not None:
            bad = bad_values(gradient, mask)
            if bad is not None:
                return bad
    return None


class _AddTaps(Observer):
    def __init__(
        self, taps: dict[Key, list[Tensor]], changes: Mapping[Key, Change]
    ) -> None:
        self._taps = taps
        self._changes = changes

    def enter(self, call: LayerCall) -> None:
        key: Key = (call.index, "enter")
        masks = {k: v for k, v in call.kwargs.items() if "mask" in k}
        named = _without_masks(call.kwargs)
        call.args, named = self._tapped(key, (call.args, named))
        call.kwargs = {**named, **masks}

    def leave(self, call: LayerCall) -> None:
        call.outputs = self._tapped((call.index, "leave"), call.outputs)

    def _tapped(self, key: Key, structure: Any) -> Any:
        if key in self._changes:
            structure = self._changes[key](structure)
        taps = iter(self._taps[key])
        return transform_floats(lambda tensor: tensor + next(taps), structure)


def _without_masks(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if "mask" not in name}


def _weighted_sum(outputs: Any, masks: list[np.ndarray | None]) -> Tensor:
    """A scalar that depends on every real output; a plain sum of a softmax is 1."""
    total = keras.ops.zeros((), "float32")
    floats = [tensor for tensor in tensors_in(outputs) if is_float(tensor)]
    for tensor, mask in zip(floats, masks, strict=True):
        weights = np.random.default_rng(0).uniform(0.5, 1.5, tuple(tensor.shape))
        tensor = keras.ops.cast(tensor, "float32")
        if mask is not None:
            real = mask.reshape(*mask.shape, *[1] * (len(tensor.shape) - 2))
            tensor = keras.ops.where(keras.ops.convert_to_tensor(real), tensor, 0.0)
        total += keras.ops.sum(tensor * keras.ops.convert_to_tensor(weights, "float32"))
    return total
