"""Batches of sequences of about one length, from memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keras_padsafe.data.buckets import Buckets
from keras_padsafe.data.example import ExampleReader, Per, examples_of
from keras_padsafe.data.fill_rows import Fills
from keras_padsafe.data.sequence_dataset import SequenceDataset


def bucket_by_length(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    boundaries: Sequence[int],
    batch_size: int | Sequence[int] = 32,
    y_per: Per | Mapping[str, Per] = "step",
    too_long: Literal["raise", "truncate", "split"] = "raise",
    pad_id: Any = 0,
    pad_label: Any = -1,
    drop_remainder: bool = False,
    shuffle: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> SequenceDataset:
    """Batches sequences of about one length, for models that no packing suits.

    A batch is `(batch_size, boundary)` for the least of the boundaries that its
    sequences fit in. Only so many shapes occur, and with them compilations; what is
    left of a bucket at the end makes a smaller batch.

    Args:
        x: As in `pack_sequences`, like all that is not described here. A batch holds
            it padded on the right, under the names that it has.
        y: Labels.
        sample_weight: Weights.
        boundaries: The greatest length of each bucket, in increasing order.
        batch_size: How many sequences make a batch; a list for one number a bucket.
        y_per: Whether labels belong to steps or sequences. Those of sequences are
            `(batch_size, ...)`.
        too_long: What to do with a sequence longer than the last boundary.
        pad_id: What inputs hold where nothing is.
        pad_label: What labels hold where nothing is.
        drop_remainder: Whether smaller batches are dropped.
        shuffle: Whether each epoch has the sequences in other batches.
        seed: Seed of that order.
        **kwargs: As `keras.utils.PyDataset`.

    Returns:
        A `keras.utils.PyDataset`, as of `pack_sequences`.

    Example:
    >>> data = keras_padsafe.data.bucket_by_length(
    ...     [[7, 8, 9], [5], [4, 6]], [1, 0, 1], y_per="sequence", boundaries=[2, 4]
    ... )
    >>> [(x.tolist(), y.tolist()) for x, y in data]
    [([[4, 6], [5, 0]], [1, 0]), ([[7, 8, 9, 0]], [1])]
    """
    buckets = Buckets.of(boundaries, batch_size, drop_remainder, pad_id, pad_label)
    reader = ExampleReader(buckets.boundaries[-1], too_long, y_per)
    examples = reader.read_all(examples_of(x, y, sample_weight))
    return SequenceDataset(examples, buckets, shuffle, seed, **kwargs)
