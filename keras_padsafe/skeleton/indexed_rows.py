"""Which weights of a layer ids index, whatever way it takes to look them up."""

import math
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import own_global_state
from keras_padsafe.skeleton.column_key import run_on_ids

_MOST_NUMBERS = 1 << 20


def indexed_rows(layer: Any) -> dict[int, int]:
    """The axis that ids index, for each weight of which they do, by its position.

    The layer is made anew and called on a few ids. Where the entries of one of them
    change in a weight, what it makes of that id changes, and of no other.

    Args:
        layer: A layer of a skeleton.
    """
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if not 0 < sum(map(math.prod, shapes)) <= _MOST_NUMBERS:
        return {}
    try:
        inputs = layer.input
        if "int" not in inputs.dtype:
            return {}
        with own_global_state():
            made = type(layer).from_config(layer.get_config())
            run_on_ids(made, inputs, np.zeros(2, int))
            return {
                number: axis
                for number, shape in enumerate(shapes)
                for axis in reversed(range(len(shape)))
                if shape[axis] > 1 and _indexes(made, number, axis, inputs)
            }
    except Exception:  # A model's own code may raise anything.
        return {}


def _indexes(layer: Any, number: int, axis: int, inputs: Any) -> bool:
    for weight in layer.weights:
        weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
    weight = layer.weights[number]
    before = np.array(keras.ops.convert_to_numpy(weight))
    last = weight.shape[axis] - 1
    ids = np.unique([0, 1, last // 2, last])
    plain = run_on_ids(layer, inputs, ids)
    for one in ids[1:]:
        values = np.moveaxis(before.copy(), axis, 0)
        values[one] += 1
        weight.assign(np.moveaxis(values, 0, axis))
        moved = run_on_ids(layer, inputs, ids) != plain
        if not np.array_equal(moved.reshape(len(ids), -1).any(-1), ids == one):
            return False
    return True
