"""Which elements of an output are padding, from the inputs and what was measured."""

import numpy as np

from keras_padsafe.audit.masks.mask_lineage import (
    Loss,
    SeenTensor,
    TracedCall,
    padding_of,
)
from keras_padsafe.audit.masks.padded_elements import covers, spread
from keras_padsafe.audit.masks.probe_call import Probe
from keras_padsafe.types import Tensor


def common_padding(traced: TracedCall) -> np.ndarray | None:
    """The padded positions of a call, if its inputs agree on them."""
    first, *others = [
        seen.padded for seen in traced.padded_inputs if seen.padded is not None
    ] or [np.zeros(())]
    same = all(np.array_equal(first, other) for other in others)
    return first if first.ndim == 2 and same else None


def first_loss(inputs: list[SeenTensor]) -> Loss | None:
    """The earliest loss of a mask among some inputs."""
    losses = [seen.lost for seen in inputs if seen.lost]
    return min(losses, key=lambda loss: loss.order, default=None)


def _same_time(traced: TracedCall, tensor: Tensor) -> list[SeenTensor]:
    """The inputs whose positions are those of an output, as far as shapes can say."""
    shape = tuple(tensor.shape)
    return [
        seen
        for seen in traced.inputs
        if tuple(seen.tensor.shape) == shape
        or (
            min(len(shape), len(seen.tensor.shape)) > 2
            and tuple(seen.tensor.shape[:2]) == shape[:2]
        )
    ]


def _flags(seen: SeenTensor, tensor: Tensor) -> np.ndarray | None:
    """The padded elements of an input, if they can be those of an output."""
    padded = seen.padded
    if padded is None or not covers(padded, tensor.shape):
        return None
    return spread(padded, tensor.shape)


def padding_after(
    traced: TracedCall, tensor: Tensor, probe: Probe | None, mask: np.ndarray | None
) -> np.ndarray | None:
    """The padded elements of an output."""
    found = _by_position(traced, tensor, probe, mask)
    if found is None and probe is not None and probe.alone.any():
        found = probe.alone
    if found is not None and not found.any():
        found = None
    if mask is not None and found is None:
        return padding_of(mask) if not traced.padded_inputs or probe else None
    return found


def _by_position(
    traced: TracedCall, tensor: Tensor, probe: Probe | None, mask: np.ndarray | None
) -> np.ndarray | None:
    same = _same_time(traced, tensor)
    flags = [_flags(seen, tensor) for seen in same]
    padded = [flag for flag in flags if flag is not None]
    if not padded:
        return None
    some = np.logical_or.reduce(padded)
    if probe is not None and (spread(probe.alone, tensor.shape) & ~some).any():
        return None  # Its positions stand elsewhere in the output.
    everywhere = np.logical_and.reduce(padded) & (len(padded) == len(flags))
    touched = np.zeros_like(some) if probe is None else probe.by_padding
    hidden = np.zeros_like(some) if mask is None else spread(~mask, tensor.shape)
    found = everywhere | (some & (touched | hidden))
    rank = max(seen.padded.ndim for seen in same if seen.padded is not None)
    inner = tuple(range(rank, found.ndim))
    return found.any(inner)


def standing_padding(traced: TracedCall, tensor: Tensor) -> np.ndarray:
    """The elements of an output that stand where padding stood in an input."""
    found = np.zeros(tuple(tensor.shape), bool)
    for seen in _same_time(traced, tensor):
        flags = _flags(seen, tensor)
        if flags is not None:
            found |= flags
    return found
