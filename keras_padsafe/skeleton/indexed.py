"""Which variables ids index while a model is built."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import keras


@contextlib.contextmanager
def watch_indexed() -> Iterator[set[int]]:
    """Yields the `id()` of each variable from which `keras.ops.take` takes rows.

    A layer of the user's own may keep a table without an `Embedding`.
    """
    indexed: set[int] = set()
    real = keras.ops.take

    def take(x: Any, indices: Any, axis: int | None = None) -> Any:
        if axis == 0 and isinstance(x, keras.Variable):
            indexed.add(id(x))
        return real(x, indices, axis=axis)

    with mock.patch.object(keras.ops, "take", take):
        yield indexed
