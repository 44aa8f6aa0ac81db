"""What became of masks in one call."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MaskRow:
    """What became of masks in one call of a layer or operation.

    Attributes:
        path: The names of the layers it was called in, and its own.
        class_name: Its class.
        mask_in: For each floating-point input: `"mask"`, `"none"`, or `"all True"` for
            a mask that hides none of the padding in it.
        used: The names of the mask arguments that reached `call()`.
        mask_out: As `mask_in`, for each floating-point output.
        mask_after: As `mask_in`, when the call had ended: a layer may take a mask away.
        events: What happened: `"born"`, `"kept"`, `"combined"`, `"consumed"` (used,
            and no padding left), `"dropped"`, `"erased"` (from the inputs), `"ignored"`
            or `"from nowhere"`; empty if no mask came in or went out.
        padded: The share of padding in what came in, or went out.
    """

    path: str
    class_name: str
    mask_in: tuple[str, ...]
    used: tuple[str, ...]
    mask_out: tuple[str, ...]
    mask_after: tuple[str, ...]
    events: tuple[str, ...]
    padded: float

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "path": self.path,
            "class": self.class_name,
            "mask_in": list(self.mask_in),
            "used": list(self.used),
            "mask_out": list(self.mask_out),
            "mask_after": list(self.mask_after),
            "events": list(self.events),
            "padded": self.padded,
        }
