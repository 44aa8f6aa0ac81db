"""Batches of sequences of about one length, from a stream."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keras_padsafe.data.buckets import Buckets
from keras_padsafe.data.example import ExampleReader, Per, TooLong
from keras_padsafe.data.sequence_stream import SequenceStream


def bucket_stream(
    examples: Iterable[Any] | Callable[[], Iterable[Any]],
    *,
    boundaries: Sequence[int],
    batch_size: int | Sequence[int] = 32,
    y_per: Per | Mapping[str, Per] = "step",
    too_long: TooLong = "raise",
    pad_id: Any = 0,
    pad_label: Any = -1,
    drop_remainder: bool = False,
) -> SequenceStream:
    """Batches a stream of sequences by length while it is read.

    A batch goes out as soon as its bucket is full. Batches are as those of
    `bucket_by_length`.

    Args:
        examples: As in `pack_stream`.
        boundaries: As in `bucket_by_length`, like all that follow.
        batch_size: How many sequences make a batch; a list for one number a bucket.
        y_per: Whether labels belong to steps or sequences.
        too_long: What to do with a sequence longer than the last boundary.
        pad_id: What inputs hold where nothing is.
        pad_label: What labels hold where nothing is.
        drop_remainder: Whether smaller batches are dropped.

    Returns:
        An iterable of batches, as of `pack_stream`.

    Example:
    >>> stream = keras_padsafe.data.bucket_stream(
    ...     [[7, 8, 9], [5], [4, 6]], boundaries=[2, 4], batch_size=2
    ... )
    >>> [x.tolist() for (x,) in stream]
    [[[5, 0], [4, 6]], [[7, 8, 9, 0]]]
    """
    buckets = Buckets.of(boundaries, batch_size, drop_remainder, pad_id, pad_label)
    reader = ExampleReader(buckets.boundaries[-1], too_long, y_per)
    return SequenceStream(examples, reader, buckets)
