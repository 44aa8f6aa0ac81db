"""Watches what indexes the variables of layers while they are called."""

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
        if isinstance(variable, keras.Variable) and axis is not None:
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
