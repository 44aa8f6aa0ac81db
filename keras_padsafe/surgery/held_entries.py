"""Entries of a weight that training leaves as they are."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import keras
from keras import ops

from keras_padsafe.archive.renames import new_path
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
        moving: The stretches of entries that train, each by its start and stop.
        then: The constraint that the variable had.
    """

    def __init__(
        self,
        weight: Any,
        axis: int,
        moving: Iterable[tuple[int, int]],
        then: Any = None,
    ) -> None:
        self.axis, self.then = axis, then
        self.bounds = [bound for stretch in moving for bound in stretch]
        self.kept = [ops.copy(part) for part in self._parts(weight)[::2]]

    def __call__(self, w: Tensor) -> Tensor:
        parts = self._parts(w if self.then is None else self.then(w))
        parts[::2] = self.kept
        return ops.concatenate(parts, axis=self.axis)

    def _parts(self, w: Any) -> list[Tensor]:
        """What is kept and what moves, in turns."""
        return [*ops.split(ops.convert_to_tensor(w), self.bounds, axis=self.axis)]


def hold_old_entries(
    model: Any,
    sites: Iterable[ArraySite],
    moving: Callable[[ArraySite], list[tuple[int, int]]],
    frozen: Collection[str],
    renames: Mapping[str, str],
) -> list[Any]:
    """Lets only the `moving` stretches of arrays train; returns the variables that do.

    Tables of `frozen` keep their old rows themselves; `renames` has new groups of the
    weights file by their old ones.

    Raises:
        SurgeryError: if old entries of an array cannot be kept.
    """
    objects = dict(walk_saved(model))
    values = dict(saved_arrays(objects.items()))
    training: list[Any] = []
    for site in sites:
        path = new_path(site.path, renames)
        if site.path in frozen:
            training += objects[path.removesuffix("/vars/0")].trainable_variables
            continue
        weight: Any = values.get(path)
        if not isinstance(weight, keras.Variable):
            if not objects[path.rpartition("/vars/")[0]].trainable_variables:
                continue
            raise SurgeryError(
                f"array {site.path}: the model and the file hold it in different "
                "shapes, so its old entries cannot be kept."
            )
        weight.constraint = HeldEntries(
            weight, site.axis, moving(site), weight.constraint
        )
        training.append(weight)
    return training


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
    """Refuses an optimizer that writes to weights after their constraints."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if getattr(inner, "use_ema", False):
        raise SurgeryError(
            "the optimizer averages weights (use_ema=True), which would round old "
            "entries of heads again. Compile the model with another optimizer, save "
            "it, and then freeze."
        )
