"""What became of masks in a run: who was told of padding, and where a mask was lost."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.read_batch import read_batch
from keras_padsafe.audit.run.find_timelines import Born, born_masks, find_timelines
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns
from keras_padsafe.audit.run.record_calls import CallRecord, Key, Value
from keras_padsafe.audit.run.time_axes import Axis, deepened
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.compat import inner_layers
from keras_padsafe.errors import AuditError, MaskError


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

    how: Literal["dropped", "erased", "operation", "shown"]
    place: str
    class_name: str
    order: int
    seen: str
    positions: Literal["same", "other", "none"]


class MaskStory:
    """One run of a model, and what it says of masks.

    Attributes:
        runs: The engine; `None` if there is no mask anywhere.
        calls: The calls in the order in which they began, that of the model first.

    Args:
        model: Any Keras model or layer.
        batch: What it is called on.

    Raises:
        MaskError: if `model` is no Keras model, or no position is padding.
    """

    def __init__(self, model: keras.layers.Layer, batch: Any) -> None:
        read_layer(model, "model", MaskError)
        read_batch(batch, "batch", MaskError)
        runs = ModelRuns(model, batch)
        record = runs.record_own(MaskError)
        self.calls = sorted(record.values(), key=lambda call: call.index)
        self._made_by: dict[int, CallRecord] = {}
        for call in record.values():
            given = {value.tensor for value in call.inputs}
            for value in call.outputs:
                # What a layer hands on as it is, such as Dropout, others made.
                if value.tensor in given:
                    continue
                maker = self._made_by.setdefault(value.tensor, call)
                if maker is not call and of_a_library(call.layer):
                    self._made_by[value.tensor] = call
        met = self._masks_met()
        self.runs: PaddedRuns | None = None
        declared = declared_pad_ids(model)
        if not met and not declared:
            return
        born = [*born_masks(record), *(Born(mask) for mask in met)]
        try:
            lines = find_timelines(runs.inputs, declared or None, born)
        except AuditError:
            lines = []
        # Features beside a sequence of ids have no mask, and so no padding to follow.
        floats = {i for i, entry in enumerate(runs.inputs) if entry.is_float}
        lines = [
            replace(
                line,
                places={
                    i: axes
                    for i, axes in line.places.items()
                    if i not in floats or floats.issuperset(line.places)
                },
            )
            for line in lines
        ]
        if any(line.padding.any() for line in lines):
            batch = PaddedBatch(runs.inputs, tuple(lines), declared or None)
            self.runs = PaddedRuns(runs, record, batch)
        elif met:
            raise MaskError(
                "batch: it has no padding, so there is nothing to trace. Expected: "
                "rows of different lengths, padded to one length. Received: a batch "
                "with masks that are True everywhere. Add a shorter row."
            )

    @property
    def root(self) -> CallRecord:
        """The call of the model itself."""
        assert self.runs is not None
        return outputs_of(self.runs.record)

    @property
    def not_looked_at(self) -> tuple[str, ...]:
        """What could not be measured."""
        runs = self.runs
        if runs is None or runs.taps or runs.features:
            return ()
        if any(runs.added) and not runs.refused:
            return ()
        said = f"; with more padding it says: {runs.refused}" if runs.refused else ""
        return (
            "which layer reads padding: no call was seen that turns ids into "
            f"features, so the content of the padding could not be changed{said}",
        )

    def padded(self, value: Value) -> np.ndarray | None:
        """Where a tensor of floats is padding, on its first axes."""
        if self.runs is None or not value.is_float or value not in self.runs.axes:
            return None
        axes = self.runs.axes[value]
        return axes.padded if axes.shape == value.array.shape else None

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
        mask, padded = self._mask_and_padding(value)
        return bool(mask is not None and padded is not None and (mask & padded).any())

    def told(self, value: Value, call: CallRecord) -> bool:
        """Whether a mask came with a tensor that hides all padding in it."""
        padded = self.padded(value)
        if padded is None or self.hiding_argument(call, padded) is not None:
            return True
        return value.mask is not None and not self.shows_padding(value)

    def untold(self, call: CallRecord) -> list[Value]:
        """The padded inputs of a call that came without such a mask."""
        return [v for v in self.padded_inputs(call) if not self.told(v, call)]

    def hiding_argument(self, call: CallRecord, padded: np.ndarray) -> str | None:
        """The mask, among those given by name, that hides all padded positions."""
        for name, values in call.given.items():
            for value in values:
                shown = shown_by(value.array, padded.ndim)
                if shown is None or shown.shape[1:] != padded.shape[1:]:
                    continue
                if len(shown) in (1, len(padded)) and not (shown & padded).any():
                    return name
        return None

    def lost(self, value: Value, reader: CallRecord) -> Loss | None:
        """Where a tensor that a call is given lost its mask."""
        return self._lost(value, reader, set())

    def shown_at(self, value: Value) -> Loss | None:
        """Where the mask came from that a tensor carries, if it shows padding."""
        if not self.shows_padding(value):
            return None
        maker = self._made_by.get(value.tensor)
        if maker is None:
            return None
        for given in self.contents(maker):
            if given.tensor != value.tensor and self.shows_padding(given):
                return self.shown_at(given)
        masked = [v for v in self.contents(maker) if v.mask is not None]
        seen = self._seen(masked[0]) if masked else maker.path
        return self._loss("shown", maker, seen)

    def told_elsewhere(self, value: Value) -> str:
        """The call that was given by name the mask that a tensor lacks."""
        padded = self.padded(value)
        for call in self.calls:
            if padded is not None and self.hiding_argument(call, padded):
                return call.path
        return ""

    @cached_property
    def _inside(self) -> dict[Key, list[CallRecord]]:
        """The calls that happened in each call, however deep."""
        found: dict[Key, list[CallRecord]] = {call.key: [] for call in self.calls}
        parents = {call.key: call.parent for call in self.calls}
        for call in self.calls:
            above = call.parent
            while above is not None:
                found[above].append(call)
                above = parents[above]
        return found

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
        losses = [self._lost(v, maker, asked) for v in given if v.mask is None]
        known = [loss for loss in losses if loss is not None]
        if known:
            return min(known, key=lambda loss: loss.order)
        masked = [v for v in given if v.mask is not None]
        if masked:
            return self._loss("dropped", maker, self._seen(masked[0]))
        inner = [c for c in self._inside[maker.key] if _carries(c)]
        if inner and not given:
            return self._loss("dropped", maker, inner[-1].path)
        return None

    def _lost_unseen(
        self, value: Value, reader: CallRecord, asked: set[tuple[int, int]]
    ) -> Loss | None:
        """Of a tensor that an operation made between two calls."""
        assert self.runs is not None
        within = self.runs.record[reader.parent] if reader.parent else reader
        given = self.padded_inputs(within)
        for other in given:
            same = other.array.shape == value.array.shape
            if same and np.array_equal(other.array, value.array) and other.mask is None:
                return self._lost(other, within, asked)
        earlier = [
            call
            for call in self._inside[within.key]
            if call.index < reader.index or reader is within
        ]
        masked = [v for v in given if v.mask is not None]
        carriers = [call for call in earlier if _carries(call)]
        if masked or carriers:
            seen = carriers[-1].path if carriers else self._seen(masked[0])
            return self._loss("operation", within, seen)
        sources = [(v, within) for v in given]
        sources += [(v, reader) for call in earlier for v in call.outputs]
        losses = [
            self._lost(v, at, asked) for v, at in sources if self.padded(v) is not None
        ]
        known = [loss for loss in losses if loss is not None]
        return min(known, key=lambda loss: loss.order, default=None)

    def _erased(self, value: Value, reader: CallRecord) -> Loss | None:
        for call in self.calls:
            if call.index >= reader.index:
                break
            for before, after in zip(call.inputs, call.inputs_after, strict=False):
                if before.tensor == value.tensor and erases(before, after):
                    return self._loss("erased", call, self._seen(before))
        return None

    def _seen(self, value: Value) -> str:
        maker = self._made_by.get(value.tensor)
        return maker.path if maker else ""

    def _loss(self, how: Any, call: CallRecord, seen: str) -> Loss:
        assert self.runs is not None
        owner = call
        while owner.parent and not isinstance(owner.layer, keras.layers.Layer):
            above = self.runs.record[owner.parent]
            graph = getattr(above.layer, "operations", ())
            if any(operation is owner.layer for operation in graph):
                break
            owner, how = above, "operation" if how == "dropped" else how
        positions = self._positions(owner)
        return Loss(how, owner.path, owner.class_name, call.index, seen, positions)

    def _positions(self, call: CallRecord) -> Literal["same", "other", "none"]:
        assert self.runs is not None

        def time(values: list[Value]) -> list[tuple[Axis, ...]]:
            read = [self.runs.axes[v] for v in values if v.is_float and self.runs]
            return [tuple(one.axes[n] for n, _ in one.time[:1]) for one in read]

        given, made = time(call.inputs), time(call.outputs)
        if any(axes and axes in given for axes in made):
            return "same"
        return "other" if any(made) else "none"

    def _mask_and_padding(
        self, value: Value
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        mask, padded = value.mask, self.padded(value)
        if mask is None or padded is None:
            return mask, padded
        rank = max(mask.ndim, padded.ndim)
        return deepened(mask, rank), deepened(padded, rank)

    def _masks_met(self) -> list[np.ndarray]:
        """The masks that tensors carried, or calls were given by name."""
        carried = [
            v.mask for call in self.calls for v in call.inputs if v.mask is not None
        ]
        given = [
            shown_by(value.array)
            for call in self.calls
            for values in call.given.values()
            for value in values
        ]
        return [m.astype(bool) for m in [*given, *carried] if m is not None]


def shown_by(mask: np.ndarray, rank: int = 2) -> np.ndarray | None:
    """The positions of `rank` axes that a mask shows; for attention, to any query."""
    if mask.ndim < rank or not np.isin(mask, (0, 1)).all():
        return None
    return np.asarray(mask.astype(bool).any(axis=tuple(range(rank - 1, mask.ndim - 1))))


def erases(before: Value, after: Value) -> bool:
    """Whether a call took the mask away from what it was given."""
    return before.mask is not None and after.mask is None


def _carries(call: CallRecord) -> bool:
    return any(value.mask is not None for value in call.outputs)


def declared_pad_ids(model: keras.layers.Layer) -> list[int]:
    """The ids that the layers of a model take for padding, and make a mask of."""
    found: set[int] = set()
    for layer in inner_layers(model):
        if getattr(layer, "mask_zero", False) is True:
            found.add(0)
        pad_id = getattr(layer, "pad_id", None)
        if pad_id is not None:
            found.update(int(one) for one in np.ravel(pad_id))
    return sorted(found)
