"""Which inputs are sequences, and which of their positions are padding."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keras_padsafe.audit.run.timeline import Input, Timeline
from keras_padsafe.errors import AuditError


def find_timelines(
    inputs: Sequence[Input], pad_id: Any, born: Sequence[np.ndarray]
) -> list[Timeline]:
    """Finds what is padding: by a mask among the inputs, by the model's own, by id.

    Args:
        inputs: The arrays of the batch.
        pad_id: As `check_padding` takes it.
        born: The masks `(batch, time)` that the model made in a run.

    Returns:
        One timeline for each set of inputs that share their padding.

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
        found = [Timeline(~born[0])]
    return finder.with_neighbours(found)


def pad_ids(pad_id: Any, name: str = "") -> np.ndarray:
    """The pad ids of an input, as an array."""
    if isinstance(pad_id, Mapping):
        pad_id = pad_id.get(name)
    if pad_id is None:
        return np.zeros(0)
    return np.atleast_1d(np.asarray(list(pad_id) if _several(pad_id) else pad_id))


class _Finder:
    def __init__(
        self, inputs: Sequence[Input], pad_id: Any, born: Sequence[np.ndarray]
    ) -> None:
        self._inputs = inputs
        self._pad_id = pad_id
        self._born = born
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
                Timeline(self._holds_pad(i), (i,))
                for i, name in enumerate(names)
                if name in by_name
            ]
        )

    def of_masks(self) -> list[Timeline]:
        found = []
        for i in sorted(self._masks):
            values = self._inputs[i].values
            if values.ndim == 2:
                found.append(Timeline(values == 0, (i,), (i,)))
        return found

    def of_born(self, known: list[Timeline]) -> list[Timeline]:
        """Sequences whose padding the model masks by itself."""
        shapes = {line.padding.shape for line in known}
        found = []
        for i, entry in enumerate(self._inputs):
            shape = entry.values.shape[:2]
            if i in self._masks or shape in shapes:
                continue
            if entry.values.ndim == 2 and entry.is_integer:
                padding = self._holds_pad(i)
                if padding.any() and any(_same(~padding, mask) for mask in self._born):
                    found.append(Timeline(padding, (i,)))
            elif entry.values.ndim == 3 and entry.is_float:
                masks = [mask for mask in self._born if mask.shape == shape]
                if masks:
                    found.append(Timeline(~masks[0], (i,)))
        return _merged(found)

    def of_ids(self) -> list[Timeline]:
        """Sequences that nothing masks: only the pad id says what padding is."""
        found = []
        for i, entry in enumerate(self._inputs):
            ids = entry.values.ndim == 2 and entry.is_integer
            features = entry.values.ndim == 3 and entry.is_float
            if i in self._masks or not (ids or features) or entry.values.shape[1] < 2:
                continue
            padding = self._holds_pad(i)
            if padding.any():
                found.append(Timeline(padding, (i,)))
        found = _merged(found)
        likely = [line for line in found if _at_one_end(line.padding)]
        if len(likely or found) > 1:
            names = [self._inputs[i].name for line in found for i in line.members]
            raise AuditError(
                f"pad_id: the inputs {', '.join(map(repr, names))} all hold the pad "
                "id, at different positions, and no mask says which of them is padded. "
                f"Name it: pad_id={{{names[0]!r}: {self._pad_id!r}}}."
            )
        return likely or found

    def with_neighbours(self, lines: list[Timeline]) -> list[Timeline]:
        """Adds the inputs that lie beside a sequence: segments, positions, features."""
        taken = {i for line in lines for i in line.members}
        for i, entry in enumerate(self._inputs):
            if i in taken:
                continue
            padding = self._holds_pad(i) if entry.is_integer else None
            near = [
                number
                for number, line in enumerate(lines)
                if self._lies_beside(entry, line)
            ]
            if near:
                best = max(near, key=lambda n: _agreement(lines[n].padding, padding))
                lines[best] = replace(
                    lines[best],
                    members=(*lines[best].members, i),
                    masks=(*lines[best].masks, *({i} & self._masks)),
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
        entry = self._inputs[i]
        ids = pad_ids(self._pad_id, entry.name)
        held = np.isin(entry.values, ids) if ids.size else np.zeros(entry.values.shape)
        return np.asarray(held.astype(bool).all(axis=tuple(range(2, held.ndim))))

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


def _merged(lines: list[Timeline]) -> list[Timeline]:
    merged: list[Timeline] = []
    for line in lines:
        for n, other in enumerate(merged):
            if _same(line.padding, other.padding):
                merged[n] = replace(other, members=other.members + line.members)
                break
        else:
            merged.append(line)
    return merged


def _agreement(padding: np.ndarray, other: np.ndarray | None) -> float:
    same = other is not None and other.shape == padding.shape
    return float((padding == other).mean()) if same else 0.0


def _at_one_end(padding: np.ndarray) -> bool:
    """Whether each row's padding stands at one end, and not all rows hold nothing."""
    changes = (padding[:, 1:] != padding[:, :-1]).sum(1)
    return bool((changes <= 1).all() and not padding.all())


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _several(pad_id: Any) -> bool:
    return isinstance(pad_id, (list, tuple, set, frozenset, range, np.ndarray))
