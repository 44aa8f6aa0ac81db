"""How each Keras optimizer orders its variables, which the file does not name.

Measured on Keras 3.15 for every optimizer listed here: `iteration`, the learning
rate unless it is a schedule, then slots for the trainable variables in order.
"""

from dataclasses import dataclass
from typing import Any, Literal

SlotFill = float | Literal["weight"]
"""New entries of a slot: a number, or those of the weight that it averages."""


@dataclass(frozen=True)
class OptimizerLayout:
    """The order of an optimizer's variables.

    Attributes:
        leading: Number of scalars before the slots.
        blocks: One entry for each run over all trainable variables; within a run
            each variable has one slot for every fill listed.
        trailing: Number of scalars after the slots.
    """

    leading: int
    blocks: tuple[tuple[SlotFill, ...], ...]
    trailing: int = 0

    def slots(self, count: int) -> list[list[tuple[int, SlotFill]]] | None:
        """The positions of the slots of each trainable variable.

        Args:
            count: The number of variables that the optimizer saved.

        Returns:
            For each trainable variable its (position, fill) pairs, or `None` if no
            number of trainable variables gives `count`.
        """
        per_variable = sum(len(block) for block in self.blocks)
        rest = count - self.leading - self.trailing
        if rest <= 0 or per_variable == 0:
            return [] if rest in (0, -self.trailing) else None
        number, remainder = divmod(rest, per_variable)
        if remainder:
            return None
        slots: list[list[tuple[int, SlotFill]]] = [[] for _ in range(number)]
        position = self.leading
        for block in self.blocks:
            for variable in slots:
                for fill in block:
                    variable.append((position, fill))
                    position += 1
        return slots


def layout_of(class_name: str, config: dict[str, Any]) -> OptimizerLayout | None:
    """The layout of an optimizer, or `None` for a class not known here."""
    blocks = _own_blocks(class_name, config)
    if blocks is None:
        return None
    if config.get("gradient_accumulation_steps"):
        blocks = [(0.0,), *blocks]
    if config.get("use_ema"):
        blocks = [("weight",), *blocks]
    leading = 1 if isinstance(config.get("learning_rate"), dict) else 2
    return OptimizerLayout(leading, tuple(blocks), int(class_name == "Nadam"))


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
