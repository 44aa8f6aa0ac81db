"""Entries of a weight that training leaves as they are."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import keras
from keras import ops

from keras_padsafe.compat import inner_layers, saved_arrays, walk_saved
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.types import Tensor


class HeldEntries(keras.constraints.Constraint):
    """Puts every entry of a weight back after each step, but for some along an axis.

    An optimizer moves all of a variable or none of it, whatever the gradient. So it
    moves it, and this, which Keras calls after each step, undoes it.

    Args:
        weight: The variable, with the values to keep.
        axis: The axis that runs over the ids.
        start: The first entry that trains; the others do from there on.
        then: The constraint that the variable had.
    """

    def __init__(self, weight: Any, axis: int, start: int, then: Any = None) -> None:
        parts = ops.split(ops.convert_to_tensor(weight), [start], axis=axis)
        self.kept = ops.copy(parts[0])
        self.axis, self.start, self.then = axis, start, then

    def __call__(self, w: Tensor) -> Tensor:
        w = w if self.then is None else self.then(w)
        moved = ops.split(ops.convert_to_tensor(w), [self.start], axis=self.axis)[1]
        return ops.concatenate([self.kept, moved], axis=self.axis)


def hold_old_entries(
    model: Any,
    sites: Iterable[ArraySite],
    new: int,
    frozen: Collection[str],
    renames: Mapping[str, str],
) -> list[Any]:
    """Lets only the last entries of arrays train.

    Args:
        model: A loaded model.
        sites: The arrays that run over the ids.
        new: How many of the last ids are new.
        frozen: Tables that keep their old rows themselves.
        renames: New groups of the weights file by their old ones.

    Returns:
        The variables that train.

    Raises:
        SurgeryError: if old entries of an array cannot be kept.
    """
    objects = dict(walk_saved(model))
    values = dict(saved_arrays(objects.items()))
    moving: list[Any] = []
    for site in sites:
        path = _renamed(site.path, renames)
        if site.path in frozen:
            moving += objects[path.removesuffix("/vars/0")].trainable_variables
            continue
        weight: Any = values.get(path)
        if not isinstance(weight, keras.Variable):
            raise SurgeryError(
                f"array {site.path}: the model holds it otherwise than the file, so "
                "its old entries cannot be kept."
            )
        start = site.size - new
        weight.constraint = HeldEntries(weight, site.axis, start, weight.constraint)
        moving.append(weight)
    return moving


def freeze_others(model: Any, moving: Iterable[Any]) -> None:
    """Lets no other variables of a model train: whole layers, where it can."""
    kept = {id(weight) for weight in moving}
    for layer in inner_layers(model):
        weights = layer.weights
        if weights and not any(id(weight) in kept for weight in weights):
            layer.trainable = False
    for weight in model.trainable_weights:
        weight.trainable = id(weight) in kept


def check_no_average(optimizer: Any) -> None:
    """Refuses an optimizer that writes to weights after their constraints.

    Raises:
        SurgeryError: if it does.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if getattr(inner, "use_ema", False):
        raise SurgeryError(
            "the optimizer averages weights (use_ema=True), which would round old "
            "entries of heads anew. Compile the model with another optimizer, save "
            "it, and freeze then."
        )


def _renamed(path: str, renames: Mapping[str, str]) -> str:
    groups = [group for group in renames if path.startswith(f"{group}/")]
    group = max(groups, key=len, default="")
    return renames[group] + path.removeprefix(group) if group else path
