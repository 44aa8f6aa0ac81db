"""Why a loss is not finite though the outputs are, and labels that have no score."""

from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.cause import (
    DIVISION_BY_ZERO,
    UNDEFINED,
    Cause,
    bad_weight,
    no_class,
)
from keras_padsafe.audit.nonfinite.experiments import jittered, shrunk
from keras_padsafe.audit.nonfinite.own_code import OwnCode, own_code
from keras_padsafe.audit.nonfinite.wording import nonfinite_finding
from keras_padsafe.audit.run.bad_values import bad_values, floats_in, is_finite
from keras_padsafe.audit.run.look import KnownMasks
from keras_padsafe.audit.run.watch import LayerCall, Moment, tensors_in
from keras_padsafe.types import Tensor

# Rows beyond this are not tried one by one.
_ROWS_TRIED = 512


def loss_finding(run: BatchRun, outputs: Any) -> Finding:
    """Why the loss of finite outputs is not finite, and in which rows."""
    return _of_layers(run) or _of_targets(run, outputs) or _of_loss(run, outputs)


def label_findings(run: BatchRun, outputs: Any) -> list[Finding]:
    """What labels are that the loss has no score for; it was given others for them."""
    if run.labels is None:
        return []
    labels, classes = run.labels
    found = None if np.isfinite(labels).all() else _of_targets(run, outputs)
    cause = no_class(np.nan_to_num(labels, nan=-1), classes)
    return [found or nonfinite_finding(cause, "targets", "loss")]


def _of_layers(run: BatchRun) -> Finding | None:
    """The first layer that adds a loss that is not finite, of finite values."""
    seen: list[tuple[LayerCall, Tensor, OwnCode]] = []

    def at(call: LayerCall, moment: Moment, structure: Any) -> None:
        if moment == "leave" and isinstance(call.layer, keras.layers.Layer):
            losses = [loss for loss in call.layer.losses if not is_finite(loss)]
            if losses and not seen:
                regularizing = OwnCode().look_at(lambda: call.layer.losses)
                seen.append((call, losses[0], regularizing))

    run(at)
    if not seen:
        return None
    call, loss, regularizing = seen[0]
    code = regularizing if regularizing.made else own_code(run, call.index)
    cause = bad_weight(call.layer_variables, run.trainable) or code.cause or UNDEFINED
    return nonfinite_finding(cause, call.path, "loss", bad_values(loss, None))


def _of_targets(run: BatchRun, outputs: Any) -> Finding | None:
    known = KnownMasks()
    known.note_all(outputs)
    masks = {mask.shape: mask for mask in known.all()}
    for name, structure in run.targets.items():
        for tensor in floats_in(structure):
            bad = bad_values(tensor, masks.get(tuple(tensor.shape[:2])))
            if not bad:
                continue
            cause = Cause("PS504", f"the {name} of the batch hold that value")
            if bad.only_in_padding:
                because = f"the mask hides a NaN in the {name}, but 0 * NaN is NaN"
                cause, name = Cause("PS506", because), "loss"
            return nonfinite_finding(cause, name, "loss", bad)
    return None


def _of_loss(run: BatchRun, outputs: Any) -> Finding:
    bad = bad_values(run.loss_of(outputs), None)
    cause = bad_weight(run.model.variables, run.trainable)
    cause = cause or OwnCode().look_at(lambda: run.loss_of(outputs)).cause
    if cause is None:
        cause = DIVISION_BY_ZERO if bad.has_inf else UNDEFINED
        if is_finite(run.loss_of(jittered(outputs))):
            cause = DIVISION_BY_ZERO
        elif bad.has_inf and is_finite(run.loss_of(shrunk(outputs))):
            cause = Cause("PS503", "the loss is too large for its dtype")
    return nonfinite_finding(cause, "loss", "loss", bad, _rows(run, outputs))


def _rows(run: BatchRun, outputs: Any) -> dict[str, Any]:
    """The rows whose own loss is not finite, if each row can have one."""
    batch = min((t.shape[0] for t in tensors_in(outputs) if t.shape), default=0)
    if batch > _ROWS_TRIED:
        return {}
    losses = [run.loss_of(outputs, slice(row, row + 1)) for row in range(batch)]
    rows = [row for row, loss in enumerate(losses) if not is_finite(loss)]
    return {"rows": rows[:8], "row_count": len(rows)}
