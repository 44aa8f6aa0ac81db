"""Packs sequences that come one after another."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keras_padsafe.data.example import ExampleReader, Per, TooLong
from keras_padsafe.data.fill_rows import Fills
from keras_padsafe.data.packing import Packing
from keras_padsafe.data.sequence_stream import SequenceStream


def pack_stream(
    examples: Iterable[Any] | Callable[[], Iterable[Any]],
    *,
    length: int,
    batch_size: int = 32,
    y_per: Per | Mapping[str, Per] = "step",
    max_segments: int | None = None,
    too_long: TooLong = "raise",
    pad_id: Any = 0,
    pad_label: Any = -1,
    drop_remainder: bool = False,
    open_rows: int = 256,
) -> SequenceStream:
    """Packs a stream of sequences while it is read.

    Batches are as those of `pack_sequences`. Where that sees all sequences at once,
    here some rows wait for more sequences, and each takes the place where it leaves
    least room; the fullest row goes when another is needed.

    Args:
        examples: One example after another, each `x`, `(x, y)` or
            `(x, y, sample_weight)`: a `tf.data.Dataset` without batches, a `DataLoader`
            with `batch_size=None`, what `unpad_batches` makes of padded batches, any
            iterable, or a function that returns one.
        length: As in `pack_sequences`, like all that follow but the last.
        batch_size: How many rows a batch has.
        y_per: Whether labels belong to steps or sequences.
        max_segments: How many sequences a row may hold.
        too_long: What to do with a sequence longer than `length`.
        pad_id: What inputs hold where nothing is.
        pad_label: What labels hold where nothing is.
        drop_remainder: Whether rows that make no whole batch are dropped.
        open_rows: How many rows wait. More are fuller, and mix sequences that lay
            further apart.

    Returns:
        An iterable of batches, one epoch an iteration. For `fit` take its
        `as_tf_dataset()` or `as_data_loader()`; either works on every backend.

    Example:
    >>> stream = keras_padsafe.data.pack_stream(
    ...     [([7, 8, 9], [1, 0, 1]), ([5], [0])], length=4, batch_size=1
    ... )
    >>> ((x, y),) = stream
    >>> x["tokens"].tolist(), y.tolist()
    ([[7, 8, 9, 5]], [[1, 0, 1, 0]])
    """
    fills = Fills(pad_id, pad_label)
    packing = Packing(
        length, batch_size, max_segments, drop_remainder, open_rows, fills
    )
    return SequenceStream(examples, ExampleReader(length, too_long, y_per), packing)
