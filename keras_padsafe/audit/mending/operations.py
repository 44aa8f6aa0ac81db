"""Operations of `keras.ops` in a saved model, and the layers that do the same."""

import math
from typing import Any

from keras_padsafe.audit.mending import mask_rules
from keras_padsafe.audit.mending.mask_flow import Meeting
from keras_padsafe.audit.mending.swaps import (
    ACTIVATION,
    ACTIVATIONS,
    MASKED_ADD,
    RESCALING,
    Swap,
)

_MASK_FREE = frozenset(("ConvertToTensor",))
_FLOATS = frozenset("bfloat16 float16 float32 float64".split())


def layer_for(meeting: Meeting) -> tuple[Swap, dict[str, Any], list[Any]] | None:
    """The layer that does what an operation does, and keeps the mask.

    Returns:
        The class, its configuration but for name and dtype, and the arguments of its
        call; `None` if there is none.
    """
    kind = meeting.layer.class_name
    values = list(meeting.call.arguments.values())
    tensors = [value for value in values if _is_tensor(value)]
    if not tensors or any(_dtype(tensor) not in _FLOATS for tensor in tensors):
        return None
    if kind in ACTIVATIONS and len(values) == 1:
        return ACTIVATION, {"activation": ACTIVATIONS[kind]}, tensors
    if kind == "Add" and len(values) == len(tensors) == 2:
        return MASKED_ADD, {}, [tensors]
    if len(values) == 2 and len(tensors) == 1:
        number = next(value for value in values if not _is_tensor(value))
        if not _is_number(number):
            return None
        if kind == "Multiply":
            return RESCALING, {"scale": number, "offset": 0.0}, tensors
        if kind == "Add":
            return RESCALING, {"scale": 1.0, "offset": number}, tensors
        if kind == "Subtract" and values[0] is tensors[0]:
            return RESCALING, {"scale": 1.0, "offset": -number}, tensors
    return None


def dtype_of_output(meeting: Meeting) -> str | None:
    """The dtype that the operation computes in; `None` if it is none of its inputs'."""
    dtypes = {_dtype(v) for v in meeting.call.arguments.values() if _is_tensor(v)}
    return dtypes.pop() if len(dtypes) == 1 else None


def keeps_mask(meeting: Meeting) -> bool:
    """Whether the mask goes on behind an operation, once repair has been there."""
    kept = meeting.layer.class_name in _MASK_FREE
    return kept or (
        layer_for(meeting) is not None and dtype_of_output(meeting) is not None
    )


def drops_mask(meeting: Meeting) -> bool:
    """Whether steps go on behind an operation, and their mask does not."""
    kind = meeting.layer.class_name
    if kind in mask_rules.ASIDE or kind in _MASK_FREE:
        return False
    return kind != "GetItem" or not _takes_one_step(meeting)


def mixes_steps(meeting: Meeting) -> bool:
    """Whether an operation reduces over time, padding and all."""
    if meeting.layer.class_name not in mask_rules.REDUCTIONS:
        return False
    arguments = {**meeting.layer.config, **meeting.call.arguments}
    axis = arguments.get("axis", arguments.get("1"))
    return mask_rules.covers_time(axis, meeting.input_rank)


def _takes_one_step(meeting: Meeting) -> bool:
    """Whether `x[:, 3]` was written: a single step is left, and no time."""
    arguments = meeting.call.arguments
    key = arguments.get("1", arguments.get("key"))
    if isinstance(key, dict):  # A tuple, as Keras writes it.
        key = (key.get("config") or {}).get("value", key)
    return isinstance(key, list) and len(key) > 1 and isinstance(key[1], int)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _is_number(value: Any) -> bool:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and math.isfinite(value)


def _dtype(tensor: dict[str, Any]) -> str:
    return str(tensor["config"].get("dtype"))
