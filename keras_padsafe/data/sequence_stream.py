"""Sequences that come one after another, in batches that `fit` takes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from keras_padsafe.data.batching import Batching, check_batching
from keras_padsafe.data.dtypes import as_before
from keras_padsafe.data.example import Example
from keras_padsafe.data.forms import Key, assemble, parts_of
from keras_padsafe.errors import DataError


class SequenceStream:
    """Batches a stream of sequences while it is read.

    Each iteration is one epoch and reads the stream from its start. Where a
    `SequenceDataset` packs all sequences at once, here each takes the place where it
    leaves least room in one of the rows that wait; the fullest goes when another is
    needed. A batch of a bucket goes when it is full.

    Args:
        batching: A `Packing` or `Buckets`.
        examples: One example after another, each `x`, `(x, y)` or
            `(x, y, sample_weight)`, as `SequenceDataset` takes many: a
            `tf.data.Dataset` without batches, a `DataLoader` with `batch_size=None`,
            what `unpad_batches` makes of padded batches, any iterable, or a function
            that returns one.

    Example:
    >>> stream = keras_padsafe.data.SequenceStream(
    ...     keras_padsafe.data.Packing(length=4, batch_size=1),
    ...     [([7, 8, 9], [1, 0, 1]), ([5], [0])],
    ... )
    >>> ((x, y),) = stream
    >>> x["tokens"].tolist(), y.tolist()
    ([[7, 8, 9, 5]], [[1, 0, 1, 0]])
    """

    def __init__(
        self,
        batching: Batching,
        examples: Iterable[Any] | Callable[[], Iterable[Any]],
    ) -> None:
        self._batching = check_batching(batching)
        self._examples = examples

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        dtypes: dict[Key, np.dtype] = {}
        for rows in self._batches():
            arrays = self._batching.fill(rows)
            dtypes = dtypes or {key: array.dtype for key, array in arrays.items()}
            yield assemble(
                {k: as_before(array, dtypes[k], k[0]) for k, array in arrays.items()}
            )

    def as_tf_dataset(self) -> Any:
        """The batches as a `tf.data.Dataset`, which `fit` takes on every backend."""
        import tensorflow as tf

        rows = next(self._batches())
        specs = {}
        for key, array in self._batching.fill(rows).items():
            varying = 1 if key in rows[0][0].whole else 2
            # Where Keras knows the size of a batch, TensorFlow counts one too many.
            varying = 1 if self._batching.one_shape else varying
            shape = (*(None,) * varying, *array.shape[varying:])
            specs[key] = tf.TensorSpec(shape, array.dtype)
        return tf.data.Dataset.from_generator(
            lambda: iter(self), output_signature=assemble(specs)
        )

    def as_data_loader(self) -> Any:
        """The batches as a torch `DataLoader`, which `fit` takes on every backend.

        On TensorFlow Keras takes what the first two batches have in common for the
        shape of all: for `Buckets` use `as_tf_dataset` there.
        """
        from torch.utils.data import DataLoader, IterableDataset

        class Batches(IterableDataset):
            def __iter__(_) -> Iterator[tuple[Any, ...]]:
                return iter(self)

        return DataLoader(Batches(), batch_size=None)

    def _batches(self) -> Iterator[list[tuple[Example, ...]]]:
        given = self._examples
        source: Any = given() if callable(given) else given
        if not hasattr(source, "__iter__") and not hasattr(source, "__getitem__"):
            raise DataError(
                "examples: expected an iterable, or a function that returns one. "
                f"Received: {type(source).__name__}."
            )
        elements = map(parts_of, source)
        examples = self._batching.read(elements)
        rows = self._batching.rows(examples, _size_of, in_order=True)
        empty = True
        for batch in self._batching.batches(rows, _size_of):
            empty = False
            yield batch
        if empty:
            raise DataError(
                "examples: expected at least one sequence, or with drop_remainder=True "
                "enough for a batch. Received: none. If it is a generator, which can "
                "be read once only, pass the function that makes it."
            )


def _size_of(example: Example) -> int:
    return example.length
