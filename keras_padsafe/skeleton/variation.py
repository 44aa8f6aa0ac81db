"""What follows a number of config.json: two skeletons that differ in it."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.saved_model.config_path import ConfigPath, value_at
from keras_padsafe.saved_model.word_lists import (
    entries_at,
    with_entries,
    with_words,
    words_in,
)
from keras_padsafe.skeleton.build import Skeleton, build

Shapes = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
"""Those of an array in two skeletons; `None` where one has no such array."""


@dataclass(frozen=True)
class Variation:
    """What differs between a skeleton and one whose numbers are larger.

    Attributes:
        by: By how much they are larger.
        changed: The arrays that have another shape, or exist in one skeleton only.
        axes: For each that grew by as much, the axis that did.
        config: Places of config.json whose number grew by as much.
        counters: Lookup layers that know as many words more, and Hashings with as
            many bins more, by their groups.
        outputs: The number of axes of each output of the model whose vectors are
            longer by as much, by its place.
        problem: Why nothing is known, if Keras cannot build the second one.
    """

    by: int = 0
    changed: dict[str, Shapes] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    config: frozenset[ConfigPath] = frozenset()
    counters: frozenset[str] = frozenset()
    outputs: dict[int, int] = field(default_factory=dict)
    problem: str | None = None

    @property
    def shows(self) -> bool:
        """Whether anything follows."""
        return bool(self.changed or self.counters or self.outputs)

    @property
    def odd(self) -> dict[str, Shapes]:
        """The arrays that changed in another way."""
        return {p: pair for p, pair in self.changed.items() if p not in self.axes}

    def units(self) -> dict[str, tuple[int, int]]:
        """The axis of each array, and how many entries it has for one that is counted.

        Empty, if arrays move along first axes and last ones: so does a width of the
        model, which one layer makes and another takes in.
        """
        found: dict[str, tuple[int, int]] = {}
        are_last = set[bool]()
        for path, (before, after) in self.changed.items():
            if path.startswith("optimizer/"):
                continue
            if before is None or after is None or len(before) != len(after):
                return {}
            gaps = [new - old for old, new in zip(before, after, strict=True)]
            axis = next(number for number, gap in enumerate(gaps) if gap)
            each, rest = divmod(gaps[axis], self.by)
            if rest or each < 1 or any(gaps[axis + 1 :]):
                return {}
            found[path] = axis, each
            if len(gaps) > 1:
                are_last.add(axis == len(gaps) - 1)
        return found if len(are_last) == 1 else {}


def variation(
    config: dict[str, Any], base: Skeleton, numbers: Iterable[ConfigPath], by: int = 7
) -> Variation:
    """Builds the model with some numbers of its configuration raised, and compares.

    Lists of words get new words, and others new entries.

    Raises:
        NotBuilt: if Keras cannot build the model so.
    """
    raised = build(_raised(config, numbers, by))
    pairs = {
        path: (base.shapes.get(path), raised.shapes.get(path))
        for path in base.shapes | raised.shapes
    }
    changed = {p: shapes for p, shapes in pairs.items() if shapes[0] != shapes[1]}
    grown_axes = {p: _grown_axis(*shapes, by) for p, shapes in changed.items()}
    axes = {p: axis for p, axis in grown_axes.items() if axis is not None}
    counters = (g for g, n in raised.counters.items() if base.counters.get(g) == n - by)
    grown = frozenset(_grown(base.config, raised.config, by, ()))
    both = zip(output_shapes(base), output_shapes(raised), strict=False)
    outputs = {
        number: len(before)
        for number, (before, after) in enumerate(both)
        if before != after and before[:-1] == after[:-1]
        if before[-1] == after[-1] - by
    }
    return Variation(by, changed, axes, grown, frozenset(counters), outputs)


def output_shapes(skeleton: Skeleton) -> list[tuple[Any, ...]]:
    """The shapes of the model's outputs; none if it is no graph."""
    outputs = getattr(skeleton.model, "outputs", None) or []
    return [tuple(output.shape) for output in outputs]


def _raised(
    config: dict[str, Any], numbers: Iterable[ConfigPath], by: int
) -> dict[str, Any]:
    config = copy.deepcopy(config)
    for path in numbers:
        holder, value = value_at(config, path[:-1]), value_at(config, path)
        if listed := words_in(value):
            words = [*listed.words, *_others(listed.words, by)]
            holder[path[-1]] = with_words(value, words, listed.first_id or 0)
        elif isinstance(value, list | dict):
            entries = entries_at(value, range(len(value)))
            holder[path[-1]] = with_entries(value, [*entries, *entries[-1:] * by])
        else:
            holder[path[-1]] = value + by
    return config


def _others(words: Sequence[Any], count: int) -> Iterator[Any]:
    """New words of the kind of those given."""
    if all(isinstance(word, int) for word in words):
        yield from range(max(words, default=0) + 1, max(words, default=0) + 1 + count)
    else:
        taken = set(words)
        names = (f"new word {number}" for number in range(len(words) + count))
        yield from [name for name in names if name not in taken][:count]


def _grown_axis(
    before: tuple[int, ...] | None, after: tuple[int, ...] | None, by: int
) -> int | None:
    """The one axis in which two shapes differ, if it grew by `by`."""
    if before is None or after is None or len(before) != len(after):
        return None
    gaps = [new - old for old, new in zip(before, after, strict=True)]
    return gaps.index(by) if sorted(gaps)[-1] == by == sum(map(abs, gaps)) else None


def _grown(before: Any, after: Any, by: int, path: ConfigPath) -> Iterator[ConfigPath]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            yield from _grown(before[key], after[key], by, (*path, key))
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for index, pair in enumerate(zip(before, after, strict=False)):
            yield from _grown(*pair, by, (*path, index))
    elif type(before) is int and type(after) is int and after == before + by:
        yield path
