"""Packs sequences that are in memory."""

from collections.abc import Mapping
from typing import Any

from keras_padsafe.data.example import ExampleReader, Per, TooLong, examples_of
from keras_padsafe.data.fill_rows import Fills
from keras_padsafe.data.packing import Packing
from keras_padsafe.data.sequence_dataset import SequenceDataset


def pack_sequences(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    length: int,
    batch_size: int = 32,
    y_per: Per | Mapping[str, Per] = "step",
    max_segments: int | None = None,
    too_long: TooLong = "raise",
    pad_id: Any = 0,
    pad_label: Any = -1,
    drop_remainder: bool = False,
    shuffle: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> SequenceDataset:
    """Lays several sequences into each row, so that hardly any padding is left.

    A batch has these inputs, all `(batch_size, length)`:

    - `"tokens"`, or the names that `x` has: the sequences, end to end.
    - `"segments"`: 1 for the steps of a row's first sequence, 2 for those of its
      second, and so on; 0 where nothing is.
    - `"positions"`: where each step stands in its own sequence, from 0.

    A model that keeps segments apart answers as it would for each sequence alone:
    give attention `attention_mask=keras_padsafe.ops.segment_mask(segments, segments)`,
    look positions up by `positions`, and pool by
    `keras_padsafe.layers.MaskedSegmentPooling1D`. Layers that run along time, such as
    `LSTM` and `Conv1D`, do not know of segments: use `bucket_by_length` for these.

    For a language model, pass `[s[:-1] for s in sequences]` and
    `[s[1:] for s in sequences]`: no label comes from another sequence. For a loss to
    which each sequence counts alike, pass `[1 / len(s) for s in sequences]` as
    `sample_weight`.

    Args:
        x: List of sequences: ids, or arrays `(time, ...)`. Or a dict of such lists,
            where what belongs to one sequence has one length.
        y: Labels: for each sequence a list or array of one label a step, or with
            `y_per="sequence"` one label. Or a dict of such lists.
        sample_weight: For each sequence a number or, where labels belong to steps, a
            weight for each. Named as `y` is.
        length: How many steps a row has.
        batch_size: How many rows a batch has.
        y_per: `"step"` or `"sequence"`, or a dict of these by the names of `y`.
            Labels of sequences are `(batch_size, max_segments)`.
        max_segments: How many sequences a row may hold. Defaults to any number.
        too_long: What to do with a sequence longer than `length`: `"raise"`,
            `"truncate"` or, where all labels belong to steps, `"split"`.
        pad_id: What inputs hold where nothing is; a dict by name for several. An
            embedding that masks this id marks the same positions as `segments`, if
            no sequence has it.
        pad_label: What labels hold where nothing is, for
            `keras_padsafe.losses.MaskedLoss(..., pad_label=-1)`.
        drop_remainder: Whether rows that make no whole batch are dropped. By default
            the last batch is filled up with empty rows, so all have one shape.
        shuffle: Whether each epoch has the sequences in new rows and in a new order.
        seed: Seed of that order.
        **kwargs: As `keras.utils.PyDataset`: `workers` and its like.

    Returns:
        A `keras.utils.PyDataset` for `fit`, `evaluate` and `predict`. Its `filled` is
        the share of positions that hold a step, and `unpack(outputs)` takes what
        `predict` returned apart again.

    Example:
    >>> data = keras_padsafe.data.pack_sequences(
    ...     [[7, 8, 9], [5], [4, 6]], length=4, batch_size=2
    ... )
    >>> (x,) = data[0]
    >>> x["tokens"].tolist()
    [[7, 8, 9, 5], [4, 6, 0, 0]]
    >>> x["segments"].tolist()
    [[1, 1, 1, 2], [1, 1, 0, 0]]
    >>> x["positions"].tolist()
    [[0, 1, 2, 0], [0, 1, 0, 0]]
    >>> data.filled
    0.75
    """
    fills = Fills(pad_id, pad_label)
    packing = Packing(length, batch_size, max_segments, drop_remainder, None, fills)
    reader = ExampleReader(length, too_long, y_per)
    examples = reader.read_all(examples_of(x, y, sample_weight))
    return SequenceDataset(examples, packing, shuffle, seed, **kwargs)
