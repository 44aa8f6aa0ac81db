"""What became of masks in a run: who was told of padding, and where a mask was lost."""

from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np

from keras_padsafe.audit.masks.padded_sample import declared_pad_ids
from keras_padsafe.audit.run.find_timelines import Born, born_masks, find_timelines
from keras_padsafe.audit.run.id_inputs import own_record
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Record, Value
from keras_padsafe.audit.run.time_axes import Axis, deepened
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.errors import AuditError, MaskError

How = Literal["dropped", "erased", "operation", "shown"]


@dataclass(frozen=True)
class Loss:
    """Where a tensor lost its mask, or got a wrong one.

    Attributes:
        how: `"dropped"` by a layer whose output carries none, `"erased"` from the
            tensor that a layer was given, lost by an `"operation"` that is no layer,
            or `"shown"`: replaced by one that shows padding as real.
        place: The path of the layer, or of the one whose code holds the operation.
        class_name: The class of that layer.
        order: When: the number of the call.
        seen: The last place where the mask was carried.
        positions: Whether what the layer gives has the `"same"` positions as what it
            was given, `"other"` ones or `"none"`.
    """

    how: How
    place: str
    class_name: str
    order: int
    seen: str
    positions: Literal["same", "other", "none"]


class MaskStory:
    """What a run of a batch says of masks.

    Attributes:
        runs: The batch.
        calls: The calls in the order in which they began, that of the model first.
    """

    def __init__(self, runs: PaddedRuns) -> None:
        self.runs = runs
        self.calls = in_order(runs.record)
        self._made_by: dict[int, CallRecord] = {}
        for call in runs.record.values():
            given = {value.tensor for value in call.inputs}
            for value in call.outputs:
                # What a layer hands on as it is, such as Dropout, others made.
                known = value.tensor in self._made_by and not of_a_library(call.layer)
                if value.tensor not in given and not known:
                    self._made_by[value.tensor] = call

    @property
    def root(self) -> CallRecord:
        """The call of the model itself."""
        return outputs_of(self.runs.record)

    @property
    def not_looked_at(self) -> tuple[str, ...]:
        """What could not be measured."""
        runs = self.runs
        if runs.taps or runs.features or (any(runs.added) and not runs.refused):
            return ()
        said = f"; with more padding it says: {runs.refused}" if runs.refused else ""
        return (
            "which layer reads padding: no call was seen that turns ids into "
            f"features, so the content of the padding could not be changed{said}",
        )

    def padded(self, value: Value) -> np.ndarray | None:
        """Where a tensor of floats is padding, on its first axes."""
        axes = self.runs.axes.get(value)
        if axes is None or not value.is_float or axes.shape != value.array.shape:
            return None
        return axes.padded

    def contents(self, call: CallRecord) -> list[Value]:
        """The tensors of floats that a call was given, each once."""
        masks = {v.tensor for values in call.given.values() for v in values}
        found = {v.tensor: v for v in reversed(call.inputs) if v.tensor not in masks}
        return [value for value in reversed(found.values()) if value.is_float]

    def padded_inputs(self, call: CallRecord) -> list[Value]:
        """Those of them that hold padding."""
        return [v for v in self.contents(call) if self.padded(v) is not None]

    def shows_padding(self, value: Value) -> bool:
        """Whether the mask that a tensor carries marks padding as real."""
        mask, padded = value.mask, self.padded(value)
        if mask is None or padded is None:
            return False
        rank = max(mask.ndim, padded.ndim)
        return bool((deepened(mask, rank) & deepened(padded, rank)).any())

    def untold(self, call: CallRecord) -> list[Value]:
        """The padded inputs of a call without a mask that hides all padding in them."""
        return [
            value
            for value in self.padded_inputs(call)
            if (value.mask is None or self.shows_padding(value))
            and not self._given_mask_of(value, call)
        ]

    def told_elsewhere(self, value: Value) -> str:
        """The call that was given by name the mask that a tensor lacks."""
        told = (call.path for call in self.calls if self._given_mask_of(value, call))
        return next(told, "")

    def lost(self, value: Value, reader: CallRecord) -> Loss | None:
        """Where a tensor that a call is given lost its mask, or got one that is wrong.

        A wrong mask is that of the call which made it, not of those that kept it.
        """
        if not self.shows_padding(value):
            return self._lost(value, reader, set())
        maker = self._made_by.get(value.tensor)
        if maker is None:
            return None
        given = [v for v in self.contents(maker) if v.tensor != value.tensor]
        wrong = next(filter(self.shows_padding, given), None)
        if wrong is not None:
            return self.lost(wrong, maker)
        masked = [v for v in self.contents(maker) if v.mask is not None]
        return self._loss("shown", maker, self._seen(*masked) or maker.path)

    def _given_mask_of(self, value: Value, call: CallRecord) -> bool:
        """Whether a mask given by name hides all padded positions of a tensor."""
        padded = self.padded(value)
        if padded is None:
            return False
        for mask in [mask for masks in call.given.values() for mask in masks]:
            shown = _shown_by(mask.array, padded.ndim)
            if shown is None or shown.shape[1:] != padded.shape[1:]:
                continue
            if len(shown) in (1, len(padded)) and not (shown & padded).any():
                return True
        return False

    def _lost(
        self, value: Value, reader: CallRecord, asked: set[tuple[int, int]]
    ) -> Loss | None:
        place = (value.tensor, reader.index)
        if place in asked or value.mask is not None:
            return None
        asked.add(place)
        erased = self._erased(value, reader)
        if erased is not None:
            return erased
        maker = self._made_by.get(value.tensor)
        if maker is None:
            return self._lost_unseen(value, reader, asked)
        given = [v for v in self.padded_inputs(maker) if v.tensor != value.tensor]
        known = self._earliest([(v, maker) for v in given], asked)
        masked = [v for v in given if v.mask is not None]
        if known is None and masked:
            return self._loss("dropped", maker, self._seen(*masked))
        inner = [call for call in self._inside(maker) if _carries(call)]
        if known is None and inner and not given:
            return self._loss("dropped", maker, inner[-1].path)
        return known

    def _lost_unseen(
        self, value: Value, reader: CallRecord, asked: set[tuple[int, int]]
    ) -> Loss | None:
        """Of a tensor that an operation made between two calls."""
        within = self.runs.record[reader.parent] if reader.parent else reader
        given = self.padded_inputs(within)
        for other in given:
            same = other.array.shape == value.array.shape
            if same and np.array_equal(other.array, value.array) and other.mask is None:
                return self._lost(other, within, asked)
        earlier = [
            call
            for call in self._inside(within)
            if call.index < reader.index or reader is within
        ]
        masked = [v for v in given if v.mask is not None]
        carriers = [call.path for call in earlier if _carries(call)]
        if masked or carriers:
            seen = carriers[-1] if carriers else self._seen(*masked)
            return self._loss("operation", within, seen)
        made = [v for call in earlier for v in call.outputs]
        sources = [(v, within) for v in given]
        sources += [(v, reader) for v in made if self.padded(v) is not None]
        return self._earliest(sources, asked)

    def _earliest(
        self,
        sources: list[tuple[Value, CallRecord]],
        asked: set[tuple[int, int]],
    ) -> Loss | None:
        losses = [self._lost(value, reader, asked) for value, reader in sources]
        known = [loss for loss in losses if loss is not None]
        return min(known, key=lambda loss: loss.order, default=None)

    def _inside(self, outer: CallRecord) -> list[CallRecord]:
        """The calls that happened in another one, however deep."""
        inside: set[Key | None] = {outer.key}
        found = []
        for call in self.calls:
            if call.parent in inside:
                inside.add(call.key)
                found.append(call)
        return found

    def _erased(self, value: Value, reader: CallRecord) -> Loss | None:
        for call in self.calls:
            if call.index >= reader.index:
                break
            for before, after in zip(call.inputs, call.inputs_after, strict=False):
                if before.tensor == value.tensor and erases(before, after):
                    return self._loss("erased", call, self._seen(before))
        return None

    def _seen(self, *values: Value) -> str:
        """The call that made the first of some tensors."""
        maker = self._made_by.get(values[0].tensor) if values else None
        return maker.path if maker else ""

    def _loss(self, how: How, call: CallRecord, seen: str) -> Loss:
        owner = call
        while owner.parent and not isinstance(owner.layer, keras.layers.Layer):
            above = self.runs.record[owner.parent]
            graph = getattr(above.layer, "operations", ())
            if any(operation is owner.layer for operation in graph):
                break
            owner, how = above, "operation" if how == "dropped" else how
        given, made = self._time(owner.inputs), self._time(owner.outputs)
        positions = "other" if any(made) else "none"
        if any(axis and axis in given for axis in made):
            positions = "same"
        return Loss(how, owner.path, owner.class_name, call.index, seen, positions)

    def _time(self, values: list[Value]) -> list[tuple[Axis, ...]]:
        """The first axis of time of each tensor of floats."""
        read = [self.runs.axes[value] for value in values if value.is_float]
        return [tuple(one.axes[n] for n, _ in one.time[:1]) for one in read]


def run_with_masks(
    model: keras.layers.Layer, batch: object
) -> tuple[list[CallRecord], MaskStory | None]:
    """Runs a batch; there is no story where nothing makes, carries or gets a mask.

    Raises:
        MaskError: if no position is padding.
    """
    runs = ModelRuns(model, batch)
    record = own_record(runs, MaskError)
    met, declared = _masks_met(record), declared_pad_ids(model)
    if not met and not declared:
        return in_order(record), None
    born = [*born_masks(record), *(Born(mask) for mask in met)]
    try:
        lines = find_timelines(runs.inputs, declared or None, born)
    except AuditError:
        lines = []
    # Features beside a sequence of ids have no mask, and so no padding to follow.
    floats = {i for i, entry in enumerate(runs.inputs) if entry.is_float}
    for n, line in enumerate(lines):
        if not floats.issuperset(line.places):
            places = {i: axes for i, axes in line.places.items() if i not in floats}
            lines[n] = replace(line, places=places)
    if any(line.padding.any() for line in lines):
        padded = PaddedBatch(runs.inputs, tuple(lines), declared or None)
        return in_order(record), MaskStory(PaddedRuns(runs, record, padded))
    if met:
        raise MaskError(
            "batch: it has no padding, so there is nothing to trace. Expected: rows of "
            "different lengths, padded to one length. Received: a batch with masks "
            "that are True everywhere. Add a shorter row."
        )
    return in_order(record), None


def in_order(record: Record) -> list[CallRecord]:
    """The calls of a run in the order in which they began."""
    return sorted(record.values(), key=lambda call: call.index)


def erases(before: Value, after: Value) -> bool:
    """Whether a call took the mask away from what it was given."""
    return before.mask is not None and after.mask is None


def _masks_met(record: Record) -> list[np.ndarray]:
    """The masks that calls were given by name, and those that tensors carried."""
    calls = in_order(record)
    given = [v.array for call in calls for each in call.given.values() for v in each]
    carried = [v.mask for call in calls for v in call.inputs]
    met = [*map(_shown_by, given), *carried]
    return [mask.astype(bool) for mask in met if mask is not None]


def _shown_by(mask: np.ndarray, rank: int = 2) -> np.ndarray | None:
    """The positions of `rank` axes that a mask shows; for attention, to any query."""
    if mask.ndim < rank or not np.isin(mask, (0, 1)).all():
        return None
    return np.asarray(mask.astype(bool).any(axis=tuple(range(rank - 1, mask.ndim - 1))))


def _carries(call: CallRecord) -> bool:
    return any(value.mask is not None for value in call.outputs)
