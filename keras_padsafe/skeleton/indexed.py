"""Which variables ids index."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras


@contextlib.contextmanager
def watch_indexed() -> Iterator[dict[int, list[Any]]]:
    """Yields the ids that index each variable, by the `id()` of the variable.

    Watched are `Embedding` layers and `keras.ops.take`: a layer of the user's own may
    keep a table without an `Embedding`.
    """
    seen: dict[int, list[Any]] = {}
    table, real_take = keras.layers.Embedding, keras.ops.take
    real_call = table.call

    def note(variable: Any, ids: Any) -> None:
        if isinstance(variable, keras.Variable):
            seen.setdefault(id(variable), []).append(ids)

    def call(self: Any, inputs: Any) -> Any:
        note(getattr(self, "_embeddings", None), inputs)
        return real_call(self, inputs)

    def take(x: Any, indices: Any, axis: int | None = None) -> Any:
        if axis == 0:
            note(x, indices)
        return real_take(x, indices, axis=axis)

    with (
        mock.patch.object(table, "call", call),
        mock.patch.object(keras.ops, "take", take),
    ):
        yield seen
