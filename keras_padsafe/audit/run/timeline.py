"""The inputs of a batch, and those of them that share their positions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Input:
    """One array of a batch, with its name or number there."""

    name: str
    values: np.ndarray

    @property
    def is_integer(self) -> bool:
        """Whether it can hold ids."""
        return self.values.dtype.kind in "iu"

    @property
    def is_float(self) -> bool:
        """Whether it holds features; "V" is how NumPy sees bfloat16."""
        return self.values.dtype.kind in "fV"


@dataclass(frozen=True, eq=False)
class Timeline:
    """Positions that some inputs share, and so their padding.

    Attributes:
        padding: Bools of shape `(batch, ..., time)`, True where padding is: between
            the two are the timelines that this one lies in, as words in sentences.
        places: The numbers of the inputs that lie on it, and along which axes; none if
            the model makes the ids itself.
        masks: Those of them that are masks.
        outer: The numbers of the timelines that it lies in, the outermost first.
    """

    padding: np.ndarray
    places: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    masks: tuple[int, ...] = ()
    outer: tuple[int, ...] = ()

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of the inputs that lie on it."""
        return tuple(self.places)

    @property
    def length(self) -> int:
        """How many positions there are."""
        return self.padding.shape[-1]

    @property
    def real(self) -> np.ndarray:
        """True where no padding is."""
        return ~self.padding

    @property
    def held(self) -> bool:
        """Whether a mask says what padding is, whatever other inputs hold there."""
        return bool(self.masks)

    @property
    def padded_left(self) -> bool:
        """Whether most rows that hold padding begin with it."""
        flat = self.padding.reshape(-1, self.length)
        mixed = flat.any(1) & ~flat.all(1)
        return bool(flat[mixed, 0].sum() * 2 > mixed.sum())
