"""What a layer makes of a few ids: a column for each, or rows that they index."""

import math
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import own_global_state
from keras_padsafe.skeleton.watch_indexed import watch_indexed

_BY, _MOST_IDS, _MOST_NUMBERS, _MOST_WEIGHTS, _STEPS = 7, 64, 1 << 22, 1 << 20, 3
_FEW = 2  # With so few entries chance could show anything.


def column_key(layer: Any) -> str | None:
    """The number of columns, of which a layer without weights makes one for each id.

    The layer is made anew, with that number and with a larger one, and called on ids:
    each gives a number in its own column and zeros in all others, and old ids give
    the same whatever the number.
    """
    try:
        inputs, width, config = layer.input, layer.output.shape[-1], layer.get_config()
        if not layer.variables and width:
            for key in [key for key, value in config.items() if value == width]:
                raised = {**config, key: width + _BY}
                if _is_counted(layer, config, raised, inputs, width):
                    return key
    except Exception:  # A model's own code may raise anything.
        pass
    return None


def _is_counted(
    layer: Any,
    config: dict[str, Any],
    raised: dict[str, Any],
    inputs: Any,
    width: int,
) -> bool:
    old, every = _ids(inputs, width), _ids(inputs, width + _BY)
    before, after = (_run(layer, one, inputs, old) for one in (config, raised))
    return (
        _marks_each(before, old)
        and _marks_each(_run(layer, raised, inputs, every), every)
        and np.array_equal(before, after[..., :width])
    )


def _marks_each(made: np.ndarray, ids: np.ndarray) -> bool:
    """Whether each id has a number in its own column, and zeros in all others."""
    marks = (made != 0).any(axis=tuple(range(1, made.ndim - 1)))
    return np.array_equal(marks, ids[:, None] == np.arange(made.shape[-1]))


def _ids(inputs: Any, width: int) -> np.ndarray:
    """Some ids, the first and the last among them."""
    steps = math.prod(inputs.shape[1:]) if None not in inputs.shape[1:] else _STEPS
    count = max(2, min(width, _MOST_IDS, _MOST_NUMBERS // (steps * width)))
    return np.linspace(0, width - 1, count).astype(int)


def _run(
    layer: Any, config: dict[str, Any], inputs: Any, ids: np.ndarray
) -> np.ndarray:
    with own_global_state():
        return _on_ids(type(layer).from_config(config), inputs, ids)


def indexed_rows(layer: Any, inputs: Any) -> dict[int, tuple[int, bool]]:
    """The axis that ids index, for each weight of which they do, by its position.

    With it, whether all places of the layer's input do, or some of them. The layer is
    made anew and called on a few ids, in the place of `inputs`. Where the entries of
    one of them change in a weight, what it makes of that id changes, and of no other.
    """
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if not 0 < sum(map(math.prod, shapes)) <= _MOST_WEIGHTS:
        return {}
    try:
        if "int" not in inputs.dtype:
            return {}
        with own_global_state():
            made = type(layer).from_config(layer.get_config())
            _on_ids(made, inputs, np.zeros(2, int))
            return {
                number: (
                    axis,
                    _from_everywhere(made, number, axis, inputs)
                    and _as_they_are(made, number, axis, inputs),
                )
                for number, shape in enumerate(shapes)
                for axis in reversed(range(len(shape)))
                if shape[axis] > _FEW and _is_indexed(made, number, axis, inputs)
            }
    except Exception:  # A model's own code may raise anything.
        return {}


def _is_indexed(layer: Any, number: int, axis: int, inputs: Any) -> bool:
    """Whether an id finds its entries in a weight; `False` if the layer minds ids."""
    try:
        return _indexes(layer, number, axis, inputs)
    except Exception:  # Another weight may have fewer entries.
        return False


def _indexes(layer: Any, number: int, axis: int, inputs: Any) -> bool:
    for weight in layer.weights:
        weight.assign(np.random.default_rng(0).uniform(0.05, 0.15, weight.shape))
    last = layer.weights[number].shape[axis] - 1
    ids = np.unique([0, 1, last // 2, last])
    return all(
        np.array_equal(_moved(layer, number, axis, one, inputs, ids), ids == one)
        for one in ids[1:]
    )


def _from_everywhere(layer: Any, number: int, axis: int, inputs: Any) -> bool:
    """Whether an id at any one place of a row finds its entries of a weight."""
    last = layer.weights[number].shape[axis] - 1
    places = math.prod(dim or _STEPS for dim in inputs.shape[1:])
    ids = last * np.eye(places, dtype=int)[:_MOST_IDS]
    return bool(_moved(layer, number, axis, last, inputs, ids).all())


def _as_they_are(layer: Any, number: int, axis: int, inputs: Any) -> bool:
    """Whether ids beyond a weight enter it as they are, or all as one.

    As far as that is seen: what is computed of ids, as a remainder, is not.
    """
    weight = layer.weights[number]
    beyond = weight.shape[axis] * np.array([2, 3, 4, 5]) + [1, 2, 3, 5]
    beyond = beyond[beyond <= np.iinfo(inputs.dtype).max]
    if not beyond.size:
        return True
    with watch_indexed(first=True) as seen, suppress(Exception):  # It may mind them.
        _on_ids(layer, inputs, beyond)
    entered = (keras.ops.convert_to_numpy(one.ids) for one in seen.get(id(weight), ()))
    return all(np.isin(i, beyond).all() or len(np.unique(i)) == 1 for i in entered)


def _moved(
    layer: Any, number: int, axis: int, one: int, inputs: Any, ids: np.ndarray
) -> np.ndarray:
    """The rows of a batch that change with the entries of one id in a weight."""
    weight, plain = layer.weights[number], _on_ids(layer, inputs, ids)
    before = np.array(keras.ops.convert_to_numpy(weight))
    values = np.moveaxis(before.copy(), axis, 0)
    values[one] += 1
    weight.assign(np.moveaxis(values, 0, axis))
    moved = _on_ids(layer, inputs, ids) != plain
    weight.assign(before)
    return moved.reshape(len(ids), -1).any(-1)


def _on_ids(layer: Any, inputs: Any, ids: np.ndarray) -> np.ndarray:
    """What a layer makes of some ids: for each row those of its places, or one."""
    shape = [dim or _STEPS for dim in inputs.shape[1:]]
    rows = ids.reshape(len(ids), *([1] * len(shape) if ids.ndim == 1 else shape))
    batch = np.broadcast_to(rows, (len(ids), *shape))
    return np.asarray(keras.ops.convert_to_numpy(layer(batch.astype(inputs.dtype))))
