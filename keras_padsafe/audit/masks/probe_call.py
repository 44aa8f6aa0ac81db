"""One call again, with other content at its padded positions, or at its real ones."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from keras_padsafe.audit.masks.mask_lineage import SeenTensor
from keras_padsafe.audit.masks.padded_elements import (
    as_array,
    changed,
    is_floating,
    noise,
    padded_outputs,
    replaced,
)
from keras_padsafe.audit.run.watch import LayerCall, map_tensors, tensors_in
from keras_padsafe.compat import set_keras_mask
from keras_padsafe.types import Tensor

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Probe:
    """What an output depends on.

    Attributes:
        by_padding: The elements that change with the content at padded positions.
        alone: Those of them that depend on nothing else.
        mixed: Those of them that depend on real positions too.
    """

    by_padding: np.ndarray
    alone: np.ndarray
    mixed: np.ndarray


def probe_call(
    call: LayerCall,
    inputs: dict[int, SeenTensor],
    masks: dict[int, Tensor | None],
    excused: list[np.ndarray],
) -> list[Probe] | None:
    """What each output of a call depends on; `None` if it cannot be measured.

    Args:
        call: The call, when it has ended.
        inputs: Its floating-point inputs, by identity.
        masks: The masks that its tensors carried when it began, by identity.
        excused: For each output, the elements that stand where padding stood.
    """
    generator = np.random.default_rng(call.index)

    def padding(tensor: Tensor) -> Tensor:
        flags = inputs[id(tensor)].padded
        if flags is None:
            return tensor
        return replaced(tensor, flags, noise(tensor, generator))

    def content(tensor: Tensor) -> Tensor:
        flags = inputs[id(tensor)].padded
        real = np.ones(1, bool) if flags is None else ~flags
        return replaced(tensor, real, noise(tensor, generator))

    def same(tensor: Tensor) -> Tensor:
        return tensor

    before = call.results
    by_padding = _differences(call, inputs, masks, padding, before)
    if by_padding is None:
        return None
    outside = [flags & ~known for flags, known in zip(by_padding, excused, strict=True)]
    if not any(flags.any() for flags in outside):
        return [Probe(flags, flags, np.zeros_like(flags)) for flags in by_padding]
    again = _differences(call, inputs, masks, same, before)
    if again is None or any(flags.any() for flags in again):
        return None  # Its answers differ from one call to the next.
    # A dead unit hides what it depends on: two draws see what one might miss.
    draws = [_differences(call, inputs, masks, content, before) for _ in range(2)]
    probes = []
    for index, flags in enumerate(by_padding):
        drawn = [draw[index] for draw in draws if draw is not None]
        by_content = np.logical_or.reduce(drawn) if drawn else np.ones_like(flags)
        probes.append(Probe(flags, *padded_outputs(flags, by_content)))
    return probes


def answers_without_padding(
    call: LayerCall,
    inputs: dict[int, SeenTensor],
    masks: dict[int, Tensor | None],
    padded: np.ndarray,
) -> bool:
    """Whether the call answers the same if its padded positions are cut out.

    Then it does no harm with what it gets: a sum, say, of a layer's zeros.

    Args:
        call: The call, when it has ended.
        inputs: Its floating-point inputs, by identity.
        masks: The masks that its tensors carried when it began, by identity.
        padded: The padded positions, `(batch, time)`.
    """
    rows = [row for row, flags in enumerate(padded) if 0 < flags.sum() < flags.size]
    for row in rows[:4]:
        real = np.flatnonzero(~padded[row])

        def cut(tensor: Tensor, row: int = row, real: np.ndarray = real) -> Tensor:
            if tuple(tensor.shape[:2]) == padded.shape:
                return keras.ops.take(tensor[row : row + 1], real, axis=1)
            if tuple(tensor.shape[:1]) == padded.shape[:1]:
                return tensor[row : row + 1]
            return tensor

        outputs = _run_again(call, masks, cut, cut)
        if outputs is None:
            return False
        for whole, short in zip(call.results, outputs, strict=True):
            if not _agree(cut(whole), short):
                return False
    return bool(rows)


def _agree(expected: Tensor, received: Tensor) -> bool:
    expected, received = as_array(expected), as_array(received)
    if expected.shape != received.shape:
        return False
    size = np.abs(expected).max(initial=0)
    return np.allclose(expected, received, rtol=0, atol=1e-4 * size)


def _differences(
    call: LayerCall,
    inputs: dict[int, SeenTensor],
    masks: dict[int, Tensor | None],
    change: Change,
    before: list[Tensor],
) -> list[np.ndarray] | None:
    def change_known(tensor: Tensor) -> Tensor:
        return change(tensor) if id(tensor) in inputs else tensor

    after = _run_again(call, masks, change_known, lambda mask: mask)
    if after is None or [t.shape for t in after] != [t.shape for t in before]:
        return None
    return [changed(old, new) for old, new in zip(before, after, strict=True)]


def _run_again(
    call: LayerCall,
    masks: dict[int, Tensor | None],
    change: Change,
    change_mask: Change,
) -> list[Tensor] | None:
    def other(tensor: Tensor) -> Tensor:
        # A copy: a layer may take the mask away from what it is given.
        new = change(tensor)
        if new is tensor and is_floating(tensor):
            new = keras.ops.copy(tensor)
        mask = masks.get(id(tensor))
        if mask is not None and new is not tensor:
            set_keras_mask(new, change_mask(mask))
        return new

    once: dict[int, Tensor] = {}

    def remembered(tensor: Tensor) -> Tensor:
        if id(tensor) not in once:
            once[id(tensor)] = other(tensor)
        return once[id(tensor)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            args, kwargs = map_tensors(remembered, (call.args, call.kwargs))
            return tensors_in(call.layer(*args, **kwargs))
    except Exception:
        # Any layer's code may refuse what it was not written for: not measured.
        return None
