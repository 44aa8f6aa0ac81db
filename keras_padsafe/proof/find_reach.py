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
from keras_padsafe.proof.run_model import run_model

# Every batch that can be is as small and of one shape: a backend that compiles each
# operation for each shape spends its time on little else.
ROWS = 4
_STEPS = (6, 16, 64, 4, 3, 2, 1)
_DTYPES = ("int32", "string", "float32")
# How many numbers there are to choose from, and how many runs tell values apart. Few
# numbers for a model that looks them up where it cannot be watched.
_CODES = ((250, 5), (2, 30))


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

    @property
    def doors(self) -> tuple[int, ...]:
        """All doors that the values have to do with."""
        return (*self.direct, *self.derived)


@dataclass(frozen=True)
class Reach:
    """Which inputs of a model reach which doors.

    Attributes:
        structure: The inputs, as the model takes them.
        inputs: The same in a row, with shape and dtype settled.
        parts: Their places.
        pads: What a comparison masks, by the number of its door.
        output_size: How many numbers one row gives.
    """

    structure: Any
    inputs: tuple[ModelInput, ...]
    parts: tuple[Part, ...]
    pads: dict[int, float]
    output_size: int


def find_reach(model: Any, doors: list[Door]) -> Reach:
    """Runs a model a few times to see which inputs reach which doors.

    Raises:
        ModelFailed: if the model takes no batch that could be made for it.
    """
    import keras

    structure = model_inputs(model)
    failure: ModelFailed | None = None
    for inputs, codes in _attempts(keras.tree.flatten(structure)):
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
    any_length = any(None in one.shape[1:] for one in inputs)
    for dtypes in itertools.islice(itertools.product(_DTYPES, repeat=unknown), 27):
        for codes in _CODES:
            for steps in _STEPS if any_length else _STEPS[:1]:
                names = iter(dtypes)
                settled = [one.of(steps, one.dtype or next(names)) for one in inputs]
                yield tuple(settled), codes


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
        shapes = [(runs, one.shape[0] or ROWS, *one.shape[1:]) for one in inputs]
        most = [127 if one.dtype == "int8" else 250 for one in inputs]
        self._values = [
            _values(one, generator.integers(0, min(numbers, n), shape))
            for one, n, shape in zip(inputs, most, shapes, strict=True)
        ]
        self._pads: dict[int, float] = {}
        self._output_size = 0

    def reach(self) -> Reach:
        runs = [self._run(list(run)) for run in zip(*self._values, strict=True)]
        origins = self._origins()
        direct = [[set() for _ in range(one.places)] for one in self._inputs]
        hidden: set[int] = set()
        unknown: dict[int, np.ndarray] = {}
        for number in runs[0]:
            values = _stacked([run.get(number) for run in runs])
            if values is None:
                hidden.add(number)
                continue
            found = [origins.get(column) for column in map(tuple, values.T.tolist())]
            for index, place in filter(None, found):
                direct[index][place].add(number)
            elsewhere = np.array([origin is None for origin in found], bool)
            if (values[:, elsewhere] != values[:1, elsewhere]).any():
                unknown[number] = elsewhere
            else:
                _check_positions(self._doors[number], values[0, elsewhere])
        derived = [self._changed_by(i, runs[0], unknown) for i in range(len(direct))]
        for ways, places in zip(derived, direct, strict=True):
            ways |= set() if any(places) else hidden
        parts = tuple(_parts(direct, derived))
        return Reach(
            self._structure, self._inputs, parts, self._pads, self._output_size
        )

    def _changed_by(
        self,
        index: int,
        base: dict[int, np.ndarray | None],
        unknown: dict[int, np.ndarray],
    ) -> set[int]:
        """The doors where something else enters if one input alone is changed."""
        if not unknown:
            return set()
        run = self._run([v[int(i == index)] for i, v in enumerate(self._values)])
        found = set()
        for number, elsewhere in unknown.items():
            both = _stacked([base[number], run.get(number)])
            if both is None or (both[0, elsewhere] != both[1, elsewhere]).any():
                found.add(number)
        return found

    def _run(self, leaves: list[np.ndarray]) -> dict[int, np.ndarray | None]:
        import keras

        watch = Watch(self._doors, harmless=True)
        batch = keras.tree.pack_sequence_as(self._structure, leaves)
        with watch.watching():
            outputs = run_model(self._model, batch)
        self._pads |= watch.pads
        self._output_size = sum(output.size for output in outputs) // len(leaves[0])
        return {number: watch.seen(number) for number in watch.entered}

    def _origins(self) -> dict[tuple[Any, ...], tuple[int, int]]:
        """The input and the place in its rows that each sequence of values is of."""
        found: dict[tuple[Any, ...], tuple[int, int]] = {}
        for index, (one, values) in enumerate(
            zip(self._inputs, self._values, strict=True)
        ):
            columns = values.reshape(len(values), -1).T.tolist()
            for place, column in enumerate(columns if one.kind != "b" else []):
                found[tuple(column)] = (index, place % one.places)
        return found


def _values(one: ModelInput, codes: np.ndarray) -> np.ndarray:
    if one.is_text:
        return np.array([f"w{c}" for c in codes.ravel()], object).reshape(codes.shape)
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


def _parts(direct: list[list[set[int]]], derived: list[set[int]]) -> Iterator[Part]:
    for index, (places, ways) in enumerate(zip(direct, derived, strict=True)):
        groups: dict[frozenset[int], list[int]] = {}
        for place, doors in enumerate(places):
            groups.setdefault(frozenset(doors), []).append(place)
        for doors, members in groups.items():
            ways_of = tuple(sorted(doors)), tuple(sorted(ways - doors))
            yield Part(index, np.array(members), *ways_of)
