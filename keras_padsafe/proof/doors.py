"""The places of a loaded model where ids or words enter, and a watch over them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

import numpy as np

from keras_padsafe.facts.operations import COLUMNS
from keras_padsafe.proof.run_model import as_numpy


@dataclass(frozen=True, eq=False)
class Door:
    """A table, a lookup or a masking layer: where values of one kind enter.

    Attributes:
        what: The layer, or the variable that a layer of the user's own looks up.
        kind: `"ids"` are rows of a table, `"words"` are looked up in a list,
            `"buckets"` may be anything, `"values"` are masked where they equal `pad`.
        path: Where the weights file has it, `""` for the model itself.
        size: How many ids there are.
        words: The words that it knows.
        only_words: Whether it fails on a word that it does not know.
        many: Whether a text may hold any words beside one another.
        pairs: Whether words beside one another are looked up as one, too.
        gives: The words that it gives for ids.
        pad: What stands for padding.
        pad_word: The word that does.
        axis: The axis of its rows.
        by_columns: Whether columns made of ids may be what picks them.
        makes_columns: Whether it makes such columns.
    """

    what: Any
    kind: Literal["ids", "words", "buckets", "values"]
    path: str
    size: int = 0
    words: tuple[Any, ...] = ()
    only_words: bool = False
    many: bool = False
    pairs: bool = False
    gives: tuple[Any, ...] = ()
    pad: float | None = None
    pad_word: Any = None
    axis: int = 0
    by_columns: bool = False
    makes_columns: bool = False

    def is_of(self, arrays: frozenset[str]) -> bool:
        """Whether one of these arrays of the weights file is its own."""
        group = f"{self.path}/vars/" if self.path else "vars/"
        return self.path in arrays or any(
            path.startswith(group) and "/" not in path.removeprefix(group)
            for path in arrays
        )


def find_doors(
    model: Any, tables: Mapping[str, int], axes: Mapping[str, int]
) -> list[Door]:
    """The doors of a model; those of the same model with other sizes in one order.

    `tables` are what is looked up by id, with the number of ids: arrays, and layers of
    the user's own that make a column of each, by their groups of the weights file;
    `axes` are those over the ids, of arrays that have one.
    """
    import keras

    from keras_padsafe.compat import inner_layers, saved_arrays, walk_saved

    walk = list(walk_saved(model))
    groups = {id(saved): group for group, saved in walk}
    doors, owned = [], set()
    for layer in inner_layers(model):
        group = groups.get(id(layer), "?")
        door = _door_of(layer, group)
        if door is None and group in tables:
            door = Door(layer, "ids", group, tables[group])
        if door:
            doors.append(door)
            owned |= {id(variable) for variable in layer.variables}
        for operation in getattr(layer, "operations", []):
            kind = type(operation).__name__
            if isinstance(operation, keras.Layer):
                continue
            if kind == "NotEqual":
                doors.append(Door(operation, "values", "?"))
            elif key := COLUMNS.get(kind):
                size, name = getattr(operation, key), operation.name
                doors.append(Door(operation, "ids", name, size, makes_columns=True))
    doors += [  # A layer of the user's own might look these up.
        Door(
            value,
            "ids",
            path,
            value.shape[axis := axes.get(path, 0)],
            axis=axis,
            by_columns=path in tables and len(value.shape) > 1,
        )
        for path, value in saved_arrays(walk)
        if isinstance(value, keras.Variable) and id(value) not in owned
        if len(value.shape)
    ]
    return doors


def _door_of(layer: Any, path: str) -> Door | None:
    from keras import layers

    from keras_padsafe.layers import NaNMasking

    match layer:
        case layers.Embedding():
            pad = getattr(layer, "pad_id", None)
            pad = next(iter(pad), None) if isinstance(pad, list | tuple) else pad
            pad = 0 if pad is None and layer.mask_zero else pad
            return Door(layer, "ids", path, layer.input_dim, pad=pad)
        case layers.StringLookup() | layers.IntegerLookup() if layer.invert:
            words = tuple(layer.get_vocabulary())
            return Door(layer, "ids", path, layer.vocabulary_size(), gives=words)
        case (
            layers.StringLookup() | layers.IntegerLookup() | layers.TextVectorization()
        ):
            config = layer.get_config()
            return Door(
                layer,
                "words",
                path,
                words=tuple(layer.get_vocabulary(include_special_tokens=False)),
                only_words=config.get("num_oov_indices") == 0,
                many=config.get("split") is not None and not config.get("ngrams"),
                pairs=bool(config.get("ngrams")),
                pad_word=config.get("mask_token"),
            )
        case layers.CategoryEncoding():
            return Door(layer, "ids", path, layer.num_tokens, makes_columns=True)
        case layers.Hashing():
            return Door(layer, "buckets", path)
        case layers.Masking():
            return Door(layer, "values", path, pad=layer.mask_value)
        case NaNMasking():
            return Door(layer, "values", path, pad=np.nan)
    return None


class Watch:
    """What enters each door while a model runs.

    Attributes:
        entered: What entered each door, by its number, call by call; `None` where the
            values could not be seen. If something is named that goes on `instead`,
            what the door lacks does not.
        pads: What a comparison masks, by the number of its door.
    """

    def __init__(
        self, doors: list[Door], *, instead: Sequence[int] | None = None
    ) -> None:
        self._doors = doors
        self._instead = instead
        self.entered: dict[int, list[np.ndarray | None]] = {}
        self.pads: dict[int, float] = {}
        self._inside = 0

    def seen(self, number: int) -> np.ndarray | None:
        """All that entered a door, laid flat; `None` if not all of it was seen."""
        calls = self.entered.get(number, [])
        seen = [np.ravel(call) for call in calls if call is not None]
        return np.concatenate(seen) if seen and len(seen) == len(calls) else None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, the doors are watched."""
        import keras

        variables: dict[int, int] = {}
        with ExitStack() as stack:
            for number, door in enumerate(self._doors):
                if isinstance(door.what, keras.Variable):
                    variables |= {id(door.what): number, id(door.what.value): number}
                else:
                    calls = {
                        name: self._watched(number, getattr(door.what, name))
                        for name in ("call", "quantized_call")
                        if hasattr(door.what, name)
                    }
                    stack.enter_context(mock.patch.dict(door.what.__dict__, calls))
            take = self._watched_take(variables, keras.ops.take)
            stack.enter_context(mock.patch.object(keras.ops, "take", take))
            for name in ("one_hot", "multi_hot"):
                made = self._watched_columns(getattr(keras.ops, name))
                stack.enter_context(mock.patch.object(keras.ops, name, made))
            yield

    def _watched(self, number: int, real: Callable[..., Any]) -> Any:
        door = self._doors[number]
        is_comparison = type(door.what).__name__ == "NotEqual"

        def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("reverse") or any(arg is True for arg in args[1:]):
                return real(*args, **kwargs)
            inputs, *rest = args or (kwargs.pop(next(iter(kwargs))),)
            if is_comparison and rest and np.ndim(rest[0]) == 0:
                self.pads[number] = float(rest[0])
            inputs = self._see(number, inputs)
            if door.makes_columns:
                inputs = self._see_columns(inputs, door.size)
            self._inside += 1  # What is looked up inside has been seen.
            try:
                return real(inputs, *rest, **kwargs)
            finally:
                self._inside -= 1

        return call

    def _watched_take(self, variables: dict[int, int], real: Callable[..., Any]) -> Any:
        def take(x: Any, indices: Any, axis: int | None = None) -> Any:
            number = variables.get(id(x))
            if number is not None and not self._inside:
                at = 0 if len(x.shape) == 1 else axis
                if at is not None and at % len(x.shape) == self._doors[number].axis:
                    indices = self._see(number, indices)
            return real(x, indices, axis=axis)

        return take

    def _watched_columns(self, real: Callable[..., Any]) -> Any:
        def made(x: Any, num_classes: int, *args: Any, **kwargs: Any) -> Any:
            x = self._see_columns(x, num_classes)
            return real(x, num_classes, *args, **kwargs)

        return made

    def _see_columns(self, ids: Any, size: int) -> Any:
        """Columns made of ids: they are for a weight with as many rows, if for one."""
        for number, door in enumerate(self._doors):
            if door.by_columns and door.size == size and not self._inside:
                ids = self._see(number, ids)
        return ids

    def _see(self, number: int, value: Any) -> Any:
        try:
            values = as_numpy(value)
        except Exception:  # Staged for a compiled loop, or ragged: each in its own way.
            values = None
        self.entered.setdefault(number, []).append(values)
        if values is None or self._instead is None:
            return value
        return _replaced(self._doors[number], value, values, self._instead[number])


def _replaced(door: Door, value: Any, values: np.ndarray, instead: int) -> Any:
    """What the door can take, in the place of what entered."""
    from keras import ops

    if door.kind == "ids":
        is_row = ops.logical_and(value >= 0, value < door.size)
        return ops.where(is_row, value, ops.cast(instead, value.dtype))
    if door.kind != "words" or not door.words:
        return value
    if values.dtype.kind == "O":
        return np.full(values.shape, door.words[0], object)
    return ops.full_like(value, door.words[0])
