"""Where non-finite values are born in a forward run.

Every value that is seen to be non-finite is replaced by zero at once, so that whatever
is non-finite later was born anew. A birth counts if something is not finite when it
alone is let through: the outputs, the loss, or what enters a layer that loses the
gradient. The -inf of an attention score does not.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    all_finite,
    floats_in,
    is_finite,
    replace_nonfinite,
    to_numpy,
)
from keras_padsafe.audit.run.look import Look, Noted
from keras_padsafe.audit.run.watch import LayerCall, Moment, Observer, Spot
from keras_padsafe.types import Tensor

Spoils = Callable[[Observer, bool], bool]
"""Runs the batch so changed, and says whether something is lost; whether infinities may
be there is the second argument."""


@dataclass(frozen=True)
class Birth(Noted):
    """A place where non-finite values are born: seen after the call that made them, or
    before one, if an operation in the code of its parent did.

    Attributes:
        scope: The call whose own code made it.
        feeds: The spots whose tensors it was made of.
        after: The path of the sibling that ran last before it, if there is one.
        variables: Those of the layer whose code made it, without its sublayers'.
        step: Which call of the same layer it is, in the same parent, from 0.
    """

    scope: LayerCall
    feeds: frozenset[Spot]
    after: str | None
    variables: tuple[keras.Variable, ...]
    step: int

    @property
    def lost(self) -> BadValues:
        """What is not finite, in the first tensor."""
        return self.bad[0]

    @property
    def spot(self) -> Spot:
        """Where it was seen."""
        return self.call.index, self.moment

    @property
    def place(self) -> str:
        """The path of the layer whose code made it, or `"input"`."""
        return "input" if self.is_input else self.scope.path


def births_in(look: Look) -> list[Birth]:
    """The births of a settled run, in order."""
    return [_birth(look, noted) for noted in look.noted.values()]


def births_that_count(
    births: list[Birth], spoils: Spoils, allow_infinities: bool
) -> list[Birth]:
    """Those that alone spoil something, in order."""
    return [
        birth
        for birth in births
        if spoils(_without([b for b in births if b is not birth]), allow_infinities)
    ]


def spoils_answers(run: BatchRun) -> Spoils:
    """Whether the outputs or the loss are lost."""
    return lambda at, allow: spoilt(*run(at), allow_infinities=allow)


def spoils_spots(run: BatchRun, spots: Collection[tuple[str, Moment]]) -> Spoils:
    """Whether something is lost before or after the calls at some paths."""

    def spoils(changed: Observer, allow_infinities: bool) -> bool:
        lost: list[bool] = []

        def at(call: LayerCall, moment: Moment, structure: Any) -> Any:
            if (call.path, moment) in spots:
                for tensor in floats_in(structure):
                    array = to_numpy(tensor)
                    bad = np.isnan(array) if allow_infinities else ~np.isfinite(array)
                    lost.append(bool(bad.any()))
            return structure

        run(changed, at)
        return any(lost)

    return spoils


def spoilt(outputs: Any, loss: Tensor | None, *, allow_infinities: bool) -> bool:
    """Whether they are not finite; infinities may be allowed beside finite numbers."""
    if loss is not None and not is_finite(loss):
        return True
    if not allow_infinities:
        return not all_finite(outputs)
    arrays = [to_numpy(tensor) for tensor in floats_in(outputs)]
    rows = [a.reshape(len(a) if a.ndim else 1, -1) for a in arrays if a.size]
    return any(np.isnan(r).any() or np.isinf(r).all(1).any() for r in rows)


def _without(births: list[Birth]) -> Observer:
    """Replaces some births by zeros, but not what came to them from elsewhere."""
    by_spot = {birth.spot: birth for birth in births}
    watched = {spot for birth in births for spot in birth.feeds}
    reached: set[Spot] = set()

    def at(call: LayerCall, moment: Moment, structure: Any) -> Any:
        spot: Spot = (call.index, moment)
        birth = by_spot.get(spot)
        if birth is not None and not birth.feeds & reached:
            structure = replace_nonfinite(structure)
        if spot in watched and not all_finite(structure):
            reached.add(spot)
        return structure

    return at


def _birth(look: Look, noted: Noted) -> Birth:
    call, leaves = noted.call, noted.moment == "leave"
    made_in = call if leaves else call.parent
    inside = look.children(made_in)
    before = [c for c in inside if leaves or c.index < call.index]
    feeds: set[Spot] = {(sibling.index, "leave") for sibling in before}
    if made_in is not None:
        feeds.add((made_in.index, "enter"))
    beside = [c for c in look.children(call.parent) if c.index < call.index]
    below = {id(v) for child in inside for v in child.layer_variables}
    own = made_in.layer_variables if made_in is not None else []
    return Birth(
        **vars(noted),
        scope=made_in or call,
        feeds=frozenset(feeds),
        after=before[-1].path if before else None,
        variables=tuple(v for v in own if id(v) not in below),
        step=sum(sibling.layer is call.layer for sibling in beside),
    )
