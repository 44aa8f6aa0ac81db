"""`keras.layers.Attention` that padding cannot reach."""

from typing import Any, Literal, Unpack

import keras
from keras import ops

from keras_padsafe.ops.attention_masks import read_padding_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masked_softmax import masked_softmax
from keras_padsafe.ops.masks import causal_mask, combine_masks
from keras_padsafe.registration import serializable
from keras_padsafe.types import PlainLayerArguments, Tensor


@serializable
class MaskedAttention(keras.layers.Attention):
    """`keras.layers.Attention` with masks that hold.

    Constructor and weights are those of the Keras layer, in memory and in a file:
    the one class can take the other's place in a saved model, in both directions.

    Args:
        use_scale: Whether a learned number multiplies the scores.
        score_mode: `"dot"`, or `"concat"` for the tanh of a sum.
        dropout: Share of the attention weights that is dropped in training.
        seed: Seed of the dropout.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        inputs: List of `query` of shape `(batch, query, dim)`, `value` of shape
            `(batch, key, dim)` and, optionally, `key` of the shape of `value`.
        mask: List of the padding of each, `(batch, query)` and `(batch, key)`;
            any of them may be `None`. Defaults to the masks that the tensors carry.
        return_attention_scores: Whether to return the weights, of shape
            `(batch, query, key)`, as well.
        training: Whether dropout is active.
        use_causal_mask: Whether each query sees only the keys up to its position.

    Output shape:
        `(batch, query, dim)`.

    Masking:
        True is real. A key counts if both its own mask and that of its value say
        so. What is hidden may hold NaN or infinity; neither an output nor a
        gradient notices. Outputs and weights are exactly 0 at padded queries, and
        where there is no key to attend to. The output carries the query's mask.

    Example:
    >>> layer = keras_padsafe.layers.MaskedAttention()
    >>> query = keras.ops.ones((1, 1, 2))
    >>> value = keras.ops.convert_to_tensor([[[2.0, 4.0], [float("nan")] * 2]])
    >>> mask = keras.ops.convert_to_tensor([[True, False]])
    >>> keras.ops.convert_to_numpy(layer([query, value], mask=[None, mask])).tolist()
    [[[2.0, 4.0]]]
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: Literal["dot", "concat"] = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[PlainLayerArguments],
    ) -> None:
        super().__init__(use_scale, score_mode, dropout, seed, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        # Keras before 3.15 wants a third shape, which the call does not.
        query, value = input_shape[:2]
        return (*query[:-1], value[-1])

    def call(
        self,
        inputs: list[Tensor],
        mask: list[Tensor | None] | None = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._validate_inputs(inputs=inputs, mask=mask)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, key_mask = _read_masks(mask, query, key)
        mask = None if key_mask is None else ops.expand_dims(key_mask, -2)
        if use_causal_mask:
            causal = causal_mask(ops.shape(query)[-2], ops.shape(key)[-2])
            for _ in query.shape[:-2]:
                causal = ops.expand_dims(causal, 0)
            mask = combine_masks(mask, causal)
        if mask is not None:
            query = hide(query, ops.any(mask, axis=-1))
        seen = _seen_keys(mask, query_mask)
        key, value = hide(key, seen), hide(value, seen)
        dtype = keras.backend.result_type(query.dtype, "float32")
        scores = self._calculate_scores(
            ops.cast(hide(query, query_mask), dtype), ops.cast(key, dtype)
        )
        weights = hide(masked_softmax(scores, mask), query_mask)
        if training and self.dropout:
            rate, seed = self.dropout, self.seed_generator
            weights = keras.random.dropout(weights, rate, seed=seed)
        weights = ops.cast(weights, value.dtype)
        output = ops.matmul(weights, value)
        return (output, weights) if return_attention_scores else output


def _seen_keys(mask: Tensor | None, query_mask: Tensor | None) -> Tensor | None:
    """Marks the keys that any real query attends to."""
    real = None if query_mask is None else ops.expand_dims(query_mask, -1)
    seen_by = combine_masks(mask, real)
    return None if seen_by is None else ops.any(seen_by, axis=-2)


def _read_masks(
    mask: list[Tensor | None] | None, query: Tensor, key: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the padding of the queries, and of keys and values together."""
    names = ("query_mask", "value_mask", "key_mask")
    masks = [
        None if given is None else read_padding_mask(given, x.shape[:-1], name)
        for given, x, name in zip(mask or (), (query, key, key), names, strict=False)
    ]
    return (masks[0] if masks else None), combine_masks(*masks[1:])
