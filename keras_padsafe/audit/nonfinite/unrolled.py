"""Recurrent layers run step by step, so that each call of their cell is seen."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras


@contextmanager
def unrolled(layers: Iterable[keras.layers.RNN]) -> Iterator[None]:
    """While it lasts, these layers loop in Python, on every backend."""
    before = [(layer, layer.unroll) for layer in layers]
    for layer, _ in before:
        layer.unroll = True
    try:
        yield
    finally:
        for layer, unroll in before:
            layer.unroll = unroll
