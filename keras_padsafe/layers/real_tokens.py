"""Runs layers on the real tokens of a batch."""

import contextlib
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import keras

from keras_padsafe.compat import inner_layers, set_keras_mask
from keras_padsafe.errors import PadsafeError
from keras_padsafe.layers.ask_of_rows import Answer, ask_of_rows
from keras_padsafe.layers.rnn_kernels import rnn_kernels
from keras_padsafe.layers.shared_rows import can_share_rows, sharing_rows
from keras_padsafe.ops.attention_masks import read_padding_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.real_tokens import (
    can_pack,
    follow_real_tokens,
    number_rows,
    on_real_tokens,
    why_whole,
)
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Shape, Tensor


@serializable
class RealTokens(keras.layers.Wrapper):
    """Runs a layer, or a stack of them, on the real tokens of a batch.

    Rows are sorted by length and run in groups, each cut to its longest row, and the
    results are put back where the rows came from. Answers and gradients are those of
    the layer alone; the time is that of the tokens.

    A stack with recurrent layers is not cut, since each group would take its steps
    anew. On PyTorch, LSTM, GRU and SimpleRNN in it run by the kernels of PyTorch.

    On JAX several short rows run as one if the layer keeps them apart, as the attention
    of this package does. To see that, it is called on numbers drawn by chance, once for
    each length. An infinity that is made inside a row may then reach those beside it.

    The layer must honour the mask, make of a row what depends on that row only, and
    take sequences of any length. State that follows the batch (`BatchNormalization`
    in training, metrics) and losses taken from outputs are refused.

    Args:
        layer: A layer of Keras or of your own, a `Sequential` or a functional model.
            It gets the mask as any layer does.
        shift: Whether rows may be moved to begin with their first real token, so
            that padding on the left is skipped too. A table of positions would then
            count from there; attention, recurrent layers and rotary embeddings do
            not notice.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, time, ...)`, or several in any structure.
        mask: Padding of each, `(batch, time)`, or `None` for one that has no axis of
            time or no padding. Defaults to the masks that the tensors carry.
        training: Whether the layer trains.

    Output shape:
        That of the layer: one tensor, with a position for each of one of the inputs,
        or with no axis of time.

    Masking:
        What padding holds reaches nothing. Outputs at padding are 0, and the output
        carries the mask of the input whose positions it has.

    Example:
    >>> block = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
    >>> x = keras_padsafe.layers.ExtendableEmbedding(9, 4, pad_id=0)(np.array([[5, 0]]))
    >>> y = keras_padsafe.layers.RealTokens(block)(x)
    >>> keras.ops.convert_to_numpy(y[0, 1]).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        shift: bool = False,
        **kwargs: Unpack[PlainLayerArguments],
    ) -> None:
        super().__init__(layer, **kwargs)
        if not isinstance(shift, bool):
            raise PadsafeError(
                f"`shift` must be True or False. Received: {shift!r:.60}."
            )
        self.shift = shift
        self.autocast = False  # What is inside casts by itself.
        self.supports_masking = True
        self._answers: dict[Any, Answer] = {}
        self._shares: dict[Any, bool] = {}

    def build(self, input_shape: Any) -> None:
        """Builds the layer for sequences of any length, if it takes such."""
        if self.layer.built:
            return

        def spec(shape: Shape, any_time: bool, masked: bool) -> keras.KerasTensor:
            time = (None,) if any_time and len(shape) > 2 else shape[1:2]
            x = keras.KerasTensor((*shape[:1], *time, *shape[2:]))
            if masked and time:
                set_keras_mask(x, keras.KerasTensor(x.shape[:2], "bool"))
            return x

        error: Exception | None = None
        # Of these some fail for a table of few positions, or a block that needs a mask.
        for masked, any_time in itertools.product((False, True), (True, False)):
            specs = keras.tree.map_shape_structure(
                lambda s, a=any_time, m=masked: spec(s, a, m), input_shape
            )
            try:
                self.layer(specs)
                return
            except Exception as given:
                error = error or given
        raise PadsafeError(
            f"The layer {self.layer.name!r} in {self.name!r} (RealTokens) cannot be "
            f"built on {input_shape}. It must take one argument, a tensor or several "
            "in a structure, and sequences of any length. Received, from it: "
            f"{error}"
        ) from error

    def call(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> Tensor:
        flat, masks = _read(inputs, mask)
        if all(given is None for given in masks):
            return self.layer(inputs, training=training)
        answer = self._ask(inputs, flat, masks)
        follows = answer.follows

        def run(*given: Tensor | None) -> Tensor:
            cuts, cut_masks = given[: len(flat)], given[len(flat) :]
            output = self._run(inputs, cuts, cut_masks, training)
            return output if follows is None else hide(output, cut_masks[follows])

        steps = any(isinstance(x, keras.layers.RNN) for x in inner_layers(self.layer))
        if why_whole(flat, masks, has_steps=steps, training=training):
            with rnn_kernels(self.layer):
                output = run(*flat, *masks)
        else:
            packs = follows is not None and self._can_pack(
                inputs, flat, masks, training
            )
            output = self._run_on_cuts(run, flat, masks, answer, packs)
        if follows is not None:
            set_keras_mask(output, masks[follows])
        return output

    def _run(
        self,
        inputs: Any,
        flat: Sequence[Tensor | None],
        masks: Sequence[Tensor | None],
        training: bool | None,
    ) -> Any:
        """Calls the layer with tensors and masks in place of those of `inputs`."""
        hidden = [hide(x, mask) for x, mask in zip(flat, masks, strict=True)]
        for x, mask in zip(hidden, masks, strict=True):
            if mask is not None:
                set_keras_mask(x, mask)
        packed = keras.tree.pack_sequence_as(inputs, hidden)
        with warnings.catch_warnings():  # Its mask is not lost: we pass it on.
            lost = rf"(?s)Layer '{re.escape(self.layer.name)}' .*not support masking"
            warnings.filterwarnings("ignore", lost)
            return self.layer(packed, training=training)

    def _run_on_cuts(
        self,
        run: Callable[..., Tensor],
        flat: Sequence[Tensor],
        masks: Sequence[Tensor | None],
        answer: Answer,
        packs: bool,
    ) -> Tensor:
        along = [{} if mask is None else {1: mask} for mask in masks]
        given = [*zip((*flat, *masks), (*along, *along), strict=True)]
        if packs:
            given.append((number_rows(flat[0]), along[0]))

        def run_as_is(*cuts: Tensor | None) -> Tensor:
            rows = sharing_rows(cuts[-1]) if packs else contextlib.nullcontext()
            with rows, follow_real_tokens(False):  # Layers inside have nothing to skip.
                return run(*cuts[: 2 * len(flat)])

        several = sum(mask is not None for mask in masks) > 1
        return on_real_tokens(
            run_as_is,
            given,
            output=_spec(answer, flat),
            output_along={} if answer.follows is None else along[answer.follows],
            variables=self.layer.variables,
            starts="zero" if not self.shift else "same" if several else "own",
            packs=packs,
        )

    def _can_pack(
        self,
        inputs: Any,
        flat: Sequence[Any],
        masks: Sequence[Tensor | None],
        training: bool | None,
    ) -> bool:
        """Whether rows of the batch can be run as one."""
        if not can_pack(masks) or any(mask is not masks[0] for mask in masks):
            return False
        kinds = [(x.shape[1:], keras.backend.standardize_dtype(x.dtype)) for x in flat]
        key = (bool(training), *kinds)
        if key not in self._shares:

            def run(x: Sequence[Tensor], mask: Tensor, training: Any) -> Tensor:
                return self._run(inputs, x, [mask] * len(flat), training)

            with follow_real_tokens(False):
                self._shares[key] = can_share_rows(run, self.layer, flat, training)
        return self._shares[key]

    def _ask(
        self, inputs: Any, flat: Sequence[Any], masks: Sequence[Tensor | None]
    ) -> Answer:
        masked = tuple(mask is not None for mask in masks)
        standardize = keras.backend.standardize_dtype
        key = (  # Whatever is cut, the answer is that for any length.
            tuple(
                (tuple(x.shape[2 if cut else 1 :]), standardize(x.dtype))
                for x, cut in zip(flat, masked, strict=True)
            ),
            masked,
            tuple(layer.trainable for layer in inner_layers(self.layer)),
        )
        if key not in self._answers:
            with follow_real_tokens(False):
                self._answers[key] = ask_of_rows(
                    lambda x, m: self._run(inputs, x, m, True),
                    self.layer,
                    flat,
                    masked,
                    f"The layer {self.layer.name!r} in {self.name!r} (RealTokens)",
                )
        return self._answers[key]

    def compute_output_spec(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> Any:
        if not self.layer.built:
            self.build(keras.tree.map_structure(lambda x: tuple(x.shape), inputs))
        flat, masks = _read(inputs, mask)
        if all(given is None for given in masks):
            return self.layer.compute_output_spec(inputs)
        answer = self._ask(inputs, flat, masks)
        output = _spec(answer, flat)
        if answer.follows is not None:
            set_keras_mask(output, masks[answer.follows])
        return output

    def compute_output_shape(self, input_shape: Any) -> Shape:
        specs = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        return self.compute_output_spec(specs).shape

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Tensor | None:
        flat, masks = _read(inputs, previous_mask)
        if all(given is None for given in masks):
            return None
        follows = self._ask(inputs, flat, masks).follows
        return None if follows is None else masks[follows]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": self.shift}


def _read(inputs: Any, mask: Any) -> tuple[list[Any], list[Tensor | None]]:
    """Flattens inputs and their masks."""
    flat = keras.tree.flatten(inputs)
    given = [None] * len(flat) if mask is None else keras.tree.flatten(mask)
    if len(given) != len(flat):
        raise PadsafeError(
            f"`mask` must hold a mask or None for each of {len(flat)} inputs. "
            f"Received: {len(given)}."
        )
    masks = [
        None if m is None else read_padding_mask(m, x.shape[:2], "mask")
        for x, m in zip(flat, given, strict=True)
    ]
    return flat, masks


def _spec(answer: Answer, flat: Sequence[Any]) -> keras.KerasTensor:
    """The whole output, without values."""
    time = () if answer.follows is None else flat[answer.follows].shape[1:2]
    return keras.KerasTensor((flat[0].shape[0], *time, *answer.features), answer.dtype)
