"""Which inputs are sequences, and which of their positions are padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_padsafe.audit.run.record_calls import Record
from keras_padsafe.audit.run.timeline import Input, Timeline
from keras_padsafe.errors import AuditError


@dataclass(frozen=True, eq=False)
class Born:
    """A mask that the model made.

    Attributes:
        mask: The mask `(batch, ..., time)`, True = real.
        made_of: What the call that made it was given.
    """

    mask: np.ndarray
    made_of: tuple[np.ndarray, ...] = ()


def find_timelines(
    inputs: Sequence[Input], pad_id: Any, born: Sequence[Born]
) -> list[Timeline]:
    """Finds what is padding: by a mask among the inputs, by the model's own, by id.

    Args:
        inputs: The arrays of the batch.
        pad_id: As `check_padding` takes it.
        born: The masks that the model made in a run.

    Returns:
        One timeline for each set of inputs that share their padding; where sequences
        hold sequences, one for each, the outer one first.

    Raises:
        AuditError: if it cannot be told which input is the padded one.
    """
    finder = _Finder(inputs, pad_id, born)
    if isinstance(pad_id, Mapping):
        return finder.with_neighbours(finder.named(pad_id))
    found = finder.of_masks()
    found += finder.of_born(found)
    if not found:
        found = finder.of_ids()
    if not found and born:
        found = lines_of(~max(born, key=lambda one: not one.mask.all()).mask)
    return finder.with_neighbours(found)


def born_masks(record: Record) -> list[Born]:
    """The masks that a model made in a run."""
    return [
        Born(value.mask.astype(bool), tuple(given.array for given in call.inputs))
        for call in record.values()
        for value in call.outputs
        if call.makes_mask and value.mask is not None and value.mask.ndim > 1
    ]


def pad_ids(pad_id: Any, name: str = "") -> np.ndarray:
    """The pad ids of an input, as an array."""
    if isinstance(pad_id, Mapping):
        pad_id = pad_id.get(name)
    if pad_id is None:
        return np.zeros(0)
    return np.atleast_1d(np.asarray(list(pad_id) if _several(pad_id) else pad_id))


def lines_of(padding: np.ndarray, member: int | None = None) -> list[Timeline]:
    """The timelines of one array of padding, from the outermost to the innermost.

    An outer position is padding if all that lies in it is. An inner timeline is left
    out if those around it say all that it would.
    """
    lines: list[Timeline] = []
    for rank in range(2, padding.ndim + 1):
        flags = np.asarray(padding.all(axis=tuple(range(rank, padding.ndim))))
        places = {} if member is None else {member: (rank - 1,)}
        lines.append(Timeline(flags, places, outer=tuple(range(len(lines)))))
    while len(lines) > 1:
        above = lines[-2].padding[..., None]
        if (lines[-1].padding & ~above).any():
            break
        lines.pop()
    return lines


class _Finder:
    def __init__(
        self, inputs: Sequence[Input], pad_id: Any, born: Sequence[Born]
    ) -> None:
        self._inputs = inputs
        self._pad_id = pad_id
        self._born = [one.mask for one in born]
        # A mask of its own says that an input does not lie beside another one.
        self._masked_alone = {
            i
            for i, entry in enumerate(inputs)
            if any(_same(entry.values, given) for one in born for given in one.made_of)
        }
        self._masks = {i for i in range(len(inputs)) if self._is_mask(i)}

    def named(self, by_name: Mapping[str, Any]) -> list[Timeline]:
        names = [entry.name for entry in self._inputs]
        unknown = sorted(set(by_name) - set(names))
        if unknown:
            raise AuditError(
                f"pad_id: there is no input {unknown[0]!r}. There are: "
                f"{', '.join(map(repr, names))}."
            )
        return _merged(
            [
                lines_of(self._holds_pad(i), i)
                for i, name in enumerate(names)
                if name in by_name
            ]
        )

    def of_masks(self) -> list[Timeline]:
        found = []
        for i in sorted(self._masks):
            values = self._inputs[i].values
            if values.ndim == 2:
                found.append(Timeline(values == 0, {i: (1,)}, (i,)))
        return found

    def of_born(self, known: list[Timeline]) -> list[Timeline]:
        """Sequences whose padding the model masks by itself."""
        found = []
        for i, entry in enumerate(self._inputs):
            if i in self._masks or entry.values.ndim < 2:
                continue
            padding = self._masked(entry)
            if padding is None or not padding.any():
                continue
            if not any(_same(line.padding, padding) for line in known):
                found.append(lines_of(padding, i))
        return _merged(found)

    def _masked(self, entry: Input) -> np.ndarray | None:
        """What the model's own masks hide of an input."""
        if entry.is_integer:
            holds = [~mask for mask in self._born if mask.shape == entry.values.shape]
            return next((p for p in holds if _one_id(entry.values, p)), None)
        shape = entry.values.shape
        fits = [m for m in self._born if m.shape == shape[: m.ndim] and m.ndim > 1]
        fits = [m for m in fits if m.ndim < len(shape)]
        return ~max(fits, key=lambda mask: mask.ndim) if fits else None

    def of_ids(self) -> list[Timeline]:
        """Sequences that nothing masks: only the pad id says what padding is."""
        found = []
        for i, entry in enumerate(self._inputs):
            ids = entry.values.ndim >= 2 and entry.is_integer
            features = entry.values.ndim >= 3 and entry.is_float
            if i in self._masks or not (ids or features) or entry.values.shape[1] < 2:
                continue
            padding = self._holds_pad(i)
            if padding.any():
                found.append(lines_of(padding, i))
        lines = _merged(found)
        ends = [line for line in lines if _at_one_end(line.padding)]
        nested = any(line.outer for line in lines)
        likely = lines if nested or not ends else ends
        starts = [line for line in likely if not line.outer]
        if len(starts) > 1:
            names = [self._inputs[i].name for line in starts for i in line.members]
            raise AuditError(
                f"pad_id: the inputs {', '.join(map(repr, names))} all hold the pad "
                "id, at different positions, and no mask says which of them is "
                f"padded. Name that input: pad_id={{{names[0]!r}: {self._pad_id!r}}}."
            )
        return likely

    def with_neighbours(self, lines: list[Timeline]) -> list[Timeline]:
        """Adds the inputs that lie beside a sequence: segments, positions, features."""
        taken = {i for line in lines for i in line.members}
        for i, entry in enumerate(self._inputs):
            if i in taken or i in self._masked_alone:
                continue
            padding = self._holds_pad(i) if entry.is_integer else None
            near = [
                number
                for number, line in enumerate(lines)
                if not line.outer and self._lies_beside(entry, line)
            ]
            if near:
                best = max(near, key=lambda n: _agreement(lines[n].padding, padding))
                line = lines[best]
                axes = [
                    axis
                    for axis in range(1, entry.values.ndim)
                    if entry.values.shape[axis] == line.length
                ]
                # A mask may have more than one; other inputs have one.
                kept = tuple(axes if i in self._masks else axes[:1])
                lines[best] = replace(
                    line,
                    places={**line.places, i: kept},
                    masks=(*line.masks, *({i} & self._masks)),
                )
        return lines

    def _lies_beside(self, entry: Input, line: Timeline) -> bool:
        values = entry.values
        if values.shape[:1] != line.padding.shape[:1]:
            return False
        if values.ndim == 2:
            return not entry.is_float and values.shape == line.padding.shape
        return values.ndim > 2 and line.length in values.shape[1:]

    def _holds_pad(self, i: int) -> np.ndarray:
        """Where an input of ids holds one; where all features of a step do."""
        entry = self._inputs[i]
        ids = pad_ids(self._pad_id, entry.name)
        held = np.isin(entry.values, ids) if ids.size else np.zeros(entry.values.shape)
        held = held.astype(bool)
        if entry.is_integer:
            return held
        return np.asarray(held.all(axis=tuple(range(2, held.ndim))))

    def _is_mask(self, i: int) -> bool:
        values = self._inputs[i].values
        if values.ndim < 2 or values.dtype.kind not in "biuf":
            return False
        if values.dtype.kind == "b":
            return True
        if not np.isin(values, (0, 1)).all():
            return False
        return "mask" in self._inputs[i].name.lower() or self._mirrors_ids(i)

    def _mirrors_ids(self, i: int) -> bool:
        """Whether an input of zeros and ones is 0 just where another one is padded."""
        values = self._inputs[i].values
        return values.ndim == 2 and any(
            other.is_integer
            and other.values.shape == values.shape
            and not np.isin(other.values, (0, 1)).all()
            and (values == 0).any()
            and _same(values == 0, self._holds_pad(j))
            for j, other in enumerate(self._inputs)
        )


def _merged(groups: Sequence[list[Timeline]]) -> list[Timeline]:
    """All the timelines, those with the same padding as one."""
    merged: list[Timeline] = []
    for group in groups:
        numbers: list[int] = []
        for line in group:
            same = [n for n, o in enumerate(merged) if _same(line.padding, o.padding)]
            if same:
                other = merged[same[0]]
                places = {**other.places, **line.places}
                merged[same[0]] = replace(other, places=places)
            else:
                outer = tuple(numbers[n] for n in line.outer)
                merged.append(replace(line, outer=outer))
            numbers.append(same[0] if same else len(merged) - 1)
    return merged


def _agreement(padding: np.ndarray, other: np.ndarray | None) -> float:
    same = other is not None and other.shape == padding.shape
    return float((padding == other).mean()) if same else 0.0


def _at_one_end(padding: np.ndarray) -> bool:
    """Whether each row's padding stands at one end, and not all rows hold nothing."""
    changes = (padding[..., 1:] != padding[..., :-1]).sum(-1)
    return bool((changes <= 1).all() and not padding.all())


def _one_id(values: np.ndarray, padding: np.ndarray) -> bool:
    """Whether padding is just where some ids stand that stand nowhere else."""
    return not np.isin(values[~padding], values[padding]).any()


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _several(pad_id: Any) -> bool:
    return isinstance(pad_id, (list, tuple, set, frozenset, range, np.ndarray))
