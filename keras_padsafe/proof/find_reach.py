"""Which inputs of a model reach which of its doors: the model is asked by running it.

Every value of a batch is a number that no other value has, over a few runs; what
enters a door then says by itself from where it came.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.doors import Door, Watch
from keras_padsafe.proof.load_models import ModelFailed
from keras_padsafe.proof.model_inputs import ModelInput, model_inputs
from keras_padsafe.proof.run_model import leaves_of, run_model, with_leaves

_STEPS = (6, 16, 64, 4, 3, 2, 1)
_DTYPES = ("int32", "string", "float32")
# How many numbers there are to choose from, and how many runs tell values apart. Few
# numbers for a model that looks them up where it cannot be watched.
_CODES = ((250, 5), (2, 30))
_ROWS = 2


@dataclass(frozen=True)
class Part:
    """Places of one input whose values go the same ways.

    Attributes:
        input: The number of the input.
        places: The places, in a row laid flat.
        direct: The numbers of the doors that the values enter as they are.
        derived: Those that something computed of them enters.
    """

    input: int
    places: np.ndarray
    direct: tuple[int, ...]
    derived: tuple[int, ...]


@dataclass(frozen=True)
class Reach:
    """Which inputs of a model reach which doors.

    Attributes:
        structure: The inputs, as the model takes them.
        inputs: The same in a row, with shape and dtype settled.
        parts: Their places.
        unseen: The numbers of doors where what enters cannot be seen.
        pads: What a comparison masks, by the number of its door.
        output_size: How many numbers one row gives.
    """

    structure: Any
    inputs: tuple[ModelInput, ...]
    parts: tuple[Part, ...]
    unseen: frozenset[int]
    pads: dict[int, float]
    output_size: int


def find_reach(model: Any, doors: list[Door]) -> Reach:
    """Runs a model a few times to see which inputs reach which doors.

    Raises:
        ModelFailed: if the model takes no batch that could be made for it.
    """
    structure = model_inputs(model)
    failure: ModelFailed | None = None
    for inputs, codes in _attempts(leaves_of(structure)):
        try:
            return _Experiment(model, doors, structure, inputs, *codes).reach()
        except ModelFailed as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _attempts(
    inputs: list[ModelInput],
) -> Iterator[tuple[tuple[ModelInput, ...], tuple[int, int]]]:
    """Inputs as the model may want them: what is most usual comes first."""
    unknown = sum(not one.dtype for one in inputs)
    any_length = _takes_any_length(inputs)
    for dtypes in itertools.islice(itertools.product(_DTYPES, repeat=unknown), 27):
        for codes in _CODES:
            for steps in _STEPS if any_length else _STEPS[:1]:
                names = iter(dtypes)
                yield (
                    tuple(one.of(steps, one.dtype or next(names)) for one in inputs),
                    codes,
                )


def _takes_any_length(inputs: list[ModelInput]) -> bool:
    return any(None in one.shape[1:] for one in inputs)


class _Experiment:
    def __init__(
        self,
        model: Any,
        doors: list[Door],
        structure: Any,
        inputs: tuple[ModelInput, ...],
        numbers: int,
        runs: int,
    ) -> None:
        self._model = model
        self._doors = doors
        self._structure = structure
        self._inputs = inputs
        generator = np.random.default_rng(0)
        self._codes = [
            generator.integers(0, min(numbers, _most(one)), (runs, *_size(one)))
            for one in inputs
        ]
        self._numbers = range(runs)
        self._any_length = _takes_any_length(leaves_of(structure))
        self._pads: dict[int, float] = {}
        self._output_size = 0

    def reach(self) -> Reach:
        runs = [self._run([c[n] for c in self._codes]) for n in self._numbers]
        origins = self._origins()
        direct = [[set() for _ in range(one.places)] for one in self._inputs]
        derived: list[set[int]] = [set() for _ in self._inputs]
        unseen: set[int] = set()
        unknown: dict[int, np.ndarray] = {}
        for number in runs[0]:
            values = _stacked([run.get(number) for run in runs])
            if values is None:
                unseen.add(number)
                continue
            found = [origins.get(_key(column)) for column in values.T]
            for origin in found:
                if origin is not None:
                    direct[origin[0]][origin[1]].add(number)
            elsewhere = np.array([origin is None for origin in found], bool)
            if (values[:, elsewhere] != values[:1, elsewhere]).any():
                unknown[number] = elsewhere
            else:
                self._check_length(self._doors[number], values[0, elsewhere])
        if unknown:
            self._trace(runs[0], unknown, derived)
        for ways, places in zip(derived, direct, strict=True):
            ways |= set() if any(places) else unseen
        return Reach(
            self._structure,
            self._inputs,
            tuple(_parts(direct, derived)),
            frozenset(unseen),
            self._pads,
            self._output_size,
        )

    def _check_length(self, door: Door, positions: np.ndarray) -> None:
        """Refuses a length for which the model counts more steps than it has rows."""
        if not self._any_length or door.kind != "ids" or not positions.size:
            return
        if positions.max() >= door.size:
            raise ModelFailed(
                f"The model looks up position {positions.max()} in a table of "
                f"{door.size} rows ({door.path})."
            )

    def _trace(
        self,
        base: dict[int, np.ndarray | None],
        unknown: dict[int, np.ndarray],
        derived: list[set[int]],
    ) -> None:
        """Changes one input at a time, to see what is computed of it."""
        for index, ways in enumerate(derived):
            chosen = [codes[int(i == index)] for i, codes in enumerate(self._codes)]
            found = self._run(chosen)
            for number, elsewhere in unknown.items():
                both = _stacked([base[number], found.get(number)])
                if both is None or (both[0, elsewhere] != both[1, elsewhere]).any():
                    ways.add(number)

    def _run(self, codes: list[np.ndarray]) -> dict[int, np.ndarray | None]:
        watch = Watch(self._doors, harmless=True)
        leaves = [_values(o, c) for o, c in zip(self._inputs, codes, strict=True)]
        with watch.watching():
            outputs = run_model(self._model, with_leaves(self._structure, leaves))
        self._pads |= watch.pads
        rows = len(leaves[0])
        self._output_size = sum(output.size for output in outputs) // rows
        return {n: _flat(calls) for n, calls in watch.entered.items()}

    def _origins(self) -> dict[tuple[Any, ...], tuple[int, int]]:
        """The input and the place in its rows that each sequence of values is of."""
        found: dict[tuple[Any, ...], tuple[int, int]] = {}
        for index, (one, codes) in enumerate(
            zip(self._inputs, self._codes, strict=True)
        ):
            if one.kind == "b":
                continue
            values = np.stack([_values(one, c) for c in codes])
            columns = values.reshape(len(values), -1).T
            for place, column in enumerate(columns):
                found[_key(column)] = (index, place % one.places)
        return found


def _most(one: ModelInput) -> int:
    return 127 if one.dtype == "int8" else 250


def _size(one: ModelInput) -> tuple[int, ...]:
    rows = _ROWS if one.shape[0] is None else one.shape[0]
    return (rows, *(int(dim or 1) for dim in one.shape[1:]))


def _values(one: ModelInput, codes: np.ndarray) -> np.ndarray:
    if one.is_text:
        return np.array([f"w{c}" for c in codes.ravel()], object).reshape(codes.shape)
    return codes.astype(one.numpy_dtype) if one.kind != "b" else codes >= 0


def _key(column: np.ndarray) -> tuple[Any, ...]:
    return tuple(column.tolist())


def _flat(calls: list[np.ndarray | None]) -> np.ndarray | None:
    if any(call is None for call in calls):
        return None
    return np.concatenate([np.ravel(call) for call in calls if call is not None])


def _stacked(runs: list[np.ndarray | None]) -> np.ndarray | None:
    """One row a run; `None` if a run could not be seen."""
    seen = [run for run in runs if run is not None]
    same = len(seen) == len(runs) and all(r.shape == seen[0].shape for r in seen)
    return np.stack(seen) if same else None


def _parts(direct: list[list[set[int]]], derived: list[set[int]]) -> Iterator[Part]:
    for index, (places, ways) in enumerate(zip(direct, derived, strict=True)):
        groups: dict[frozenset[int], list[int]] = {}
        for place, doors in enumerate(places):
            groups.setdefault(frozenset(doors), []).append(place)
        for doors, members in groups.items():
            yield Part(
                index,
                np.array(members),
                tuple(sorted(doors)),
                tuple(sorted(ways - doors)),
            )
