"""Which inputs of a model reach which of its doors: the model is asked by running it.

Over a few runs every value of a batch is a series of numbers that no other value has;
what enters a door then says by itself from where it came. Then one input changes at a
time: what else changes behind it is made of it.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.doors import Door, Watch
from keras_padsafe.proof.load_models import ModelFailed
from keras_padsafe.proof.model_inputs import ModelInput, model_inputs
from keras_padsafe.proof.run_model import run_model

# Every batch that can be is as small and of one shape: a backend that compiles each
# operation for each shape spends its time on little else.
ROWS = 4
_STEPS = (6, 16, 64, 4, 3, 2, 1, 1024)
_MOST_PLACES = 1 << 20
_DTYPES = ("int32", "string", "float32")
# How many numbers there are to choose from. Few for a model that looks them up where it
# cannot be watched.
_MOST, _FEW = 250, 2
_SERIES = 1 << 20
_Codes = tuple[int, int]
"""How many numbers tell origins, and how many an input that changes may have."""
_MOST_EMPTY = 2


@dataclass(frozen=True)
class Part:
    """Places of one input, in a row laid flat, whose values go the same ways.

    They enter some doors as they are, and something computed of them enters others.
    For some doors the model itself brings values into range that are beyond it.
    """

    input: int
    places: np.ndarray
    direct: tuple[int, ...]
    derived: tuple[int, ...]
    ranged: frozenset[int]

    @property
    def doors(self) -> tuple[int, ...]:
        """The numbers of both."""
        return (*self.direct, *self.derived)


@dataclass(frozen=True)
class Reach:
    """Which inputs of a model reach which doors.

    Attributes:
        structure: The inputs, as the model takes them.
        inputs: The same in a row, with shape and dtype settled.
        parts: Their places.
        pads: What a comparison masks, by the number of its door.
        output_size: How many numbers one row of a batch gives.
    """

    structure: Any
    inputs: tuple[ModelInput, ...]
    parts: tuple[Part, ...]
    pads: dict[int, float]
    output_size: int


def find_reach(
    model: Any, doors: list[Door], *, ids: int = _MOST, may_lack: bool = False
) -> Reach:
    """Runs a model a few times to see which inputs reach which doors.

    Origins are told by numbers below `ids`, since a model might cut off those above. If
    it `may_lack`, inputs of any length, such as images beside text, may be empty where
    no lengths are found that go together.

    Raises:
        ModelFailed: if the model takes no batch that could be made for it.
    """
    import keras

    structure = model_inputs(model)
    failures: list[ModelFailed] = []
    given = keras.tree.flatten(structure)
    many, few = (max(min(ids, _MOST), _FEW), _MOST), (_FEW, _FEW)
    attempts = [_attempts(given, (many, few))]
    attempts += [((one, many) for one in _emptied(given))] if may_lack else []
    for inputs, codes in itertools.chain(*attempts):
        try:
            return _look(model, doors, structure, inputs, codes)
        except ModelFailed as error:
            failures.append(error)
    raise failures[0]


def _attempts(
    inputs: list[ModelInput], choices: Iterable[_Codes]
) -> Iterator[tuple[tuple[ModelInput, ...], _Codes]]:
    """Inputs as the model may want them: what is most usual comes first."""
    unknown = sum(not one.dtype for one in inputs)
    any_length = any(None in one.shape[1:] for one in inputs)
    for dtypes in itertools.islice(itertools.product(_DTYPES, repeat=unknown), 27):
        for codes in choices:
            for steps in _STEPS if any_length else _STEPS[:1]:
                names = iter(dtypes)
                settled = [one.of(steps, one.dtype or next(names)) for one in inputs]
                if max((one.places for one in settled), default=0) <= _MOST_PLACES:
                    yield tuple(settled), codes


def _emptied(inputs: list[ModelInput]) -> Iterator[tuple[ModelInput, ...]]:
    """No features, and nothing of one input or two that say where those belong."""
    of_any_length = [one for one in inputs if one.dtype and None in one.shape[1:2]]
    features = [one for one in of_any_length if len(one.shape) > 2]
    others = [one for one in of_any_length if len(one.shape) == 2]
    for count in range(min(_MOST_EMPTY + 1, len(others)) if features else 0):
        for beside in itertools.combinations(others, count):
            empty = {one.name for one in (*features, *beside)}
            for steps in _STEPS[:2]:
                lengths = (0 if one.name in empty else steps for one in inputs)
                yield tuple(
                    one.of(length, one.dtype)
                    for one, length in zip(inputs, lengths, strict=True)
                )


def _look(
    model: Any,
    doors: list[Door],
    structure: Any,
    inputs: tuple[ModelInput, ...],
    codes: _Codes,
) -> Reach:
    import keras

    generator = np.random.default_rng(0)
    turns = math.ceil(math.log(_SERIES, codes[0]))
    runs = [[_values(i, codes[0], generator) for i in inputs] for _ in range(turns)]
    base, owners = runs[0], [-1] * turns
    for index, one in enumerate(inputs):
        others = [_values(one, numbers, generator) for numbers in codes]
        runs += [[*base[:index], other, *base[index + 1 :]] for other in others]
        owners += [index] * len(others)
    narrow = [*range(turns), *range(turns, len(runs), len(codes))]
    seen, pads, outputs = [], {}, []
    for leaves in runs:
        watch = Watch(doors, harmless=True)
        with watch.watching():
            batch = keras.tree.pack_sequence_as(structure, leaves)
            outputs = run_model(model, batch)
        seen.append({number: watch.seen(number) for number in watch.entered})
        pads |= watch.pads
    direct = [[set() for _ in range(one.places)] for one in inputs]
    derived: list[set[int]] = [set() for _ in inputs]
    origins = _origins([runs[number] for number in narrow])
    hidden, ranged = set(), set()
    for number in seen[0]:
        values = _stacked([run.get(number) for run in seen])
        if values is None:
            hidden.add(number)
            continue
        series = map(tuple, values[narrow].T.tolist())
        found = [origins.get(one) for one in series]
        for column, origin in enumerate(found):
            if origin is not None:
                index, value = origin
                direct[index][value % inputs[index].places].add(number)
                last = turns + (index + 1) * len(codes) - 1
                if values[last, column] != runs[last][index].flat[value]:
                    ranged.add(number)
        made = values[:, np.array([origin is None for origin in found], bool)]
        moved = np.flatnonzero((made != made[:1]).any(axis=1))
        for run in moved[moved >= turns]:
            derived[owners[run]].add(number)
        if not len(moved):
            _check_positions(doors[number], made[0])
    for ways, places in zip(derived, direct, strict=True):
        ways |= set() if any(places) else hidden
    output_size = sum(output.size for output in outputs) // len(base[0])
    parts = tuple(_parts(direct, derived, frozenset(ranged)))
    return Reach(structure, inputs, parts, pads, output_size)


def _origins(runs: list[list[np.ndarray]]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """The input, and the number of a value in it, that each series of values is of."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for index, given in enumerate(zip(*runs, strict=True)):
        if given[0].dtype.kind != "b":
            columns = np.stack([values.ravel() for values in given]).T.tolist()
            found |= {tuple(one): (index, n) for n, one in enumerate(columns)}
    return found


def _values(
    one: ModelInput, numbers: int, generator: np.random.Generator
) -> np.ndarray:
    shape = (one.shape[0] or ROWS, *(int(dim or 0) for dim in one.shape[1:]))
    most = min(numbers, 127 if one.dtype == "int8" else _MOST)
    codes = generator.integers(0, most, shape)
    if one.is_text:
        return np.array([f"w{c}" for c in codes.ravel()], object).reshape(shape)
    return codes.astype(one.numpy_dtype) if one.kind != "b" else codes >= 0


def _check_positions(door: Door, positions: np.ndarray) -> None:
    """Refuses a length for which the model counts more steps than it has rows."""
    if door.kind == "ids" and positions.max(initial=0) >= door.size > 0:
        raise ModelFailed(
            f"The model looks up position {positions.max()} in a table of {door.size} "
            f"rows ({door.path})."
        )


def _stacked(runs: list[np.ndarray | None]) -> np.ndarray | None:
    """One row a run; `None` if a run could not be seen."""
    seen = [run for run in runs if run is not None]
    same = len(seen) == len(runs) and all(r.shape == seen[0].shape for r in seen)
    return np.stack(seen) if same else None


def _parts(
    direct: list[list[set[int]]], derived: list[set[int]], ranged: frozenset[int]
) -> Iterator[Part]:
    for index, (places, ways) in enumerate(zip(direct, derived, strict=True)):
        groups: dict[frozenset[int], list[int]] = {}
        for place, doors in enumerate(places):
            groups.setdefault(frozenset(doors), []).append(place)
        for doors, members in groups.items():
            ways_of = tuple(sorted(doors)), tuple(sorted(ways - doors))
            yield Part(index, np.array(members), *ways_of, ranged)
