"""Sequences that come one after another, in batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from keras_padsafe.data.buckets import Buckets
from keras_padsafe.data.example import (
    Example,
    ExampleReader,
    assemble,
    parts_of,
    size_of,
)
from keras_padsafe.data.packing import Packing
from keras_padsafe.errors import DataError


class SequenceStream:
    """Batches of a stream of sequences, made while it is read.

    Each iteration is one epoch: the stream is read from its start.
    """

    def __init__(
        self,
        examples: Iterable[Any] | Callable[[], Iterable[Any]],
        reader: ExampleReader,
        batching: Packing | Buckets,
    ) -> None:
        self._examples = examples
        self._reader = reader
        self._batching = batching

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (assemble(arrays) for _, arrays in self._filled())

    def as_tf_dataset(self) -> Any:
        """The batches as a `tf.data.Dataset`, which `fit` takes on every backend."""
        import tensorflow as tf

        example, arrays = next(self._filled())
        specs = {}
        for key, array in arrays.items():
            fixed = self._batching.static_axes(array.ndim, key not in example.whole)
            sizes = zip(array.shape, fixed, strict=True)
            shape = [size if known else None for size, known in sizes]
            specs[key] = tf.TensorSpec(shape, array.dtype)
        return tf.data.Dataset.from_generator(
            lambda: iter(self), output_signature=assemble(specs)
        )

    def as_data_loader(self) -> Any:
        """The batches as a torch `DataLoader`, which `fit` takes on every backend."""
        from torch.utils.data import DataLoader, IterableDataset

        stream = self

        class Batches(IterableDataset):
            def __iter__(self) -> Iterator[tuple[Any, ...]]:
                return iter(stream)

        return DataLoader(Batches(), batch_size=None)

    def _filled(self) -> Iterator[tuple[Example, dict[Any, Any]]]:
        rows = self._batching.rows(self._read(), size_of)
        empty = True
        for batch in self._batching.batches(rows, size_of):
            empty = False
            yield batch[0][0], self._batching.fill(batch)
        if empty:
            raise DataError(
                "The stream gave no batch. Expected: at least one sequence (with "
                "drop_remainder=True, enough for a batch). If it is a generator, which "
                "can be read once only, pass the function that makes it."
            )

    def _read(self) -> Iterator[Example]:
        examples = self._examples
        elements = examples() if callable(examples) else examples
        return self._reader.read_all(map(parts_of, elements))
