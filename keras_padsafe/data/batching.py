"""What packing and buckets have in common."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from keras_padsafe.arguments import read_choice, read_flag, unread
from keras_padsafe.data.dtypes import common_dtype, with_nothing
from keras_padsafe.data.example import Example, Per, TooLong, cut, read_example
from keras_padsafe.data.forms import Key, by_name
from keras_padsafe.errors import DataError

Item = TypeVar("Item")
Row = tuple[Item, ...]
_CHOICES = {"too_long": ("raise", "truncate", "split"), "y_per": ("step", "sequence")}


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How sequences become batches of rows: `Packing` or `Buckets`."""

    y_per: Per | Mapping[str, Per] = "step"
    too_long: TooLong = "raise"
    pad_id: Any = 0
    pad_label: Any = -1
    drop_remainder: bool = False

    one_shape: ClassVar[bool]
    """Whether all batches have one shape."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                read_choice(value, name, choices, DataError)
        read_flag(self.drop_remainder, "drop_remainder", DataError)

    @property
    def longest(self) -> int:
        """How many steps a sequence may have."""
        raise NotImplementedError

    def rows(
        self, items: Iterable[Item], size_of: Callable[[Item], int], in_order: bool
    ) -> Iterator[Row[Item]]:
        """Puts items into rows; `in_order` are those that come one after another."""
        raise NotImplementedError

    def batches(
        self, rows: Iterable[Row[Item]], size_of: Callable[[Item], int]
    ) -> Iterator[list[Row[Item]]]:
        """Puts rows into batches."""
        raise NotImplementedError

    def sizes(self, rows: Sequence[Row[Example]]) -> tuple[int, int]:
        """How many rows the arrays of a batch have, and how many steps."""
        raise NotImplementedError

    def fill(self, rows: Sequence[Row[Example]]) -> dict[Key, np.ndarray]:
        """Makes the arrays of a batch."""
        raise NotImplementedError

    def read(self, elements: Iterable[tuple[Any, ...]]) -> Iterator[Example]:
        """Reads `(x,)`, `(x, y)` or `(x, y, sample_weight)`, each of one sequence."""
        first: Example | None = None
        for number, parts in enumerate(elements):
            example = read_example(number, parts, self.y_per)
            first = first or example
            if example.keys != first.keys:
                raise DataError(
                    f"sequence {number}: expected the parts and names of the first, "
                    f"{sorted(first.keys, key=str)}. Received: "
                    f"{sorted(example.keys, key=str)}."
                )
            yield from cut(example, self.longest, self.too_long)

    def lay(self, rows: Sequence[Row[Example]], key: Key, *sizes: int) -> np.ndarray:
        """Lays the arrays of each row end to end, in an array that begins with `sizes`.

        Those of whole sequences lie one after another.
        """
        of_steps = key in rows[0][0].steps
        arrays = [
            [e.steps[key] if of_steps else e.whole[key][None] for e in row]
            for row in rows
        ]
        flat = [array for row in arrays for array in row]
        shapes = {array.shape[1:] for array in flat}
        if len(shapes) > 1:
            raise DataError(
                f"{key[0]}: expected arrays of one shape for every "
                f"{'step' if of_steps else 'sequence'}. Received: the shapes "
                f"{sorted(shapes)[:4]}."
            )
        dtype = common_dtype({array.dtype for array in flat}, key[0])
        laid = np.empty((*sizes, *shapes.pop()), dtype)
        if of_steps or self.one_shape:  # Else all of it is filled.
            dtype, nothing = with_nothing(dtype, *self._nothing(key))
            laid = np.full(laid.shape, nothing, dtype)
        for out, row in zip(laid, arrays, strict=False):
            joined = np.concatenate(row)
            out[: len(joined)] = joined
        return laid

    def _nothing(self, key: Key) -> tuple[Any, str]:
        """What stands where nothing is, and the argument that says so."""
        part, name = key
        if part == "sample_weight":
            return 0, part
        argument = "pad_id" if part == "x" else "pad_label"
        return by_name(getattr(self, argument), name, argument), argument


def check_batching(value: Any) -> Batching:
    """Refuses what is no `Packing` or `Buckets`."""
    if isinstance(value, Batching):
        return value
    raise unread("batching", "a `Packing` or `Buckets`", value, DataError)
