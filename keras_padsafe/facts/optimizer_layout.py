"""What is known of Keras's optimizers, measured on Keras 3.15.

How each orders its variables, which the file does not name: `iteration`, the learning
rate unless it is a schedule, then slots for the trainable variables in order.
"""

from typing import Any, Literal

SlotFill = float | Literal["weight"]
"""New entries of a slot: a number, or those of the weight that it averages."""


MOVES_ALL = frozenset(("Adafactor", "Ftrl", "Lamb"))
"""Moves an entry of a vector by more than its own gradient."""


def slots_of(
    class_name: str, config: dict[str, Any], count: int
) -> list[list[tuple[int, SlotFill]]] | None:
    """The (position, fill) of each slot of each trainable variable, of `count` saved.

    `None` for a class that is not known here, or if no number of trainable variables
    gives `count`.
    """
    blocks = _own_blocks(class_name, config)
    if blocks is None:
        return None
    if config.get("gradient_accumulation_steps"):
        blocks = [(0.0,), *blocks]
    if config.get("use_ema"):
        blocks = [("weight",), *blocks]
    # Scalars come first, and one of Nadam's at the end.
    position = 1 if isinstance(config.get("learning_rate"), dict) else 2
    trailing = int(class_name == "Nadam")
    rest, each = count - position - trailing, sum(map(len, blocks))
    if rest <= 0 or each == 0:
        return [] if rest in (0, -trailing) else None
    number, remainder = divmod(rest, each)
    if remainder:
        return None
    slots: list[list[tuple[int, SlotFill]]] = [[] for _ in range(number)]
    for block in blocks:
        for variable in slots:
            for fill in block:
                variable.append((position, fill))
                position += 1
    return slots


def _own_blocks(
    class_name: str, config: dict[str, Any]
) -> list[tuple[SlotFill, ...]] | None:
    start = float(config.get("initial_accumulator_value") or 0.0)
    match class_name:
        case "Adam" | "AdamW" | "Nadam" | "Adamax" | "Lamb" | "Adadelta":
            hats: list[tuple[SlotFill, ...]] = [(0.0,)] if config.get("amsgrad") else []
            return [(0.0, 0.0), *hats]
        case "SGD":
            return [(0.0,)] if config.get("momentum") else []
        case "RMSprop":
            options = (config.get("momentum"), config.get("centered"))
            return [(0.0,) for _ in range(1 + sum(map(bool, options)))]
        case "Adagrad":
            return [(start,)]
        case "Ftrl":
            return [(start, 0.0)]
        case "Lion":
            return [(0.0,)]
        case "ScheduleFreeAdamW":
            return [("weight", 0.0)]
    return None
