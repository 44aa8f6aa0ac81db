"""Watches what layers make of ids while they are called."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import keras


class Indexing(NamedTuple):
    """Ids that index one axis of a variable."""

    ids: Any
    axis: int


@contextlib.contextmanager
def watch_indexed(*, first: bool = False) -> Iterator[dict[int, list[Indexing]]]:
    """Yields what indexes each variable, by the `id()` of the variable.

    Watched are `Embedding` layers and `keras.ops.take`: a layer of the user's own may
    keep a table without an `Embedding`. If `first`, its first entries go on instead.
    """
    seen: dict[int, list[Indexing]] = {}
    table, real_take = keras.layers.Embedding, keras.ops.take
    real_call = table.call

    def note(variable: Any, ids: Any, axis: int | None) -> Any:
        if not isinstance(variable, keras.Variable):
            return ids
        axis = 0 if len(variable.shape) == 1 else axis
        if axis is not None:
            at = axis % len(variable.shape)
            seen.setdefault(id(variable), []).append(Indexing(ids, at))
            return keras.ops.zeros_like(ids) if first else ids
        return ids

    def call(self: Any, inputs: Any) -> Any:
        return real_call(self, note(getattr(self, "_embeddings", None), inputs, 0))

    def take(x: Any, indices: Any, axis: int | None = None) -> Any:
        return real_take(x, note(x, indices, axis), axis=axis)

    with (
        mock.patch.object(table, "call", call),
        mock.patch.object(keras.ops, "take", take),
    ):
        yield seen


@contextlib.contextmanager
def watch_columns(widths: set[int]) -> Iterator[None]:
    """Adds how many columns `keras.ops.one_hot` and `multi_hot` make of ids."""
    with contextlib.ExitStack() as stack:
        for name in ("one_hot", "multi_hot"):
            real = getattr(keras.ops, name)

            def made(
                x: Any, num_classes: int, *args: Any, real=real, **more: Any
            ) -> Any:
                widths.add(num_classes)
                return real(x, num_classes, *args, **more)

            stack.enter_context(mock.patch.object(keras.ops, name, made))
        yield
