"""One sequence with what belongs to it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from keras_padsafe.data.forms import PARTS, Key, by_name, file
from keras_padsafe.errors import DataError

Per = Literal["step", "sequence"]
TooLong = Literal["raise", "truncate", "split"]


class Example(NamedTuple):
    """A sequence, or a part of one.

    Attributes:
        number: Which of the sequences given it is.
        length: How many steps it has.
        steps: Arrays whose first axis are the steps.
        whole: Arrays that belong to the sequence as a whole.
    """

    number: int
    length: int
    steps: dict[Key, np.ndarray]
    whole: dict[Key, np.ndarray]

    @property
    def keys(self) -> set[Key]:
        return {*self.steps, *self.whole}


def read_example(
    number: int, parts: tuple[Any, ...], y_per: Per | Mapping[str, Per]
) -> Example:
    """Reads and checks `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
    if not 1 <= len(parts) <= 3:
        raise DataError(
            f"sequence {number}: expected x, (x, y) or (x, y, sample_weight). "
            f"Received: {len(parts)} parts. Pass several inputs as a dict."
        )
    arrays = {key: _array(v, key[0], number) for key, v in file(parts).items()}
    names = [[name for part, name in arrays if part == p] for p in PARTS]
    if not {*names[2]} <= {*names[1]}:
        raise DataError(
            f"sequence {number}: expected `sample_weight` to be named as `y` is. "
            f"Received: the names {names[2]} and {names[1]}."
        )
    length = _common_length([arrays["x", name] for name in names[0]], number)
    steps: dict[Key, np.ndarray] = {}
    whole: dict[Key, np.ndarray] = {}
    for (part, name), array in arrays.items():
        per = "step" if part == "x" else by_name(y_per, name, "y_per")
        if part == "sample_weight":
            if array.dtype.kind not in "biuf":
                raise DataError(
                    f"sequence {number}: expected numbers in `sample_weight`. "
                    f"Received: {array.dtype}."
                )
            array = array.astype("float32")
            if per == "step" and not array.ndim:  # It counts for each step.
                array = np.full(length, array)
        if per == "step" and (not array.ndim or len(array) != length):
            raise DataError(
                f"sequence {number}: expected one entry of `{part}` for each of "
                f"{length} steps. Received: shape {array.shape}. If labels belong to "
                "the sequence as a whole, pass y_per='sequence'."
            )
        (steps if per == "step" else whole)[part, name] = array
    return Example(number, length, steps, whole)


def cut(example: Example, length: int, too_long: TooLong) -> Iterator[Example]:
    """Makes examples of at most `length` steps."""
    if example.length > length and (
        too_long == "raise" or (too_long == "split" and example.whole)
    ):
        others = "'truncate' or 'split'" if not example.whole else "'truncate'"
        raise DataError(
            f"sequence {example.number}: expected at most {length} steps. Received: "
            f"{example.length}. Allow more, or choose too_long={others}. A sequence "
            "with a label of its own cannot be split."
        )
    stop = length if too_long == "truncate" else example.length
    for start in range(0, stop, length):
        steps = {k: array[start : start + length] for k, array in example.steps.items()}
        yield example._replace(length=min(length, example.length - start), steps=steps)


def _array(value: Any, part: str, number: int) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # Lists of several lengths.
        array = np.array(None)
    if array.dtype == object and not all(
        isinstance(entry, str | bytes) for entry in array.flat
    ):
        raise DataError(
            f"sequence {number}: expected numbers or text in `{part}`, of one shape "
            "for each step. Received: lists of several lengths, or other objects. "
            "Pass several inputs as a dict of lists of sequences."
        )
    narrower = {"int64": "int32", "float64": "float32"}.get(array.dtype.name)
    if narrower is None or hasattr(value, "dtype"):
        return array
    # Numbers of Python have no size of their own.
    narrow = array.astype(narrower)
    fits = narrower == "float32" or bool((narrow == array).all())
    return narrow if fits else array


def _common_length(inputs: Sequence[np.ndarray], number: int) -> int:
    lengths = {len(array) if array.ndim else 0 for array in inputs}
    if len(lengths) == 1 and 0 not in lengths:
        return lengths.pop()
    shapes = ", ".join(str(array.shape) for array in inputs)
    raise DataError(
        f"sequence {number}: expected at least one step, and as many in every input. "
        f"Received: inputs of shapes {shapes}. Leave out sequences that are empty."
    )
