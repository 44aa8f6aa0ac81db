"""What became of masks in a run: who was told of padding, and where a mask was lost."""

from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np

from keras_padsafe.audit.run.find_timelines import Born, born_masks, find_timelines
from keras_padsafe.audit.run.id_inputs import own_record
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Value
from keras_padsafe.audit.run.time_axes import Axis, deepened
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.compat import inner_layers
from keras_padsafe.errors import AuditError, MaskError

How = Literal["dropped", "erased", "operation", "shown"]


@dataclass(frozen=True)
class Loss:
    """Where a tensor lost its mask, or got a wrong one that shows padding as real.

    `how`: `"erased"` is one that a layer took from what it was given, `"operation"` one
    lost by an operation that is no layer, within the layer at `place`.
    """

    how: How
    place: str
    class_name: str
    order: int  # The number of the call.
    seen: str  # The last place where the mask was carried.
    # Whether the layer gives the positions that it was given.
    positions: Literal["same", "other", "none"]


class MaskStory:
    """What a run of a batch says of masks.

    Its calls come in the order in which they began, that of the model, `root`, first.
    """

    def __init__(self, runs: PaddedRuns, calls: list[CallRecord]) -> None:
        self.runs, self.calls, self.root = runs, calls, outputs_of(runs.record)
        self._losses: dict[tuple[int, int], Loss | None] = {}
        self._made_by: dict[int, CallRecord] = {}
        for call in runs.record.values():
            given = {value.tensor for value in call.inputs}
            for value in call.outputs:
                # What a layer hands on as it is, such as Dropout, others made.
                known = value.tensor in self._made_by and not of_a_library(call.layer)
                if value.tensor not in given and not known:
                    self._made_by[value.tensor] = call

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
        masks = {mask.tensor for mask in _given_by_name(call)}
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
            return self._lost(value, reader)
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
        for mask in _given_by_name(call):
            shown = _shown_by(mask.array, padded.ndim)
            if shown is None or shown.shape[1:] != padded.shape[1:]:
                continue
            if len(shown) in (1, len(padded)) and not (shown & padded).any():
                return True
        return False

    def _lost(self, value: Value, reader: CallRecord) -> Loss | None:
        place = (value.tensor, reader.index)
        if value.mask is not None:
            return None
        if place not in self._losses:
            self._losses[place] = None  # A tensor may lead back to itself.
            erased, maker = self._erased(value, reader), self._made_by.get(value.tensor)
            found = self._lost_in if maker else self._lost_between
            self._losses[place] = erased or found(value, maker or reader)
        return self._losses[place]

    def _lost_in(self, value: Value, maker: CallRecord) -> Loss | None:
        """Of a tensor that a call made."""
        given = [v for v in self.padded_inputs(maker) if v.tensor != value.tensor]
        known = self._earliest([(v, maker) for v in given])
        masked = [v for v in given if v.mask is not None]
        carriers = [call.path for call in self._inside(maker) if _carries(call)]
        if known is None and (masked or (carriers and not given)):
            seen = self._seen(*masked) if masked else carriers[-1]
            return self._loss("dropped", maker, seen)
        return known

    def _lost_between(self, value: Value, reader: CallRecord) -> Loss | None:
        """Of a tensor that an operation made between two calls."""
        within = self.runs.record[reader.parent] if reader.parent else reader
        given = self.padded_inputs(within)
        for other in given:
            if other.mask is None and np.array_equal(other.array, value.array):
                return self._lost(other, within)
        end = float("inf") if reader is within else reader.index
        earlier = [call for call in self._inside(within) if call.index < end]
        masked = [v for v in given if v.mask is not None]
        carriers = [call.path for call in earlier if _carries(call)]
        if masked or carriers:
            seen = carriers[-1] if carriers else self._seen(*masked)
            return self._loss("operation", within, seen)
        made = [v for call in earlier for v in call.outputs]
        sources = [(v, within) for v in given]
        sources += [(v, reader) for v in made if self.padded(v) is not None]
        return self._earliest(sources)

    def _earliest(self, sources: list[tuple[Value, CallRecord]]) -> Loss | None:
        losses = [self._lost(value, reader) for value, reader in sources]
        known = [loss for loss in losses if loss is not None]
        return min(known, key=lambda loss: loss.order, default=None)

    def _inside(self, outer: CallRecord) -> list[CallRecord]:
        """The calls that happened in another one, however deep."""
        found: dict[Key | None, CallRecord] = {outer.key: outer}
        for call in self.calls:
            if call.parent in found:
                found[call.key] = call
        return [*found.values()][1:]

    def _erased(self, value: Value, reader: CallRecord) -> Loss | None:
        for call in self.calls[: self.calls.index(reader)]:
            for before, after in zip(call.inputs, call.inputs_after, strict=False):
                erased = before.mask is not None and after.mask is None
                if erased and before.tensor == value.tensor:
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

        def time(values: list[Value]) -> list[tuple[Axis, ...]]:
            read = [self.runs.axes[value] for value in values if value.is_float]
            return [tuple(one.axes[n] for n, _ in one.time[:1]) for one in read]

        given, made = time(owner.inputs), time(owner.outputs)
        positions = "other" if any(made) else "none"
        if any(axis and axis in given for axis in made):
            positions = "same"
        return Loss(how, owner.path, owner.class_name, call.index, seen, positions)


def run_with_masks(
    model: keras.layers.Layer, batch: object
) -> tuple[list[CallRecord], MaskStory | None]:
    """Runs a batch; there is no story where nothing makes, carries or gets a mask."""
    runs = ModelRuns(model, batch)
    record = own_record(runs, MaskError)
    calls = sorted(record.values(), key=lambda call: call.index)
    declared = declared_pad_ids(model)
    given = [_shown_by(v.array) for call in calls for v in _given_by_name(call)]
    carried = [v.mask for call in calls for v in call.inputs]
    met = [mask.astype(bool) for mask in (*given, *carried) if mask is not None]
    if not met and not declared:
        return calls, None
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
        return calls, MaskStory(PaddedRuns(runs, record, padded), calls)
    if met:
        raise MaskError(
            "batch: it has no padding, so there is nothing to trace. Expected: rows of "
            "different lengths, padded to one length. Received: a batch with masks "
            "that are True everywhere. Add a shorter row."
        )
    return calls, None


def declared_pad_ids(model: keras.layers.Layer) -> list[int]:
    """The ids that the layers of a model take for padding, and make a mask of."""
    layers = inner_layers(model)
    zero = [0 for layer in layers if getattr(layer, "mask_zero", False) is True]
    given = [getattr(layer, "pad_id", None) for layer in layers]
    ids = [int(one) for pad in given if pad is not None for one in np.ravel(pad)]
    return sorted({*zero, *ids})


def _given_by_name(call: CallRecord) -> list[Value]:
    return [mask for masks in call.given.values() for mask in masks]


def _shown_by(mask: np.ndarray, rank: int = 2) -> np.ndarray | None:
    """The positions of `rank` axes that a mask shows; for attention, to any query."""
    if mask.ndim < rank or not np.isin(mask, (0, 1)).all():
        return None
    return np.asarray(mask.astype(bool).any(axis=tuple(range(rank - 1, mask.ndim - 1))))


def _carries(call: CallRecord) -> bool:
    return any(value.mask is not None for value in call.outputs)
