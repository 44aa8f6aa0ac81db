"""Pooling of packed rows: one vector for each sequence of a row."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_padsafe.arguments import read_choice, read_count
from keras_padsafe.errors import PadsafeError
from keras_padsafe.ops.pool_segments import (
    MODES,
    members,
    pool_segments,
    real_segments,
)
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class MaskedSegmentPooling1D(keras.layers.Layer):
    """Reduces the steps of each sequence of packed rows.

    What `MaskedGlobalAveragePooling1D` and its like make of a sequence in a row of
    its own, this makes of each sequence of a row, as
    `keras_padsafe.data.Packing` lays them out.

    Args:
        max_segments: How many sequences a row may hold. Segments of higher numbers
            have no output.
        mode: `"average"`, `"max"`, `"sum"`, `"first"` or `"last"`.

    Call arguments:
        inputs: List of the steps, and of the segments: integers, from 1, and 0 for
            padding.
        mask: List of masks for the two; by default those that they carry.

    Input shape:
        `(batch, time, channels)` and `(batch, time)`.

    Output shape:
        `(batch, max_segments, channels)`.

    Masking:
        Steps of segment 0, and those that are masked, do not count. A segment without
        a step gives zeros. The output carries a mask of the segments that have one.

    Example:
    >>> layer = keras_padsafe.layers.MaskedSegmentPooling1D(max_segments=3)
    >>> x = np.array([[[1.0], [3.0], [7.0], [np.nan]]])
    >>> segments = np.array([[1, 1, 2, 0]])
    >>> keras.ops.convert_to_numpy(layer([x, segments])).tolist()
    [[[2.0], [7.0], [0.0]]]
    """

    def __init__(
        self,
        max_segments: int,
        mode: str = "average",
        **kwargs: Unpack[PlainLayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.max_segments = read_count(
            max_segments, "max_segments", PadsafeError, least=1
        )
        self.mode = read_choice(mode, "mode", MODES, PadsafeError)
        self.supports_masking = True

    def call(
        self, inputs: list[Tensor], mask: list[Tensor | None] | None = None
    ) -> Tensor:
        x, segments = self._read(inputs)
        steps = None if mask is None else mask[0]
        return pool_segments(x, segments, self.max_segments, self.mode, steps)

    def _read(self, inputs: list[Tensor]) -> list[Tensor]:
        shapes = [tuple(x.shape) for x in keras.tree.flatten(inputs)]
        known = [{*sizes} - {None} for sizes in zip(*shapes, strict=False)]
        fits = [*map(len, shapes)] == [3, 2] and max(map(len, known)) < 2
        if not fits or not isinstance(inputs, list | tuple):
            raise PadsafeError(
                f"{self.name!r} takes a list of steps, (batch, time, channels), and "
                "of the segments that they belong to, (batch, time). Received: "
                f"{' and '.join(map(str, shapes))}."
            )
        return inputs

    def compute_mask(
        self, inputs: list[Tensor], mask: list[Tensor | None] | None = None
    ) -> Tensor:
        steps = None if mask is None else mask[0]
        segments = real_segments(inputs[1], self.max_segments, steps)
        return ops.any(members(segments, self.max_segments), axis=1)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        batch, _, channels = input_shape[0]
        return (batch, self.max_segments, channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_segments": self.max_segments,
            "mode": self.mode,
        }
