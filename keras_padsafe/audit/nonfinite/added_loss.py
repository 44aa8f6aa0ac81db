"""Losses that layers add themselves: `add_loss` and the regularizers of weights."""

from dataclasses import dataclass

import keras

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.causes import (
    Cause,
    bad_weight,
    of_operation,
    undefined,
)
from keras_padsafe.audit.nonfinite.first_primitive import (
    OwnCode,
    agreed,
    own_code,
    own_code_of,
)
from keras_padsafe.audit.run.bad_values import BadValues, bad_values, is_finite
from keras_padsafe.audit.run.watch import LayerCall, Observer


@dataclass(frozen=True)
class AddedLoss:
    """A layer whose own loss is not finite.

    Attributes:
        place: The path of the layer.
        bad: The loss.
        cause: Why it is not finite.
    """

    place: str
    bad: BadValues
    cause: Cause


def added_loss(run: BatchRun) -> AddedLoss | None:
    """The first layer that adds a loss that is not finite, of finite values."""
    observer = _LooksAtLosses()
    run(observer)
    call, bad = observer.call, observer.bad
    if call is None or bad is None:
        return None
    cause = bad_weight(run.model, call.layer_variables)
    if cause is None:
        code = observer.regularizing or own_code(run, call.index, {})
        made = agreed(code)
        cause = of_operation(made) if made is not None else undefined()
    return AddedLoss(call.path, bad, cause)


class _LooksAtLosses(Observer):
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
