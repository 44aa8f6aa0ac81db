"""Which numbers of config.json count the rows of a table: Keras is asked for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.facts.layers import records_shapes
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.word_lists import words_in
from keras_padsafe.surgery.finding.asking import Asking

_NEAR, _VERY_NEAR = 16, 3
_MOST = 100  # Each trial builds the model.
# Records of what was built, what says how a model was trained, and seeds.
_NO_COUNTS = frozenset(
    """
    batch_shape build_input_shape inbound_nodes input_layers
    output_layers compile_config shared_object_id dtype seed
    """.split()
)


@dataclass(frozen=True)
class Counting:
    """The numbers whose increase lets the rows of a table follow.

    Attributes:
        places: Where they stand, or where a list of words stands that is counted;
            several only where Keras takes one not without the others. What is part of
            such a list counts nothing by itself.
        problem: Why none is known, if so.
        rivals: Where it follows each of several numbers, these.
        is_odd: Whether it changes with a number, but not by one row for each.
        is_fixed: Whether nothing that was tried changes it, or keeps Keras from it.
    """

    places: tuple[ConfigPath, ...] = ()
    problem: str | None = None
    rivals: tuple[ConfigPath, ...] = ()
    is_odd: bool = False
    is_fixed: bool = False


def counting_numbers(
    asking: Asking, path: str, axis: int, *, far: bool = True
) -> Counting:
    """The numbers that one axis of an array follows, which is shown and not guessed.

    Numbers that equal the size are tried first, then those near it, as a table may
    have some rows more than its number says, or two for each id. If `far`, numbers of
    any size are tried in the end; each trial builds the model.
    """
    size = asking.skeleton.shapes[path][axis]
    counts = dict(numbers_in(asking.config.get("config"), ("config",)))
    equal = equal_numbers(asking, size)
    reach = _NEAR if far else _VERY_NEAR
    near = [p for p, n in counts.items() if _is_near(n, size, reach)][:_MOST]
    rest = [place for place in counts if place not in equal and place not in near]
    for places in (equal, near, rest[:_MOST] if far else []):
        alone = [place for place in places if asking.follows((place,), path, axis)]
        # A second one that counts part of the rows is no larger than what is left.
        left = size - max((counts[place] for place in alone), default=size)
        parts = [place for place in counts if 0 < counts[place] <= left][:_MOST]
        alone += [
            place
            for place in parts
            if place not in alone and asking.follows((place,), path, axis)
        ]
        alone = [p for p in alone if not any(p[:n] in alone for n in range(len(p)))]
        if len(alone) == 1:
            return Counting((alone[0],))
        if alone:
            listed = ", ".join(map(config_key, alone))
            problem = f"follows each of several numbers: {listed}"
            return Counting(problem=problem, rivals=tuple(alone))
    together = _together(asking, equal, path, axis)
    if together:
        return Counting(together)
    tried = (*equal, *near, *(rest[:_MOST] if far else ()))
    odd = [place for place in tried if path in asking.vary((place,)).odd]
    if odd:
        listed = ", ".join(map(config_key, odd))
        problem = f"changes with {listed}, but not by one entry for each id"
        return Counting(problem=problem, is_odd=True)
    problem = "follows no number of config.json that was tried"
    failed = [place for place in equal if asking.vary((place,)).problem]
    if failed:
        said = asking.vary((failed[0],)).problem
        problem += f". With a larger {config_key(failed[0])}, Keras says: {said}"
    return Counting(problem=problem, is_fixed=not failed)


def _is_near(number: int, size: int, reach: int) -> bool:
    divides = number > 1 and size % number == 0
    return number != size and (abs(number - size) <= reach or divides)


def equal_numbers(asking: Asking, size: int) -> list[ConfigPath]:
    """The numbers of the configuration that are `size`."""
    counts = numbers_in(asking.config.get("config"), ("config",))
    return [place for place, count in counts if count == size][:_MOST]


def needed_beside(
    asking: Asking, numbers: list[ConfigPath], size: int
) -> ConfigPath | None:
    """The one other number of that size without which Keras builds nothing larger."""
    others = [place for place in equal_numbers(asking, size) if place not in numbers]
    taken = [p for p in others if not asking.vary([*numbers, p]).problem]
    single = len(taken) == 1 and words_in(asking.value(taken[0])) is None
    return taken[0] if single else None


def word_lists(asking: Asking) -> list[ConfigPath]:
    """The places of all lists of words or integers in the configuration."""
    places = numbers_in(asking.config.get("config"), ("config",))
    return [place for place, _ in places if words_in(asking.value(place))]


def _together(
    asking: Asking, equal: list[ConfigPath], path: str, axis: int
) -> tuple[ConfigPath, ...]:
    """The fewest equal numbers that Keras takes only together."""
    refused = [place for place in equal if asking.vary((place,)).problem]
    for first in refused:
        for second in equal:
            if first != second and asking.follows((first, second), path, axis):
                return (first, second)
    kept = list(equal)
    if not asking.follows(kept, path, axis):
        return ()
    for place in equal:
        fewer = [other for other in kept if other != place]
        if asking.follows(fewer, path, axis):
            kept = fewer
    return tuple(kept)


def is_count_key(key: str | int) -> bool:
    """Whether a number below a key may be one of ids, and none of what was built."""
    return key not in _NO_COUNTS


def numbers_in(value: Any, path: ConfigPath) -> Iterator[tuple[ConfigPath, int]]:
    """Every number of a configuration, and the length of every list of words."""
    listed = words_in(value)
    if listed is not None:
        yield path, len(listed.words)
    if isinstance(value, dict | list) and (listed is None or len(value) <= _MOST):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            is_record = key == "build_config" and records_shapes(inner)
            if is_count_key(key) and not is_record:
                yield from numbers_in(inner, (*path, key))
    elif type(value) is int and value > 0:
        yield path, value
