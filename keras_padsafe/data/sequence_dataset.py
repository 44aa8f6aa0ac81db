"""Sequences in memory, in batches that `fit` takes."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_padsafe.data.buckets import Buckets
from keras_padsafe.data.example import Example, Per, assemble
from keras_padsafe.data.packing import Packing
from keras_padsafe.errors import DataError

Rows = list[tuple[int, ...]]


class SequenceDataset(keras.utils.PyDataset):
    """Batches of sequences; each epoch may have them in another order.

    Which lengths share a row is found once, so that the number of batches never
    changes. When shuffled, the sequences of each length change places, and the rows
    come in another order.

    Attributes:
        filled: The share of all positions that hold a step.
    """

    def __init__(
        self,
        examples: Iterable[Example],
        batching: Packing | Buckets,
        shuffle: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._examples = list(examples)
        self._count = self._examples[-1].number + 1
        self._batching = batching
        self._lengths = np.array([example.length for example in self._examples])
        order = np.argsort(-self._lengths, kind="stable").tolist()
        self._rows = list(batching.rows(order, self._size_of))
        self._shuffle = shuffle
        self._seed = np.random.randint(2**31) if seed is None else seed
        self._epoch = 0
        self._batches = self._new_batches()

    @property
    def filled(self) -> float:
        """The share of all positions that hold a step."""
        batches = [self._read(rows) for rows in self._batches]
        positions = sum(math.prod(self._batching.sizes(rows)) for rows in batches)
        real = sum(e.length for rows in batches for row in rows for e in row)
        return real / positions if positions else 0.0

    def unpack(self, outputs: Any, per: Per = "step") -> list[np.ndarray]:
        """Takes what a model predicted apart, into the order of the sequences given.

        Args:
            outputs: What `predict` returned for this dataset, or one output of it.
            per: Whether the axes are `(rows, steps, ...)` or, with `"sequence"`,
                `(rows, max_segments, ...)`.

        Returns:
            An array for each sequence.
        """
        outputs = np.asarray(outputs)
        numbers = [number for rows in self._batches for row in rows for number in row]
        if self._shuffle or len(numbers) < len(self._examples):
            raise DataError(
                "unpack: expected a dataset that keeps the order and all sequences. "
                f"Received: shuffle={self._shuffle}, and {len(numbers)} of "
                f"{len(self._examples)} sequences in it. Make another for `predict`."
            )
        found: dict[int, np.ndarray] = {}
        rows = [row for rows in self._batches for row in rows]
        for row, output in zip(rows, outputs, strict=False):
            start = 0
            for place, number in enumerate(row):
                stop = start + int(self._lengths[number])
                step = output[start:stop]
                found[number] = step if per == "step" else output[place]
                start = stop
        pieces: list[list[np.ndarray]] = [[] for _ in range(self._count)]
        for number, example in enumerate(self._examples):
            pieces[example.number].append(found[number])
        return [p[0] if len(p) == 1 else np.concatenate(p) for p in pieces]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return assemble(self._batching.fill(self._read(self._batches[index])))

    def on_epoch_end(self) -> None:
        self._epoch += 1
        if self._shuffle:
            self._batches = self._new_batches()

    def _read(self, rows: Rows) -> list[list[Example]]:
        return [[self._examples[number] for number in row] for row in rows]

    def _size_of(self, number: int) -> int:
        return int(self._lengths[number])

    def _new_batches(self) -> list[Rows]:
        rows = self._rows
        if self._shuffle:
            rng = np.random.default_rng((self._seed, self._epoch))
            rows = deal_anew(rows, self._lengths, rng)
        return list(self._batching.batches(rows, self._size_of))


def deal_anew(rows: Rows, lengths: np.ndarray, rng: np.random.Generator) -> Rows:
    """Lets sequences of one length change places, and rows too."""
    places = np.concatenate(rows)
    by_length = np.argsort(lengths[places], kind="stable")
    shuffled = np.lexsort((rng.random(len(lengths)), lengths))
    dealt = np.empty_like(places)
    dealt[by_length] = shuffled
    ends = np.cumsum([len(row) for row in rows])[:-1]
    new_rows = [tuple(row.tolist()) for row in np.split(dealt, ends)]
    return [new_rows[number] for number in rng.permutation(len(new_rows))]
