"""Which inputs are sequences, and which of their positions are padding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_padsafe.audit.run.record_calls import Record
from keras_padsafe.audit.run.timeline import Input, Timeline
from keras_padsafe.errors import AuditError


class Born(NamedTuple):
    """A mask `(batch, ..., time)` that the model made, and what it made it of."""

    mask: np.ndarray
    made_of: tuple[np.ndarray, ...] = ()


def find_timelines(
    inputs: Sequence[Input], pad_id: Any, born: Sequence[Born]
) -> list[Timeline]:
    """Finds what is padding: by a mask among the inputs, by the model's own, by id.

    There is one timeline for each set of inputs that share their padding; where
    sequences hold sequences, one for each, the outer one first.

    Raises:
        AuditError: if it cannot be told which input is the padded one.
    """
    finder = _Finder(inputs, pad_id, born)
    found = finder.named() if isinstance(pad_id, Mapping) else finder.unnamed()
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
    several = list(pad_id) if isinstance(pad_id, Iterable) else [pad_id]
    return np.array([one for one in several if one is not None])


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


@dataclass(frozen=True, eq=False)
class _Finder:
    inputs: Sequence[Input]
    pad_id: Any
    born: Sequence[Born]

    @cached_property
    def masks(self) -> set[int]:
        """The inputs that are masks."""
        return {i for i in range(len(self.inputs)) if self._is_mask(i)}

    def named(self) -> list[Timeline]:
        names = [entry.name for entry in self.inputs]
        unknown = sorted(set(self.pad_id) - set(names))
        if unknown:
            raise AuditError(
                f"pad_id: there is no input {unknown[0]!r}. There are: "
                f"{', '.join(map(repr, names))}."
            )
        numbers = [i for i, name in enumerate(names) if name in self.pad_id]
        return _merged([lines_of(self._holds_pad(i), i) for i in numbers])

    def unnamed(self) -> list[Timeline]:
        arrays = {i: self.inputs[i].values for i in sorted(self.masks)}
        flat = {i: array == 0 for i, array in arrays.items() if array.ndim == 2}
        found = [Timeline(flags, {i: (1,)}, (i,)) for i, flags in flat.items()]
        found = (found + self._of_born(found)) or self._of_ids()
        if not found and self.born:
            found = lines_of(~max(self.born, key=lambda one: not one.mask.all()).mask)
        return found

    def _of_born(self, known: list[Timeline]) -> list[Timeline]:
        """Sequences whose padding the model masks by itself."""
        found = []
        for i, entry in enumerate(self.inputs):
            padding = None if i in self.masks else self._masked(entry)
            if padding is None or not padding.any():
                continue
            if not any(np.array_equal(line.padding, padding) for line in known):
                found.append(lines_of(padding, i))
        return _merged(found)

    def _masked(self, entry: Input) -> np.ndarray | None:
        """What the model's own masks hide of an input."""
        shape = entry.values.shape
        masks = [one.mask for one in self.born if one.mask.ndim > 1]
        fits = [mask for mask in masks if mask.shape == shape[: mask.ndim]]
        if entry.is_integer:
            holds = [~mask for mask in fits if mask.ndim == len(shape)]
            return next((p for p in holds if _one_id(entry.values, p)), None)
        fits = [mask for mask in fits if mask.ndim < len(shape)]
        return ~max(fits, key=lambda mask: mask.ndim) if fits else None

    def _of_ids(self) -> list[Timeline]:
        """Sequences that nothing masks: only the pad id says what padding is."""
        padding = {
            i: self._holds_pad(i)
            for i, entry in enumerate(self.inputs)
            if i not in self.masks and (entry.is_integer or entry.is_float)
            if entry.values.ndim >= (2 if entry.is_integer else 3)
            if entry.values.shape[1] > 1
        }
        padded = [i for i, held in padding.items() if held.any()]
        lines = _merged([lines_of(padding[i], i) for i in padded])
        ends = [line for line in lines if _at_one_end(line.padding)]
        nested = any(line.outer for line in lines)
        likely = lines if nested or not ends else ends
        starts = [line for line in likely if not line.outer]
        if len(starts) > 1:
            names = [self.inputs[i].name for line in starts for i in line.members]
            raise AuditError(
                f"pad_id: the inputs {', '.join(map(repr, names))} all hold the pad "
                "id, at different positions, and no mask says which of them is "
                f"padded. Name that input: pad_id={{{names[0]!r}: {self.pad_id!r}}}."
            )
        return likely

    def with_neighbours(self, lines: list[Timeline]) -> list[Timeline]:
        """Adds the inputs that lie beside a sequence: segments, positions, features."""
        taken = {i for line in lines for i in line.members}
        for i, entry in enumerate(self.inputs):
            # A mask of its own says that an input does not lie beside another one.
            given = [array for one in self.born for array in one.made_of]
            alone = any(np.array_equal(entry.values, array) for array in given)
            outermost = [n for n, line in enumerate(lines) if not line.outer]
            near = [n for n in outermost if self._lies_beside(entry, lines[n])]
            if i in taken or alone or not near:
                continue
            padding = self._holds_pad(i) if entry.is_integer else None
            best = max(near, key=lambda n: _agreement(lines[n].padding, padding))
            line, sizes = lines[best], entry.values.shape
            axes = [n for n in range(1, len(sizes)) if sizes[n] == line.length]
            # A mask may have more than one; other inputs have one.
            kept = tuple(axes if i in self.masks else axes[:1])
            masks = (*line.masks, *({i} & self.masks))
            lines[best] = replace(line, places={**line.places, i: kept}, masks=masks)
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
        entry = self.inputs[i]
        held = np.isin(entry.values, pad_ids(self.pad_id, entry.name))
        if entry.is_integer:
            return held
        return np.asarray(held.all(axis=tuple(range(2, held.ndim))))

    def _is_mask(self, i: int) -> bool:
        values = self.inputs[i].values
        if values.ndim < 2 or values.dtype.kind == "b":
            return values.ndim > 1
        if values.dtype.kind not in "iuf" or not np.isin(values, (0, 1)).all():
            return False
        if "mask" in self.inputs[i].name.lower():
            return True
        # Zeros and ones that are 0 just where another input is padded.
        zero = values == 0
        return bool(zero.any()) and any(
            other.is_integer
            and other.values.ndim == 2
            and not np.isin(other.values, (0, 1)).all()
            and np.array_equal(zero, self._holds_pad(n))
            for n, other in enumerate(self.inputs)
        )


def _merged(groups: Sequence[list[Timeline]]) -> list[Timeline]:
    """All the timelines, those with the same padding as one."""
    merged: list[Timeline] = []
    for group in groups:
        numbers: list[int] = []
        for line in group:
            same = [np.array_equal(line.padding, known.padding) for known in merged]
            n = same.index(True) if any(same) else len(merged)
            if any(same):
                places = {**merged[n].places, **line.places}
                merged[n] = replace(merged[n], places=places)
            else:
                outer = tuple(numbers[n] for n in line.outer)
                merged.append(replace(line, outer=outer))
            numbers.append(n)
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
