"""One sequence with what belongs to it, read and checked."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from keras_padsafe.data.checks import check_choice, check_count
from keras_padsafe.errors import DataError

Key = tuple[str, str | None]
"""Where an array belongs: `"x"`, `"y"` or `"sample_weight"`, and its name there."""

Per = Literal["step", "sequence"]
TooLong = Literal["raise", "truncate", "split"]


class Example(NamedTuple):
    """A sequence.

    Attributes:
        number: Which of the sequences given it is, or is a part of.
        length: How many steps it has.
        steps: Arrays whose first axis are the steps.
        whole: Arrays that belong to the sequence as a whole.
    """

    number: int
    length: int
    steps: dict[Key, np.ndarray]
    whole: dict[Key, np.ndarray]


def size_of(example: Example) -> int:
    """The number of steps."""
    return example.length


@dataclass(frozen=True)
class ExampleReader:
    """Reads what a caller gives for one sequence.

    Attributes:
        length: How many steps there may be.
        too_long: What to do with a sequence of more.
        y_per: Whether labels belong to steps or to sequences; one for all or one
            for each name.
    """

    length: int
    too_long: TooLong
    y_per: Per | Mapping[str, Per]

    def __post_init__(self) -> None:
        check_count("length", self.length)
        check_choice("too_long", self.too_long, ("raise", "truncate", "split"))
        by_name = isinstance(self.y_per, Mapping)
        for per in self.y_per.values() if by_name else (self.y_per,):
            check_choice("y_per", per, ("step", "sequence"))

    def read_all(self, elements: Iterable[tuple[Any, ...]]) -> Iterator[Example]:
        """Reads elements one after another."""
        for number, parts in enumerate(elements):
            yield from self._read(number, parts)

    def _read(self, number: int, parts: tuple[Any, ...]) -> list[Example]:
        """Reads `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

        Returns:
            One example, or several if it was split.
        """
        place = f"sequence {number}"
        if not 1 <= len(parts) <= 3:
            raise DataError(
                f"{place}: expected x, (x, y) or (x, y, sample_weight). Received: "
                f"{len(parts)} parts. Pass several inputs as a dict."
            )
        x, y, weights = (*map(_named, parts), *({},) * (3 - len(parts)))
        steps = {("x", name): _array(value) for name, value in x.items()}
        length = _common_length(steps, place)
        whole: dict[Key, np.ndarray] = {}
        for name, value in y.items():
            here = steps if self._per(name) == "step" else whole
            here["y", name] = _array(value)
        if weights.keys() - y.keys():
            raise DataError(
                f"{place}: `sample_weight` must be named as `y` is. Received: "
                f"{sorted(map(str, weights))} and {sorted(map(str, y))}."
            )
        for name, value in weights.items():
            weight = _array(value).astype("float32")
            key = ("sample_weight", name)
            if self._per(name) == "sequence":
                whole[key] = weight
            else:  # A number counts for each step.
                steps[key] = weight if weight.ndim else np.full(length, weight)
        for (part, _), value in steps.items():
            if value.ndim == 0 or len(value) != length:
                raise DataError(
                    f"{place}: expected one item of `{part}` for each of {length} "
                    f"steps. Received: shape {value.shape}. If they are labels of "
                    "the sequence as a whole, pass y_per='sequence'."
                )
        return list(self._cut(Example(number, length, steps, whole), place))

    def _per(self, name: str | None) -> Per:
        if not isinstance(self.y_per, Mapping):
            return self.y_per
        if name not in self.y_per:
            raise DataError(
                f"y_per: expected an entry for each output. Received: none for "
                f"{name!r}. Add it, as 'step' or 'sequence'."
            )
        return self.y_per[name]

    def _cut(self, example: Example, place: str) -> Iterator[Example]:
        if example.length <= self.length or self.too_long == "truncate":
            yield _part(example, 0, self.length)
            return
        if self.too_long == "raise":
            raise DataError(
                f"{place}: expected at most {self.length} steps. Received: "
                f"{example.length}. Allow more, or choose too_long='truncate' or "
                "too_long='split'."
            )
        if example.whole:
            raise DataError(
                f"{place}: it has {example.length} steps and a label of the whole, "
                "which no part of it has. Expected: too_long='truncate' or 'raise'. "
                "Received: 'split'."
            )
        for start in range(0, example.length, self.length):
            yield _part(example, start, start + self.length)


def examples_of(x: Any, y: Any, sample_weight: Any) -> Iterator[tuple[Any, ...]]:
    """Takes sequences given side by side apart into examples.

    Args:
        x: Sequences, or a mapping of names to sequences; so are the other two.
        y: Labels, or `None`.
        sample_weight: Weights, or `None`.
    """
    parts = [part for part in (x, y, sample_weight) if part is not None]
    counts = {
        f"{name}[{key!r}]" if key else name: len(values)
        for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight))
        for key, values in _named(part).items()
    }
    if len(set(counts.values())) != 1 or 0 in counts.values() or x is None:
        listed = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise DataError(
            "Expected at least one sequence, and as many entries everywhere as there "
            f"are sequences. Received: {listed or 'nothing'}."
        )
    if y is None and sample_weight is not None:
        raise DataError(
            "`sample_weight` weighs labels. Expected: `y` beside it. Received: none."
        )
    for number in range(next(iter(counts.values()))):
        yield tuple(
            {name: values[number] for name, values in part.items()}
            if isinstance(part, Mapping)
            else part[number]
            for part in parts
        )


def parts_of(element: Any) -> tuple[Any, ...]:
    """The parts of an element of a stream; PyTorch makes lists of tuples."""
    if isinstance(element, tuple):
        return element
    if isinstance(element, list) and element:
        first = element[0]
        if isinstance(first, Mapping) or getattr(first, "shape", ()) != ():
            return tuple(element)
    return (element,)


def assemble(values: Mapping[Key, Any]) -> tuple[Any, ...]:
    """Puts what is filed under keys in the form that `fit` takes."""
    found: dict[str, Any] = {}
    for (part, name), value in values.items():
        if name is None:
            found[part] = value
        else:
            found.setdefault(part, {})[name] = value
    return tuple(found[p] for p in ("x", "y", "sample_weight") if p in found)


def _named(part: Any) -> Mapping[str | None, Any]:
    if part is None:
        return {}
    return part if isinstance(part, Mapping) else {None: part}


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    narrower = {"int64": "int32", "float64": "float32"}.get(array.dtype.name)
    if narrower is None or hasattr(value, "dtype"):
        return array
    # Numbers of Python have no size of their own.
    narrow = array.astype(narrower)
    fits = narrower == "float32" or bool((narrow == array).all())
    return narrow if fits else array


def _common_length(steps: Mapping[Key, np.ndarray], place: str) -> int:
    lengths = {len(value) if value.ndim else -1 for value in steps.values()}
    if len(lengths) == 1 and 0 not in lengths and -1 not in lengths:
        return lengths.pop()
    shapes = ", ".join(str(value.shape) for value in steps.values())
    raise DataError(
        f"{place}: expected at least one step, and inputs of equally many. Received: "
        f"shapes {shapes or 'of nothing'}. Leave out sequences that are empty."
    )


def _part(example: Example, start: int, stop: int) -> Example:
    steps = {key: value[start:stop] for key, value in example.steps.items()}
    length = min(stop, example.length) - start
    return example._replace(length=length, steps=steps)
