"""Where non-finite values are born in a forward run.

Every value that is seen to be non-finite is replaced by zero at once, so that whatever
is non-finite later was born anew. A birth counts if the outputs or the loss are not
finite when it alone is let through; the -inf of an attention score does not.
"""

from dataclasses import dataclass
from typing import Any, Literal

import keras

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.run.bad_values import (
    BadValues,
    all_finite,
    bad_values,
    is_float,
    replace_nonfinite,
)
from keras_padsafe.audit.run.intervene import AtEachPlace, Key
from keras_padsafe.audit.run.known_masks import KnownMasks
from keras_padsafe.audit.run.watch import LayerCall, Observer, tensors_in

Moment = Literal["enter", "leave"]


@dataclass(frozen=True)
class Birth:
    """A place where non-finite values are born.

    Attributes:
        call: The call that it was seen at.
        moment: `"leave"` if the call made it, `"enter"` if it was made before it, by
            an operation in the parent's own code.
        bad: What is not finite.
        feeds: The observations whose tensors it was made of.
        after: The path of the sibling that ran last before it, if there is one.
        is_leaf: Whether no other call happened inside `call`.
        empty_rows: The rows of the batch in which no position is real.
        variables: Those of the layer whose code made it, without its sublayers'.
        step: Which call of the same layer it is, in the same parent, from 0.
    """

    call: LayerCall
    moment: Moment
    bad: BadValues
    feeds: frozenset[Key]
    after: str | None
    is_leaf: bool
    empty_rows: frozenset[int]
    variables: tuple[keras.Variable, ...]
    step: int

    @property
    def key(self) -> Key:
        """Which observation it is."""
        return self.call.index, self.moment

    @property
    def scope(self) -> int:
        """The index of the call whose own code made it."""
        if self.moment == "leave" or self.call.parent is None:
            return self.call.index
        return self.call.parent.index

    @property
    def is_input(self) -> bool:
        """Whether it came with the batch."""
        return self.call.parent is None and self.moment == "enter"

    @property
    def place(self) -> str:
        """The path of the layer whose code made it."""
        if self.is_input:
            return "input"
        if self.moment == "leave":
            layer = self.call.layer
            # A wrapper may call what it wraps by a way that cannot be watched.
            if self.is_leaf and isinstance(layer, keras.layers.Wrapper):
                return f"{self.call.path}/{layer.layer.name}"
            return self.call.path
        return self.call.parent.path if self.call.parent else self.call.path


class Scan(Observer):
    """Finds every birth of one run; `replaced` runs on without them."""

    def __init__(self) -> None:
        self.births: list[Birth] = []
        self.known = KnownMasks()
        self.unfinished: list[LayerCall] = []
        self._children: dict[int | None, list[LayerCall]] = {}

    def enter(self, call: LayerCall) -> None:
        parent = call.parent.index if call.parent else None
        self._children.setdefault(parent, []).append(call)
        self.known.note_all((call.args, call.kwargs))
        call.args, call.kwargs = self._observe(call, "enter", (call.args, call.kwargs))
        self.unfinished.append(call)

    def leave(self, call: LayerCall) -> None:
        self.unfinished.pop()
        self.known.note_all(call.outputs)
        call.outputs = self._observe(call, "leave", call.outputs)

    def _observe(self, call: LayerCall, moment: Moment, structure: Any) -> Any:
        for tensor in tensors_in(structure):
            if not is_float(tensor):
                continue
            bad = bad_values(tensor, self.known.of(tensor))
            if bad is not None:
                self.births.append(self._birth(call, moment, bad))
                return replace_nonfinite(structure)
        return structure

    def _birth(self, call: LayerCall, moment: Moment, bad: BadValues) -> Birth:
        inside = self._children.get(call.index, [])
        scope = call if moment == "leave" else call.parent
        siblings = [
            child
            for child in self._children.get(scope.index if scope else None, [])
            if child is not call
        ]
        feeds: set[Key] = {(sibling.index, "leave") for sibling in siblings}
        if scope is not None:
            feeds.add((scope.index, "enter"))
        return Birth(
            call=call,
            moment=moment,
            bad=bad,
            feeds=frozenset(feeds),
            after=siblings[-1].path if siblings else None,
            is_leaf=moment == "leave" and not inside,
            empty_rows=self._empty_rows(len(bad.bad) if bad.bad.ndim else 0),
            variables=_own_variables(scope, self._children),
            step=self._step(call),
        )

    def _step(self, call: LayerCall) -> int:
        beside = self._children[call.parent.index if call.parent else None]
        before = beside[: beside.index(call)]
        return sum(sibling.layer is call.layer for sibling in before)

    def _empty_rows(self, batch: int) -> frozenset[int]:
        masks = [mask for mask in self.known.all() if len(mask) == batch]
        return frozenset(
            row for mask in masks for row in range(batch) if not mask[row].any()
        )


def _own_variables(
    call: LayerCall | None, children: dict[int | None, list[LayerCall]]
) -> tuple[keras.Variable, ...]:
    if call is None:
        return ()
    inner = {
        id(variable)
        for child in children.get(call.index, [])
        for variable in child.layer_variables
    }
    return tuple(v for v in call.layer_variables if id(v) not in inner)


def births_that_count(run: BatchRun, births: list[Birth]) -> list[Birth]:
    """Those that alone make the outputs or the loss non-finite, in order."""
    return [
        birth
        for birth in births
        if not all_finite(run(_LetThrough([b for b in births if b is not birth])))
    ]


class _LetThrough(AtEachPlace):
    """Replaces some births by zeros, but not what came to them from elsewhere."""

    def __init__(self, births: list[Birth]) -> None:
        self._births = {birth.key: birth for birth in births}
        self._watched = {key for birth in births for key in birth.feeds}
        self._reached: set[Key] = set()

    def at(self, key: Key, structure: Any) -> Any:
        birth = self._births.get(key)
        if birth is not None and not birth.feeds & self._reached:
            structure = replace_nonfinite(structure)
        if key in self._watched and not all_finite(structure):
            self._reached.add(key)
        return structure
