"""Where what is not finite at padded positions first reaches a real one."""

from dataclasses import dataclass, replace
from typing import Any

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.births import Birth, Scan
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    bad_values,
    is_float,
    replace_nonfinite,
)
from keras_padsafe.audit.run.known_masks import KnownMasks
from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in
from keras_padsafe.types import Tensor


@dataclass(frozen=True)
class Crossing:
    """Where a mask failed to hide something.

    Attributes:
        place: The path of the layer, or `"loss"`.
        bad: What is not finite there.
    """

    place: str
    bad: BadValues


def crossing(run: BatchRun, scan: Scan, birth: Birth) -> Crossing | None:
    """The first layer that lets a birth cross the mask.

    `None` if the birth is at real positions already, or never leaves the padded ones.
    """
    others = {other.key for other in scan.births} - {birth.key}
    known = scan.known
    if birth.is_input:
        # A layer may read the mask off the NaN itself, which the scan took away.
        masks_then = _Masks(others)
        run(masks_then)
        known = masks_then.known
        shape = birth.bad.bad.shape[:2]
        masks = [mask for mask in known.all() if mask.shape == shape]
        mask = masks[0] if masks and birth.bad.bad.ndim > 2 else None
    elif birth.bad.mask is not None:
        mask = birth.bad.mask
    else:
        tensors = [t for t in tensors_in(birth.call.args) if is_float(t)]
        shape = birth.bad.bad.shape
        masks = [known.of(t) for t in tensors if tuple(t.shape) == shape]
        mask = masks[0] if masks else None
    if not replace(birth.bad, mask=mask).only_in_padding:
        return None
    observer = _FirstReal(known, others)
    _, loss = run(observer)
    if observer.found is not None:
        return observer.found
    if loss is not None:
        bad = bad_values(loss, None)
        return None if bad is None else Crossing("loss", bad)
    return None


class _Alone(Observer):
    """Lets one birth through and replaces the others."""

    def __init__(self, others: set[Any]) -> None:
        self._others = others

    def enter(self, call: LayerCall) -> None:
        if (call.index, "enter") in self._others:
            call.args, call.kwargs = replace_nonfinite((call.args, call.kwargs))

    def leave(self, call: LayerCall) -> None:
        if (call.index, "leave") in self._others:
            call.outputs = replace_nonfinite(call.outputs)


class _Masks(_Alone):
    def __init__(self, others: set[Any]) -> None:
        super().__init__(others)
        self.known = KnownMasks()

    def enter(self, call: LayerCall) -> None:
        super().enter(call)
        self.known.note_all((call.args, call.kwargs))

    def leave(self, call: LayerCall) -> None:
        super().leave(call)
        self.known.note_all(call.outputs)


class _FirstReal(_Alone):
    def __init__(self, known: KnownMasks, others: set[Any]) -> None:
        super().__init__(others)
        self.found: Crossing | None = None
        self._known = known

    def enter(self, call: LayerCall) -> None:
        super().enter(call)
        if call.parent is not None:
            self._look(call.parent.path, call.inputs)

    def leave(self, call: LayerCall) -> None:
        super().leave(call)
        self._look(call.path, call.results)

    def _look(self, place: str, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            if self.found is not None or not is_float(tensor):
                return
            mask = self._known.of(tensor)
            if mask is None and len(tensor.shape) > 2:
                continue
            bad = bad_values(tensor, mask)
            if bad is not None and not bad.only_in_padding:
                self.found = Crossing(place, bad)
