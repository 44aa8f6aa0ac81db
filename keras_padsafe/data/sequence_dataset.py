"""Sequences in memory, in batches that `fit` takes."""

import math
from typing import Any

import keras
import numpy as np

from keras_padsafe.arguments import read_choice, read_count, read_flag
from keras_padsafe.data.batching import Batching, check_batching
from keras_padsafe.data.dtypes import in_common_dtypes
from keras_padsafe.data.example import Example, Per
from keras_padsafe.data.forms import assemble, examples_of
from keras_padsafe.errors import DataError

Rows = list[tuple[int, ...]]


class SequenceDataset(keras.utils.PyDataset):
    """Sequences in memory, as a dataset for `fit`, `evaluate` and `predict`.

    Which lengths share a row is found once, so that no epoch has more batches than
    another. If shuffled, the sequences of each length change places in each epoch, and
    the rows come in another order.

    For a language model, pass `[s[:-1] for s in sequences]` and
    `[s[1:] for s in sequences]`: no label comes from another sequence. For a loss to
    which each sequence counts alike, pass `[1 / len(s) for s in sequences]` as
    `sample_weight`.

    Args:
        batching: A `Packing` or `Buckets`.
        x: List of sequences without padding (`unpad_batches` removes it): ids, or
            arrays `(time, ...)`. Or a dict of such lists, where what belongs to one
            sequence has one length.
        y: Labels: for each sequence a list or array of one label a step, or with
            `y_per="sequence"` one label. Or a dict of such lists.
        sample_weight: For each sequence a number or, where labels belong to steps,
            one for each. Named as `y` is.
        shuffle: Whether each epoch has another order.
        seed: Seed of that order.
        **kwargs: As `keras.utils.PyDataset`: `workers` and its like.

    Attributes:
        filled: The share of all positions that hold a step.

    Example:
    >>> packing = keras_padsafe.data.Packing(length=4, batch_size=2)
    >>> data = keras_padsafe.data.SequenceDataset(packing, [[7, 8, 9], [5], [4, 6]])
    >>> len(data), data.filled
    (1, 0.75)
    >>> [row.tolist() for row in data.unpack(data[0][0]["tokens"])]
    [[7, 8, 9], [5], [4, 6]]
    """

    def __init__(
        self,
        batching: Batching,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._batching = check_batching(batching)
        examples = batching.read(examples_of(x, y, sample_weight))
        self._examples = in_common_dtypes(list(examples))
        self._lengths = np.array([example.length for example in self._examples])
        order = np.argsort(-self._lengths, kind="stable").tolist()
        self._rows = list(batching.rows(order, self._size_of, in_order=False))
        self._shuffle = read_flag(shuffle, "shuffle", DataError)
        if seed is None:
            seed = np.random.randint(2**31)
        self._seed = read_count(seed, "seed", DataError)
        self._epoch = 0
        self._batches = self._new_batches()
        if not self._batches:
            raise DataError(
                "drop_remainder: expected enough sequences for a batch. Received: "
                f"{len(self._examples)}, which make {len(self._rows)} rows. Lower "
                "`batch_size`, or keep the remainder."
            )

    @property
    def filled(self) -> float:
        """The share of all positions that hold a step."""
        batches = [self._read(rows) for rows in self._batches]
        positions = sum(math.prod(self._batching.sizes(rows)) for rows in batches)
        real = sum(e.length for rows in batches for row in rows for e in row)
        return real / max(positions, 1)

    def unpack(self, outputs: Any, per: Per = "step") -> list[np.ndarray]:
        """Takes what `predict` returned for this dataset apart.

        Args:
            outputs: One output of the model, for all rows.
            per: `"step"` if it is `(rows, length, ...)`, `"sequence"` if
                `(rows, max_segments, ...)` or, of buckets, `(rows, ...)`.

        Returns:
            An array for each sequence, in the order in which they were given.
        """
        rows = [row for batch in self._batches for row in batch]
        if self._shuffle or sum(map(len, rows)) < len(self._examples):
            raise DataError(
                "unpack: expected a dataset that keeps its order and all sequences. "
                "Received: one that shuffles, or drops a remainder. Make another for "
                "`predict`."
            )
        outputs = self._check_outputs(outputs, per)
        found: dict[int, np.ndarray] = {}
        for row, output in zip(rows, outputs, strict=False):
            ends = np.cumsum(self._lengths[list(row)])
            if per == "step":
                parts = np.split(output, ends)
            else:
                parts = output if self._batching.one_shape else [output]
            found |= zip(row, parts, strict=False)
        pieces: dict[int, list[np.ndarray]] = {}
        for number, example in enumerate(self._examples):
            pieces.setdefault(example.number, []).append(found[number])
        return [p[0] if len(p) == 1 else np.concatenate(p) for p in pieces.values()]

    def _check_outputs(self, outputs: Any, per: Per) -> np.ndarray:
        read_choice(per, "per", ("step", "sequence"), DataError)
        if per == "sequence" and self._examples[-1].number + 1 < len(self._examples):
            raise DataError(
                "unpack: expected whole sequences, with per='sequence'. Received: a "
                "dataset that splits those that are too long."
            )
        batches = [self._read(rows) for rows in self._batches]
        sizes = [self._batching.sizes(rows) for rows in batches]
        count, least = sum(size for size, _ in sizes), 0
        if per == "step":
            least = max(length for _, length in sizes)
        elif self._batching.one_shape:
            least = max(len(row) for rows in batches for row in rows)
        array = np.asarray(outputs)
        if array.shape[:1] != (count,) or (least and (*array.shape, 0)[1] < least):
            wanted = f"({count}, {f'at least {least}, ' if least else ''}...)"
            raise DataError(
                f"unpack: expected one output of the model, of shape {wanted}, with "
                f"per={per!r}. Received: shape {array.shape}."
            )
        return array

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return assemble(self._batching.fill(self._read(self._batches[index])))

    def on_epoch_end(self) -> None:
        self._epoch += 1
        if self._shuffle:
            self._batches = self._new_batches()

    def _read(self, rows: Rows) -> list[tuple[Example, ...]]:
        return [tuple(self._examples[number] for number in row) for row in rows]

    def _size_of(self, number: int) -> int:
        return int(self._lengths[number])

    def _new_batches(self) -> list[Rows]:
        rows = self._rows
        if self._shuffle:
            rng = np.random.default_rng((self._seed, self._epoch))
            rows = deal_anew(rows, self._lengths, rng)
        batches = list(self._batching.batches(rows, self._size_of))
        times = [self._batching.sizes(self._read(batch))[1] for batch in batches]
        other = next((n for n, time in enumerate(times) if time != times[0]), 0)
        if other:  # On TensorFlow, Keras learns from two batches what varies.
            batches.insert(1, batches.pop(other))
        return batches


def deal_anew(rows: Rows, lengths: np.ndarray, rng: np.random.Generator) -> Rows:
    """Lets sequences of one length change places, and rows too."""
    numbers = np.concatenate(rows)
    dealt = np.empty_like(numbers)
    by_length = np.argsort(lengths[numbers], kind="stable")
    dealt[by_length] = np.lexsort((rng.random(len(lengths)), lengths))
    ends = np.cumsum([len(row) for row in rows])[:-1]
    new_rows = [tuple(row.tolist()) for row in np.split(dealt, ends)]
    return [new_rows[number] for number in rng.permutation(len(new_rows))]
