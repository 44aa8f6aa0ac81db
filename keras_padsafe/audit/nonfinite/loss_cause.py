"""Why a loss is not finite though the outputs are."""

from typing import Any

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.added_loss import added_loss
from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.causes import (
    Cause,
    bad_weight,
    division_by_zero,
    of_operation,
    undefined,
)
from keras_padsafe.audit.nonfinite.experiment import jittered, shrunk
from keras_padsafe.audit.nonfinite.first_primitive import agreed, own_code_of
from keras_padsafe.audit.nonfinite.nonfinite_finding import nonfinite_finding
from keras_padsafe.audit.nonfinite.tokens import Tokens
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    bad_values,
    is_finite,
    is_float,
)
from keras_padsafe.audit.run.known_masks import KnownMasks
from keras_padsafe.audit.run.watch import map_tensors, tensors_in

# Rows beyond this are not tried one by one.
_ROWS_TRIED = 512


def loss_finding(run: BatchRun, outputs: Any, tokens: Tokens) -> Finding:
    """Says why the loss of finite outputs is not finite, and in which rows."""
    added = added_loss(run)
    if added is not None:
        return nonfinite_finding(added.cause, added.place, "loss", added.bad, tokens)
    bad_target = _bad_target(run, outputs)
    if bad_target is not None:
        name, bad = bad_target
        if bad.only_in_padding:
            cause = Cause(
                "PS506", f"the mask hides a NaN of the {name}, and 0 * NaN is NaN"
            )
            return nonfinite_finding(cause, "loss", "loss", bad, tokens)
        cause = Cause("PS504", f"the {name} of the batch hold it")
        return nonfinite_finding(cause, name, "loss", bad, tokens)
    bad = bad_values(run.loss_of(outputs), None)
    if bad is None:
        raise RuntimeError("loss_finding: the loss is finite")
    cause = _cause(run, outputs, bad)
    return nonfinite_finding(cause, "loss", "loss", bad, tokens, _rows(run, outputs))


def _bad_target(run: BatchRun, outputs: Any) -> tuple[str, BadValues] | None:
    known = KnownMasks()
    known.note_all(outputs)
    masks = {mask.shape: mask for mask in known.all()}
    for name, structure in run.targets.items():
        for tensor in tensors_in(structure):
            if is_float(tensor):
                bad = bad_values(tensor, masks.get(tuple(tensor.shape[:2])))
                if bad is not None:
                    return name, bad
    return None


def _cause(run: BatchRun, outputs: Any, bad: BadValues) -> Cause:
    weight = bad_weight(run.model, run.model.variables)
    if weight is not None:
        return weight
    made = agreed(own_code_of(lambda: run.loss_of(outputs)))
    if made is not None:
        return of_operation(made)
    if is_finite(run.loss_of(jittered(outputs))):
        return division_by_zero()
    if bad.has_inf and is_finite(run.loss_of(shrunk(outputs))):
        return Cause("PS503", f"the loss does not fit into {bad.dtype}")
    return division_by_zero() if bad.has_inf else undefined()


def _rows(run: BatchRun, outputs: Any) -> dict[str, Any]:
    """The rows whose own loss is not finite, if each row can have one."""
    batch = min((t.shape[0] for t in tensors_in(outputs) if t.shape), default=0)
    if batch > _ROWS_TRIED:
        return {}
    rows = [row for row in range(batch) if not _finite_row(run, outputs, row)]
    return {"rows": rows[:8], "row_count": len(rows)}


def _finite_row(run: BatchRun, outputs: Any, row: int) -> bool:
    alone = slice(row, row + 1)
    of_row = map_tensors(lambda tensor: tensor[alone], outputs)
    return is_finite(run.loss_of(of_row, alone))
