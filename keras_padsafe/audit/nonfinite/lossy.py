"""Why a loss is not finite, or has no score for a label, though the outputs are."""

from typing import Any

import keras

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
)
from keras_padsafe.audit.run.look import KnownMasks
from keras_padsafe.audit.run.watch import LayerCall, Observer, map_tensors, tensors_in

# Rows beyond this are not tried one by one.
_ROWS_TRIED = 512


class Lossy:
    """The loss of a batch whose outputs are finite.

    Args:
        run: The batch.
        outputs: The outputs.
    """

    def __init__(self, run: BatchRun, outputs: Any) -> None:
        self._run, self._outputs = run, outputs

    def finding(self) -> Finding:
        """Says why the loss is not finite, and in which rows."""
        return (
            self._of_layers()
            or self._of_targets()
            or self._of_labels()
            or self._of_loss()
        )

    def _of_layers(self) -> Finding | None:
        """The first layer that adds a loss that is not finite, of finite values."""
        seen = _LooksAtLosses()
        self._run(seen)
        call, bad = seen.call, seen.bad
        if call is None or bad is None:
            return None
        cause = bad_weight(call.layer_variables, self._run.trainable)
        if cause is None:
            code = seen.regularizing or own_code(self._run, call.index)
            cause = code.cause or UNDEFINED
        return nonfinite_finding(cause, call.path, "loss", bad)

    def _of_targets(self) -> Finding | None:
        known = KnownMasks()
        known.note_all(self._outputs)
        masks = {mask.shape: mask for mask in known.all()}
        for name, structure in self._run.targets.items():
            for tensor in floats_in(structure):
                bad = bad_values(tensor, masks.get(tuple(tensor.shape[:2])))
                if bad is None:
                    continue
                cause = Cause("PS504", f"the {name} of the batch hold that value")
                if bad.only_in_padding:
                    because = f"the mask hides a NaN in the {name}, but 0 * NaN is NaN"
                    cause, name = Cause("PS506", because), "loss"
                return nonfinite_finding(cause, name, "loss", bad)
        return None

    def _of_labels(self) -> Finding | None:
        if self._run.labels is None:
            return None
        cause = no_class(*self._run.labels)
        return nonfinite_finding(cause, "targets", "loss")

    def _of_loss(self) -> Finding:
        bad = bad_values(self._run.loss_of(self._outputs), None)
        if bad is None:
            raise RuntimeError("Lossy: the loss is finite")
        cause, rows = self._cause(bad), self._rows()
        return nonfinite_finding(cause, "loss", "loss", bad, rows)

    def _cause(self, bad: BadValues) -> Cause:
        run, outputs = self._run, self._outputs
        weight = bad_weight(run.model.variables, run.trainable)
        if weight is not None:
            return weight
        code = own_code_of(lambda: run.loss_of(outputs))
        if code.cause is not None:
            return code.cause
        if is_finite(run.loss_of(jittered(outputs))):
            return DIVISION_BY_ZERO
        if bad.has_inf and is_finite(run.loss_of(shrunk(outputs))):
            return Cause("PS503", f"the loss is too large for {bad.dtype}")
        return DIVISION_BY_ZERO if bad.has_inf else UNDEFINED

    def _rows(self) -> dict[str, Any]:
        """The rows whose own loss is not finite, if each row can have one."""
        sizes = [t.shape[0] for t in tensors_in(self._outputs) if t.shape]
        batch = min(sizes, default=0)
        if batch > _ROWS_TRIED:
            return {}
        rows = [row for row in range(batch) if not self._is_finite_in(row)]
        return {"rows": rows[:8], "row_count": len(rows)}

    def _is_finite_in(self, row: int) -> bool:
        alone = slice(row, row + 1)
        of_row = map_tensors(lambda tensor: tensor[alone], self._outputs)
        return is_finite(self._run.loss_of(of_row, alone))


class _LooksAtLosses(Observer):
    """Finds the first call that adds a loss that is not finite."""

    def __init__(self) -> None:
        self.call: LayerCall | None = None
        self.bad: BadValues | None = None
        self.regularizing: OwnCode | None = None

    def leave(self, call: LayerCall) -> None:
        if self.call is not None or not isinstance(call.layer, keras.layers.Layer):
            return
        bad = [loss for loss in call.layer.losses if not is_finite(loss)]
        if bad:
            self.call, self.bad = call, bad_values(bad[0], None)
            code = own_code_of(lambda: call.layer.losses)
            self.regularizing = code if code.made else None
