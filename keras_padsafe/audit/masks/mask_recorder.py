"""Follows the padding of every tensor through one run of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_padsafe.audit.masks.mask_arguments import (
    contents,
    given_masks,
    hiding_argument,
    named_arguments,
    padding_by_argument,
)
from keras_padsafe.audit.masks.mask_lineage import (
    Lineage,
    Loss,
    SeenTensor,
    TracedCall,
    either,
    mask_of,
    padding_of,
    shows_padding,
)
from keras_padsafe.audit.masks.padded_elements import is_floating, spread
from keras_padsafe.audit.masks.padding_after import (
    common_padding,
    first_loss,
    padding_after,
    standing_padding,
)
from keras_padsafe.audit.masks.probe_call import (
    Probe,
    answers_without_padding,
    probe_call,
)
from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor


class MaskRecorder(Observer):
    """Records each call, and what becomes of masks and padding in it.

    A layer is known by what it does: each call with padding in it runs again with
    other content there, and what changes at real positions has read it.

    Attributes:
        calls: The calls, in the order in which they began; the model itself is first.
        masks_met: How many masks were carried or given.
        lineages: What is known of each tensor, by its identity.

    Args:
        entering: Padding that an earlier recording learnt of too late, from a mask
            argument, and the call with the argument: by the call that makes the tensor,
            and the number of the output.
    """

    def __init__(
        self, entering: dict[tuple[int, int], tuple[np.ndarray, str]] | None = None
    ) -> None:
        self._entering = entering or {}
        self.calls: list[TracedCall] = []
        self.masks_met = 0
        self.lineages: dict[int, Lineage] = {}
        self._open: list[tuple[TracedCall, dict[int, Tensor | None]]] = []
        self._latest: dict[tuple[int, ...], Lineage] = {}
        self._probing = False
        self._events = 0

    @property
    def padding_met(self) -> bool:
        """Whether any tensor held padding."""
        return any(line.padded is not None for line in self.lineages.values())

    def enter(self, call: LayerCall) -> None:
        """Records what comes in."""
        if self._probing:
            return
        parent = self._open[-1][0] if self._open else None
        traced = TracedCall(len(self.calls), call.layer, call.path, parent)
        self.calls.append(traced)
        named = named_arguments(call)
        traced.given = given_masks(named)
        by_argument = padding_by_argument(named)
        self.masks_met += len(by_argument)
        tensors = contents(named)
        for number, tensor in enumerate(tensors):
            unseen = parent is not None and id(tensor) not in self.lineages
            line = self._lineage(tensor, unseen)
            if parent is None:
                line.made_by = (-1, number)
                self._let_in(line)
            flags = by_argument.get(id(tensor))
            if flags is not None and line.padded is None and not flags.all():
                line.padded, line.seen, line.enters = ~flags, call.path, True
                self._remember(line)
            mask = mask_of(tensor)
            argument = hiding_argument(traced.given, line.padded)
            traced.inputs.append(
                SeenTensor(line, mask, line.lost, unseen, line.unhidden, argument)
            )
        masks = {id(tensor): get_keras_mask(tensor) for tensor in tensors}
        self._open.append((traced, masks))

    def leave(self, call: LayerCall) -> None:
        """Records what went out, and what the call did to masks and padding."""
        if self._probing:
            return
        traced, masks = self._open.pop()
        used = {k: v for k, v in call.passed.items() if "mask" in k} | traced.given
        traced.used = tuple(name for name, value in used.items() if tensors_in(value))
        self._note_erased(traced)
        inputs = {id(seen.tensor): seen for seen in traced.inputs}
        probes = None
        if traced.parent is not None and traced.padded_inputs:
            with self._unwatched():
                excused = [standing_padding(traced, tensor) for tensor in call.results]
                probes = probe_call(call, inputs, masks, excused)
        events: set[str] = set()
        for index, tensor in enumerate(call.results):
            if is_floating(tensor):
                probe = probes[index] if probes else None
                events |= self._note_output(traced, tensor, probe, index)
            else:
                traced.mixed.append(None)
        flags = common_padding(traced)
        if traced.reads_padding and flags is not None:
            with self._unwatched():
                traced.harmless = answers_without_padding(call, inputs, masks, flags)
        if traced.parent is not None and (traced.reads_padding or traced.leaking_child):
            traced.parent.leaking_child = True
        if traced.reads_padding and any(i.mask is not None for i in traced.inputs):
            events.add("ignored")
        if traced.padded_inputs and not any(
            o.padded is not None for o in traced.outputs
        ):
            had = traced.used or any(i.mask is not None for i in traced.inputs)
            if had and "ignored" not in events:
                events.add("consumed")
        traced.events += tuple(sorted(events))

    @property
    def learnt_late(self) -> dict[tuple[int, int], tuple[np.ndarray, str]]:
        """The padding that only an argument told of, after the tensor was made."""
        return {
            line.made_by: (line.padded, line.seen)
            for line in self.lineages.values()
            if line.enters and line.made_by and line.padded is not None
        }

    def _let_in(self, line: Lineage) -> None:
        late = self._entering.get(line.made_by) if line.made_by else None
        if late is not None and line.padded is None:
            line.padded, line.seen = late
            line.enters = True
            self._remember(line)

    def _lineage(
        self, tensor: Tensor, unseen: bool, within: TracedCall | None = None
    ) -> Lineage:
        """What is known of a tensor, for one that nothing seen has made."""
        line = self.lineages.get(id(tensor))
        if line is not None:
            return line
        line = self.lineages[id(tensor)] = Lineage(tensor)
        mask = mask_of(tensor)
        parent = within or (self._open[-1][0] if self._open else None)
        rank = 2 if within else 3  # The answers of a model may be one number a step.
        like = self._like(tensor, parent)
        if mask is not None:
            line.padded, line.carried = padding_of(mask), True
            line.seen = parent.path if parent else ""
            self.masks_met += 1
            self._remember(line)
        elif unseen and parent and like and len(tensor.shape) >= rank:
            line.padded, line.seen = like.padded, like.seen
            line.carried, line.unhidden = like.carried, like.unhidden
            line.lost = first_loss(parent.padded_inputs) or like.lost
            if line.carried and line.lost is None and line.padded is not None:
                line.lost = self._loss("operation", parent)
        return line

    def _like(self, tensor: Tensor, parent: TracedCall | None) -> Lineage | None:
        """What an operation probably made a tensor of.

        Inside a layer, of what the layer was given first; else, of what came last.
        """
        time = tuple(tensor.shape[:2])
        if parent is not None and parent.padded_inputs:
            for seen in parent.inputs:
                if tuple(seen.tensor.shape[:2]) == time:
                    return seen.lineage
        return self._latest.get(time)

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        self._probing = True
        try:
            yield
        finally:
            self._probing = False

    def _note_erased(self, traced: TracedCall) -> None:
        for seen in traced.inputs:
            now = mask_of(seen.tensor)
            if seen.mask is not None and now is None and seen.lineage.lost is None:
                seen.lineage.lost = self._loss("erased", traced)
                traced.events = ("erased",)
        traced.states_after = tuple(
            SeenTensor(seen.lineage, mask_of(seen.tensor), None).state
            for seen in traced.inputs
        )

    def _note_output(
        self, traced: TracedCall, tensor: Tensor, probe: Probe | None, number: int
    ) -> set[str]:
        mask = mask_of(tensor)
        known = self.lineages.get(id(tensor))
        passed_on = known is not None
        line = known or Lineage(tensor, made_by=(traced.index, number))
        self.lineages[id(tensor)] = line
        events: set[str] = set()
        inputs = traced.padded_inputs
        if traced.parent is None and not passed_on:
            del self.lineages[id(tensor)]
            line = self._lineage(tensor, unseen=True, within=traced)
        elif not passed_on:
            line.padded = padding_after(traced, tensor, probe, mask)
            self._let_in(line)
        mixed = None
        if probe is not None and probe.mixed.any():
            mixed = probe.mixed
            if line.padded is not None:
                mixed = mixed & ~standing_padding(traced, tensor)
                mixed = mixed & ~spread(line.padded, mixed.shape)
        traced.mixed.append(mixed if mixed is not None and mixed.any() else None)
        origins = [seen for seen in inputs if line.padded is not None]
        if not passed_on and origins:
            line.carried = any(seen.lineage.carried for seen in origins)
            line.seen = next((s.lineage.seen for s in origins), "")
            line.unhidden = next(
                (s.lineage.unhidden for s in origins if s.lineage.unhidden), None
            )
        if mask is not None:
            events |= self._note_carried(traced, line, mask, passed_on)
        elif line.padded is not None and origins:
            had_one = any(seen.mask is not None for seen in origins)
            if not passed_on:
                line.lost = first_loss(origins)
            if had_one:
                events.add("dropped")
                line.lost = line.lost or self._loss("dropped", traced)
        self._remember(line)
        unseen = traced.parent is None and not passed_on
        seen = SeenTensor(line, mask, line.lost, unseen, line.unhidden)
        traced.outputs.append(seen)
        return events

    def _note_carried(
        self, traced: TracedCall, line: Lineage, mask: np.ndarray, passed_on: bool
    ) -> set[str]:
        self.masks_met += 1
        masks = [seen.mask for seen in traced.inputs if seen.mask is not None]
        from_inputs = line.padded is not None and bool(traced.padded_inputs)
        line.seen, line.carried = traced.path, True
        if shows_padding(mask, line.padded):
            if line.unhidden is None:
                line.unhidden = self._loss("dropped", traced)
                return {"from nowhere"}
            return {"kept"}
        line.unhidden = None if not passed_on else line.unhidden
        line.padded = either(line.padded, padding_of(mask))
        line.lost = None
        if not masks and not traced.used and not from_inputs:
            return {"born"}
        if any(np.array_equal(mask, given) for given in masks):
            return {"kept"} if len(masks) < 2 else {"combined"}
        return {"combined"} if len(masks) > 1 else {"kept"} if masks else {"born"}

    def _remember(self, line: Lineage) -> None:
        if line.padded is not None and line.padded.ndim == 2:
            self._latest[tuple(line.tensor.shape[:2])] = line

    def _loss(self, how: Any, traced: TracedCall) -> Loss:
        self._events += 1
        owner = traced.owner
        how = how if owner is traced else "operation"
        return Loss(how, owner.path, owner.class_name, self._events)
