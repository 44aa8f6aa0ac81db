"""Why a value is not finite: the closed list PS501 to PS510, with evidence."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.births import Birth
from keras_padsafe.audit.nonfinite.experiment import (
    finite_when_wider,
    finite_with,
    jittered,
    shrunk,
    without_zeros,
)
from keras_padsafe.audit.nonfinite.first_primitive import Primitive, agreed, own_code
from keras_padsafe.audit.run.bad_values import (
    is_finite,
    is_float,
    replace_nonfinite,
    to_numpy,
)
from keras_padsafe.audit.run.intervene import Key
from keras_padsafe.audit.run.watch import LayerCall, tensors_in
from keras_padsafe.types import Tensor

# Trained weights lie far below this; what overflows through larger ones has diverged.
_DIVERGED = 1e3

NOTHING_LEFT = "every score of a row is -inf, so that nothing is left to choose from"
"""Why a softmax or maximum has no value."""


@dataclass(frozen=True)
class Cause:
    """Why values are not finite.

    Attributes:
        code: PS501 to PS510.
        because: The reason, as the end of a sentence.
        evidence: The figures behind it.
    """

    code: str
    because: str
    evidence: dict[str, Any] = field(default_factory=dict)


def cause_of(run: BatchRun, birth: Birth, earlier: Set[Key]) -> Cause:
    """Tells why a birth happened, by its inputs and weights and by experiments.

    Args:
        run: The batch.
        birth: The birth.
        earlier: The births to be left out meanwhile.
    """
    return (
        bad_id(birth.call)
        or bad_weight(run.model, birth.variables)
        or empty_row(birth)
        or _by_experiment(run, birth, earlier)
    )


def bad_id(call: LayerCall) -> Cause | None:
    """Whether ids went in that the layer's table has no row for."""
    tables = [v for v in call.layer_variables if len(v.shape) == 2]
    if not tables:
        return None
    rows = getattr(call.layer, "input_dim", None) or max(v.shape[0] for v in tables)
    for tensor in call.inputs:
        if _are_ids(call, tensor):
            ids = to_numpy(tensor).astype("int64")
            outside = (ids >= rows) | (ids < -rows)
            if outside.any():
                where = np.argwhere(outside)[:8]
                return Cause(
                    "PS502",
                    f"the table has {rows} rows and id {int(ids[outside][0])} was "
                    "looked up",
                    {
                        "table_rows": int(rows),
                        "ids": sorted({int(i) for i in ids[outside]})[:8],
                        "at": where.tolist(),
                        "rows": sorted({int(row) for row in where[:, 0]}),
                    },
                )
    return None


def _are_ids(call: LayerCall, tensor: Tensor) -> bool:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if keras.backend.is_int_dtype(dtype):
        return True
    # A Sequential model without an Input hands ids on as floats.
    return isinstance(call.layer, keras.layers.Embedding) and is_finite(tensor)


def bad_weight(
    model: keras.layers.Layer, variables: Sequence[keras.Variable]
) -> Cause | None:
    """Whether a weight is not finite, or all of the model's are."""
    bad = [v for v in variables if is_float(v) and not is_finite(v.value)]
    if not bad:
        return None
    lost = [v.path for v in model.trainable_variables if not is_finite(v.value)]
    largest = {v.path: int((~np.isfinite(to_numpy(v.value))).sum()) for v in bad}
    evidence = {"weights": largest, "nonfinite_variables": len(lost)}
    total = len(model.trainable_variables)
    if len(lost) > 1 and 2 * len(lost) > total:
        because = f"{len(lost)} of the model's {total} trainable weights are not finite"
        return Cause("PS509", because, evidence)
    return Cause("PS505", f"its weight {bad[0].path} is not finite already", evidence)


def empty_row(birth: Birth) -> Cause | None:
    """Whether it happened just where nothing is real."""
    rows = {int(row) for row in birth.bad.rows}
    if rows and rows <= birth.empty_rows:
        return Cause(
            "PS501",
            "no position of these rows is real",
            {"empty_rows": sorted(birth.empty_rows)[:8]},
        )
    for mask in _attention_masks(birth.call):
        empty = ~mask.any(axis=-1)
        if empty.ndim == 3:
            empty = empty.all(axis=1)
        where = birth.bad.positions
        if len(where) and empty.ndim == 2 and where[:, 1].max() < empty.shape[1]:
            steps = np.broadcast_to(empty, (len(birth.bad.bad), empty.shape[1]))
            if steps[tuple(where.T)].all():
                because = "the attention mask leaves these positions nothing to look at"
                return Cause("PS501", because, {"empty_queries": where[:8].tolist()})
    if any(0 in tensor.shape for tensor in birth.call.inputs):
        shapes = [list(tensor.shape) for tensor in birth.call.inputs]
        return Cause("PS501", "an axis of its input is empty", {"shapes": shapes})
    return None


def _attention_masks(call: LayerCall) -> list[np.ndarray]:
    given = {k: v for k, v in {**call.kwargs, **call.passed}.items() if "mask" in k}
    return [
        keras.ops.convert_to_numpy(mask).astype(bool)
        for mask in tensors_in(given)
        if len(mask.shape) in (3, 4)
    ]


def _by_experiment(run: BatchRun, birth: Birth, earlier: Set[Key]) -> Cause:
    bad = birth.bad
    changes = dict.fromkeys(earlier, replace_nonfinite)
    made = agreed(own_code(run, birth.scope, changes, birth.key))
    if made is not None:
        return _of_operation(run, birth, made)
    if finite_when_wider(run, birth, earlier):
        return _too_large(run, birth)
    if finite_with(run, birth, earlier, jittered):
        return division_by_zero()
    weights = [(v, without_zeros(v.value)) for v in birth.variables if is_float(v)]
    if weights and finite_with(run, birth, earlier, without_zeros, weights):
        return division_by_zero()
    if bad.has_inf and finite_with(run, birth, earlier, shrunk):
        return _too_large(run, birth)
    if bad.has_inf and not bad.has_nan:
        return division_by_zero()
    return undefined()


def _of_operation(run: BatchRun, birth: Birth, made: Primitive) -> Cause:
    if made.verdict == "large":
        return _too_large(run, birth, {"operation": made.name})
    if made.verdict in ("zero", "nothing left"):
        empty = _rows_of_zeros(run, birth)
        if empty:
            because = "every value of these rows is 0 in the batch, as in an empty row"
            return Cause("PS501", because, {"empty_rows": empty[:8]})
    return of_operation(made)


def of_operation(made: Primitive) -> Cause:
    """What an operation that made a non-finite value of finite ones says of it."""
    evidence = {"operation": made.name}
    if made.verdict == "nothing left":
        return Cause("PS501", NOTHING_LEFT, evidence)
    if made.verdict == "large":
        return Cause("PS503", "the result does not fit into its dtype", evidence)
    cause = division_by_zero() if made.verdict == "zero" else undefined()
    return Cause(cause.code, cause.because, evidence)


def diverged(run: BatchRun) -> Cause | None:
    """Whether the weights have grown far beyond the batch."""
    weights = _largest([v.value for v in run.model.trainable_variables if is_float(v)])
    given = _largest([t for t in tensors_in(run.x) if is_float(t)])
    if weights <= _DIVERGED or weights < given:
        return None
    evidence = {"largest_weight": weights, "largest_in_batch": given}
    return Cause("PS509", f"the weights have grown to {weights:.3g}", evidence)


def _rows_of_zeros(run: BatchRun, birth: Birth) -> list[int]:
    """The bad rows, if ids or a mask of the batch are zero throughout just there."""
    bad = birth.bad.rows
    for tensor in tensors_in(run.x):
        if len(tensor.shape) == 2 and tensor.shape[0] == len(birth.bad.bad):
            array = to_numpy(tensor)
            if not is_float(tensor) or np.isin(array, (0, 1)).all():
                zeros = np.flatnonzero(~array.astype(bool).any(axis=1))
                if len(bad) and np.array_equal(np.intersect1d(bad, zeros), bad):
                    return bad.tolist()
    return []


def _too_large(
    run: BatchRun, birth: Birth, more: Mapping[str, Any] | None = None
) -> Cause:
    inputs = _largest([t for t in birth.call.inputs if is_float(t)])
    given = _largest([t for t in tensors_in(run.x) if is_float(t)])
    weights = _largest([v.value for v in birth.variables if is_float(v)])
    evidence = {"largest_input": inputs, "largest_weight": weights, **(more or {})}
    # Weights that diverged everywhere make large inputs too, but not a large batch.
    if weights > _DIVERGED and weights >= min(inputs, given):
        because = f"its weights have grown to {weights:.3g}"
        return Cause("PS509", because, evidence)
    return Cause("PS503", f"the result does not fit into {birth.bad.dtype}", evidence)


def _largest(tensors: list[Any]) -> float:
    arrays = [np.abs(to_numpy(tensor)) for tensor in tensors]
    return max((float(np.nanmax(a)) for a in arrays if a.size), default=0.0)


def division_by_zero() -> Cause:
    """The cause of a quotient or logarithm at an exact zero."""
    return Cause("PS508", "something is divided by zero, or a logarithm taken of it")


def undefined() -> Cause:
    """The cause of what no value is defined for."""
    return Cause("PS510", "an operation has no value there, as the root of -1")
