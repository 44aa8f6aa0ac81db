"""What the entries of an optimizer's variables start with: ask the optimizer.

It is built once more, with values, on small variables that stand for those of the
model: of the same names and numbers of dimensions, each full of a number of its own.
"""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import own_global_state


def slot_starts(optimizer: Any, trainable: list[Any]) -> list[tuple[str, Any]]:
    """For each variable of an optimizer how its entries start.

    Args:
        optimizer: A built optimizer; only its configuration counts.
        trainable: The variables that it trains; only names and shapes count.

    Returns:
        For each variable of the optimizer `("number", start)`,
        `("weight", position in trainable)`, or `("unknown", None)` where its entries
        start with different numbers.
    """
    with own_global_state():
        small = [_stand_in(index, weight) for index, weight in enumerate(trainable)]
        written = keras.saving.serialize_keras_object(optimizer)
        same = keras.saving.deserialize_keras_object(written)
        same.build(small)
        averages = {
            id(average): position
            for part in (same, getattr(same, "inner_optimizer", None))
            for position, average in enumerate(
                getattr(part, "_model_variables_moving_average", ())
            )
        }
        return [_start(variable, averages) for variable in same.variables]


def _start(variable: Any, averages: dict[int, int]) -> tuple[str, Any]:
    # The average is 0 until the first step, at which it becomes the weight.
    if id(variable) in averages:
        return "weight", averages[id(variable)]
    values = np.unique(np.asarray(keras.ops.convert_to_numpy(variable), np.float64))
    if values.size != 1:
        return "unknown", None
    value = float(str(np.float32(values[0])))  # 0.1, not 0.10000000149
    return ("weight", round(-value) - 1000) if value <= -1000 else ("number", value)


def _stand_in(index: int, weight: Any) -> Any:
    shape = tuple(min(dim, 2) for dim in weight.shape)
    *scopes, name = weight.path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        marked = np.full(shape, -1000.0 - index, "float32")
        return keras.Variable(marked, dtype="float32", name=name)
