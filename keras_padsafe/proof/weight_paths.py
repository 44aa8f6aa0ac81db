"""Under which path of the weights file each part of a loaded model is saved."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def saved_arrays(model: Any) -> Iterator[tuple[str, Any]]:
    """What Keras would save of a model: path in the weights file and value.

    A value is a `keras.Variable` where the layer saves one as it is.
    """
    from keras_padsafe.compat import walk_saved

    for group, saved in walk_saved(model):
        store: dict[str, Any] = {}
        if hasattr(saved, "save_own_variables"):
            saved.save_own_variables(store)
        for key, value in store.items():
            yield (f"{group}/vars/{key}" if group else f"vars/{key}"), value


def layer_groups(model: Any) -> dict[int, str]:
    """The group of the weights file of each layer, by the layer's `id`."""
    from keras_padsafe.compat import walk_saved

    return {id(saved): group for group, saved in walk_saved(model)}


def as_array(value: Any) -> np.ndarray:
    """A saved value with its own dtype."""
    import keras

    if isinstance(value, np.ndarray):
        return value
    return np.asarray(keras.ops.convert_to_numpy(value))
