"""Where non-finite values are born in a forward run.

Every value that is seen to be non-finite is replaced by zero at once, so that whatever
is non-finite later was born anew. A birth counts if something is not finite when it
alone is let through: the outputs, the loss, or what enters a layer that loses the
gradient. The -inf of an attention score does not.
"""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.run.bad_values import (
    all_finite,
    bad_values,
    floats_in,
    is_finite,
    replace_nonfinite,
    to_numpy,
)
from keras_padsafe.audit.run.look import Noted
from keras_padsafe.audit.run.watch import LayerCall, Moment, Observer, Spot
from keras_padsafe.types import Tensor

Spoils = Callable[[Observer, bool], bool]
"""Runs the batch so changed, and says whether something is lost; whether infinities may
be there is the second argument."""


def spoils_answers(run: BatchRun) -> Spoils:
    """Whether the outputs or the loss are lost."""
    return lambda at, allow: spoilt(*run(at), allow_infinities=allow)


def spoils_spots(run: BatchRun, spots: Collection[tuple[str, Moment]]) -> Spoils:
    """Whether something is lost before or after the calls at some paths."""

    def spoils(changed: Observer, allow_infinities: bool) -> bool:
        lost: list[bool] = []

        def at(call: LayerCall, moment: Moment, structure: Any) -> None:
            if (call.path, moment) in spots:
                bad = [bad_values(tensor, None) for tensor in floats_in(structure)]
                infinite = not allow_infinities
                lost.extend(x.has_nan or (x.has_inf and infinite) for x in bad)

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


def let_through(alone: Noted, births: list[Noted]) -> Observer:
    """Zeros for all births but one, but not for what came to them from that."""
    by_spot = {birth.spot: birth for birth in births if birth is not alone}
    watched = {spot for birth in by_spot.values() for spot in birth.feeds}
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
