"""Masks that a call was given by name, and which of its tensors each belongs to."""

import inspect
import itertools
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.masks.padded_elements import is_floating
from keras_padsafe.audit.run.watch import LayerCall, tensors_in
from keras_padsafe.types import Tensor


def named_arguments(call: LayerCall) -> dict[str, Any]:
    """The arguments of a call under the names of `call()`."""
    try:
        signature = inspect.signature(call.layer.call)
        bound = signature.bind_partial(*call.args, **call.kwargs).arguments
    except (TypeError, ValueError):  # Not ours to judge: the call itself will say.
        return {str(i): value for i, value in enumerate(call.args)} | call.kwargs
    named: dict[str, Any] = {}
    for name, value in bound.items():
        catches_all = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        named |= value if catches_all else {name: value}
    return named


def given_masks(named: dict[str, Any]) -> dict[str, Any]:
    """The masks among named arguments."""
    return {
        name: value
        for name, value in named.items()
        if "mask" in name and tensors_in(value)
    }


def contents(named: dict[str, Any]) -> list[Tensor]:
    """The floating-point tensors among named arguments, masks left out; each once."""
    parts = [value for name, value in named.items() if "mask" not in name]
    once = {id(tensor): tensor for tensor in tensors_in(parts)}
    return [tensor for tensor in once.values() if is_floating(tensor)]


def padding_by_argument(named: dict[str, Any]) -> dict[int, np.ndarray]:
    """What masks given by name hide of each tensor, by its identity.

    A mask belongs to the tensors with its `(batch, time)`; among several masks of one
    shape, that whose name begins most like the name of the tensor's argument. An
    attention mask is about keys.
    """
    masks: dict[str, np.ndarray] = {}
    for name, value in given_masks(named).items():
        for shown in map(_shown, tensors_in(value)):
            if shown is not None:
                masks[name] = shown
    names = [name for name in named if "mask" not in name]
    found: dict[int, np.ndarray] = {}
    for name in names:
        if name == "query" and len(names) > 1 and "query_mask" not in masks:
            continue
        for tensor in tensors_in(named[name]):
            fitting = [n for n, mask in masks.items() if _fits(mask, tensor)]
            if fitting:
                best = max(fitting, key=lambda mask: _alike(mask, name))
                found[id(tensor)] = masks[best]
    return found


def hiding_argument(given: dict[str, Any], padded: np.ndarray | None) -> str | None:
    """The name of the mask, among those given, that hides all padded positions."""
    if padded is None or padded.ndim != 2:
        return None
    for name, value in given.items():
        for shown in map(_shown, tensors_in(value)):
            if shown is None or shown.shape[1:] != padded.shape[1:]:
                continue
            if len(shown) in (1, len(padded)) and not (shown & padded).any():
                return name
    return None


def _shown(mask: Tensor) -> np.ndarray | None:
    """The positions that a mask shows; of an attention mask, to any query."""
    array = np.asarray(keras.ops.convert_to_numpy(mask))
    if array.ndim < 2 or not np.isin(array, (0, 1)).all():
        return None
    return np.asarray(array.astype(bool).any(axis=tuple(range(1, array.ndim - 1))))


def _alike(first: str, second: str) -> int:
    """How many letters two names begin with alike."""
    pairs = zip(first, second, strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _fits(mask: np.ndarray, tensor: Tensor) -> bool:
    return len(tensor.shape) > 2 and mask.shape == tuple(tensor.shape[:2])
