"""Which inputs of a model reach which of its doors: the model is asked by running it.

Over a few runs every value of a batch is a series of numbers that no other value has;
what enters a door then says by itself from where it came. Where something else changes
too, some inputs change at a time: what changes behind them is made of them.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
    count = max(min(ids, _MOST), _FEW)
    many, own, few = (count, _MOST), (count, count), (_FEW, _FEW)
    attempts = [_attempts(given, (many, own, few))]
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
    trials = _Trials(model, doors, structure, inputs, codes)
    first, wide = trials.narrow[0], trials.wide
    direct = [[set() for _ in range(one.places)] for one in inputs]
    origins = _origins([trial.given for trial in trials.narrow])
    hidden, ranged = set(), set()
    made: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number in first.entered:
        values = _stacked([t.entered.get(number) for t in (*trials.narrow, wide)])
        if values is None:
            hidden.add(number)
            continue
        found = [origins.get(tuple(series)) for series in values[:-1].T.tolist()]
        for column, origin in enumerate(found):
            if origin is not None:
                index, value = origin
                direct[index][value % inputs[index].places].add(number)
                if values[-1, column] != wide.given[index].flat[value]:
                    ranged.add(number)
        others = np.flatnonzero([origin is None for origin in found])
        if (values[:, others] != values[0, others]).any():
            made[number] = others, values[0]
        else:
            _check_positions(doors[number], values[0, others])
    derived: list[set[int]] = [set() for _ in inputs]
    if made:
        move = partial(trials.move, made=made)
        for index, ways in _makers(range(len(inputs)), {*made}, move):
            derived[index] |= ways
    for ways, places in zip(derived, direct, strict=True):
        ways |= set() if any(places) else hidden
    output_size = first.output_size // len(first.given[0])
    parts = tuple(_parts(direct, derived, frozenset(ranged)))
    return Reach(structure, inputs, parts, trials.pads, output_size)


@dataclass(frozen=True)
class _Trial:
    """A run of the model: its batch, what entered each door, and how much it gave."""

    given: list[np.ndarray]
    entered: dict[int, np.ndarray | None]
    output_size: int


class _Trials:
    """Runs of a model on batches of chance, in which all inputs change each time.

    Attributes:
        narrow: Those with numbers that a model does not bring into range by itself.
        wide: One with larger numbers too.
        pads: What a comparison masks, by the number of its door.
    """

    def __init__(
        self,
        model: Any,
        doors: list[Door],
        structure: Any,
        inputs: tuple[ModelInput, ...],
        codes: _Codes,
    ) -> None:
        self._model, self._doors, self._structure = model, doors, structure
        self._inputs, self._codes = inputs, codes
        self._chance = np.random.default_rng(0)
        self.pads: dict[int, float] = {}
        turns, every = math.ceil(math.log(_SERIES, codes[0])) + 1, range(len(inputs))
        self.narrow = [self._run(codes[0], every) for _ in range(turns)]
        self.wide = self._run(codes[1], every)

    def move(
        self,
        some: Sequence[int],
        made: Mapping[int, tuple[np.ndarray, np.ndarray]],
    ) -> set[int]:
        """The doors at which values change if some inputs alone do.

        `made` has the columns to look at for each, and what entered at first.
        """
        moved = set[int]()
        for numbers in self._codes:
            entered = self._run(numbers, some).entered
            for door, (columns, before) in made.items():
                now = entered.get(door)
                both = _stacked([before, now])
                if both is None or (both[0] != both[1])[columns].any():
                    moved.add(door)
        return moved

    def _run(self, numbers: int, some: Sequence[int]) -> _Trial:
        import keras

        given = [
            _values(one, numbers, self._chance)
            if index in some
            else self.narrow[0].given[index]
            for index, one in enumerate(self._inputs)
        ]
        watch = Watch(self._doors, instead=[door.size - 1 for door in self._doors])
        with watch.watching():
            batch = keras.tree.pack_sequence_as(self._structure, given)
            outputs = run_model(self._model, batch)
        self.pads |= watch.pads
        entered = {number: watch.seen(number) for number in watch.entered}
        return _Trial(given, entered, sum(output.size for output in outputs))


def _makers(
    some: Sequence[int], moved: set[int], move: Callable[[Sequence[int]], set[int]]
) -> Iterator[tuple[int, set[int]]]:
    """The inputs among some that change anything behind them, and at which doors.

    Halves of them change at once: what changes nothing is not looked into.
    """
    half = len(some) // 2
    if not half:
        yield some[0], moved
        return
    for part in (some[:half], some[half:]):
        if ways := move(part):
            yield from _makers(part, ways, move)


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
