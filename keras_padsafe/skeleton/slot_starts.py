"""What an optimizer's variables belong to and start with: ask the optimizer.

It is built once more, with values, on small variables that stand for those of the
model: of the same names and numbers of dimensions, each full of a number of its own.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_padsafe.compat import own_global_state

_SMALL, _MARK = 2, -1000.0


class SlotStart(NamedTuple):
    """How the entries of one variable of an optimizer start.

    Attributes:
        of: The position of the trainable variable that it belongs to, if that is one
            of those asked for.
        number: The number that every entry starts with, if it is one.
        copies: The position of the trainable variable whose entries it copies, if so.
    """

    of: int | None = None
    number: float | None = None
    copies: int | None = None


def slot_starts(
    optimizer: Any, trainable: Sequence[Any], asked: Sequence[int]
) -> list[SlotStart]:
    """How the entries of each variable of an optimizer start, in order.

    Args:
        optimizer: A built optimizer; only its configuration counts.
        trainable: The variables that it trains; only names and shapes count.
        asked: Positions of those whose slots are wanted. Their stand-ins are told
            apart by their size.
    """
    with own_global_state():
        sizes = {position: _SMALL + 1 + n for n, position in enumerate(asked)}
        small = [
            _stand_in(position, weight, sizes.get(position, _SMALL))
            for position, weight in enumerate(trainable)
        ]
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
        owners = {size: position for position, size in sizes.items()}
        return [_start(variable, averages, owners) for variable in same.variables]


def _start(
    variable: Any, averages: dict[int, int], owners: dict[int, int]
) -> SlotStart:
    dims = set(variable.shape)
    of = owners.get(dims.pop()) if len(dims) == 1 else None
    # The average is 0 until the first step, at which it becomes the weight.
    if id(variable) in averages:
        return SlotStart(of, copies=averages[id(variable)])
    values = np.unique(np.asarray(keras.ops.convert_to_numpy(variable), np.float64))
    if values.size != 1:
        return SlotStart(of)
    if values[0] <= _MARK:
        return SlotStart(of, copies=round(_MARK - values[0]))
    return SlotStart(of, float(str(np.float32(values[0]))))  # 0.1, not 0.10000000149


def _stand_in(position: int, weight: Any, size: int) -> Any:
    *scopes, name = weight.path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        marked = np.full([size] * len(weight.shape), _MARK - position, "float32")
        return keras.Variable(marked, dtype="float32", name=name)
