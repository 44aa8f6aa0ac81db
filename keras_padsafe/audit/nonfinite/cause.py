"""Why a value is not finite: the closed list PS501 to PS510, with evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import is_finite, is_float, largest_of, to_numpy
from keras_padsafe.audit.run.id_inputs import without_row
from keras_padsafe.audit.run.look import Noted
from keras_padsafe.audit.run.watch import LayerCall, tensors_in

DIVERGED = 1e3
"""Trained weights lie far below this; what overflows through larger ones diverged."""


@dataclass(frozen=True)
class Cause:
    """Why values are not finite: as the end of a sentence, with figures behind it."""

    code: str
    because: str
    evidence: dict[str, Any] = field(default_factory=dict)


DIVISION_BY_ZERO = Cause("PS508", "it divides by zero, or takes the logarithm of zero")
"""What a little noise mends, where no operation was seen."""

UNDEFINED = Cause("PS510", "an operation is not defined for its input")
"""What nothing mends."""


def bad_id(call: LayerCall) -> Cause | None:
    """Whether ids went in that the layer's table has no row for."""
    found = without_row(call.layer, map(to_numpy, call.inputs))
    if found is None:
        return None
    rows, ids, outside = found
    because = f"was looked up in a table of {rows} rows"
    return _out_of_range(ids, outside, "id", because, table_rows=rows)


def no_class(labels: np.ndarray, classes: int) -> Cause:
    """What labels of classes that no score stands for are."""
    because = (
        f"was looked up among the scores of {classes} classes; there, backends raise "
        "an error, or give NaN or 0"
    )
    outside = ~((labels >= 0) & (labels < classes))
    return _out_of_range(labels, outside, "label", because, classes=classes)


def _out_of_range(
    numbers: np.ndarray, outside: np.ndarray, what: str, because: str, **size: int
) -> Cause:
    where = np.argwhere(outside)[:8]
    evidence = {
        **size,
        f"{what}s": sorted({int(i) for i in numbers[outside]})[:8],
        "at": where.tolist(),
        "rows": sorted({int(at[0]) for at in where}),
    }
    first = int(numbers[outside][0])
    return Cause("PS502", f"{what} {first} {because}", evidence)


def bad_weight(
    variables: Sequence[keras.Variable], trainable: Sequence[keras.Variable]
) -> Cause | None:
    """Whether a weight is not finite, or most that the model trains are not."""
    bad = [v for v in variables if is_float(v) and not is_finite(v.value)]
    if not bad:
        return None
    lost = [v.path for v in trainable if not is_finite(v.value)]
    largest = {v.path: int((~np.isfinite(to_numpy(v.value))).sum()) for v in bad}
    evidence = {"weights": largest, "nonfinite_variables": len(lost)}
    if len(lost) > 1 and 2 * len(lost) > len(trainable):
        because = (
            f"{len(lost)} of the {len(trainable)} trainable weights of the model are "
            "not finite"
        )
        return Cause("PS509", because, evidence)
    return Cause("PS505", f"the weight {bad[0].path} is already not finite", evidence)


def empty_row(birth: Noted) -> Cause | None:
    """Whether it happened just where nothing is real."""
    lost = birth.lost
    batch = len(lost.bad) if lost.bad.ndim else 0
    of_batch = [mask for mask in birth.masks if len(mask) == batch]
    empty = {int(r) for mask in of_batch for r in np.flatnonzero(~mask.any(axis=1))}
    rows = {int(row) for row in lost.own_rows}
    if rows and rows <= empty:
        evidence = {"empty_rows": sorted({row // lost.each for row in empty})[:8]}
        return Cause("PS501", "these rows have no real position", evidence)
    where = lost.positions
    given = {**birth.call.kwargs, **birth.call.passed}
    masks = tensors_in({name: part for name, part in given.items() if "mask" in name})
    for mask in [mask for mask in masks if len(mask.shape) in (3, 4)]:
        hidden = ~keras.ops.convert_to_numpy(mask).astype(bool).any(axis=-1)
        if hidden.ndim == 3:
            hidden = hidden.all(axis=1)
        if len(where) and hidden.ndim == 2 and where[:, 1].max() < hidden.shape[1]:
            steps = np.broadcast_to(hidden, (batch, hidden.shape[1]))
            if steps[tuple(where.T)].all():
                because = "the attention mask hides every key from these positions"
                return Cause("PS501", because, {"empty_queries": where[:8].tolist()})
    shapes = [list(tensor.shape) for tensor in birth.call.inputs]
    if any(0 in shape for shape in shapes):
        because = "an axis of its input has length zero"
        return Cause("PS501", because, {"shapes": shapes})
    return None


def diverged(trainable: Sequence[keras.Variable], x: Any) -> Cause | None:
    """Whether the weights have grown far beyond the batch."""
    weights, given = largest_of([v.value for v in trainable]), largest_of(x)
    if weights <= DIVERGED or weights < given:
        return None
    evidence = {"largest_weight": weights, "largest_in_batch": given}
    return Cause("PS509", f"the weights have grown to {weights:.3g}", evidence)
