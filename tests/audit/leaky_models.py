"""Models of stock layers that let padding through, by name."""

from collections.abc import Callable

import keras
from keras import layers, ops

DIM, SIZE = 8, 20
Build = Callable[[], keras.Model]


def ids(name: str | None = None, steps: int | None = None) -> keras.KerasTensor:
    return keras.Input((steps,), dtype="int32", name=name)


def tokens() -> keras.Layer:
    return layers.Embedding(SIZE, DIM, mask_zero=True)


def encoder() -> keras.Model:
    """Two residual blocks: the second sees padding, since the first loses the mask."""
    x = words = ids()
    x = tokens()(x) * 2.0
    for _ in range(2):
        x = x + layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)
        x = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.Dense(DIM)(ops.relu(layers.Dense(9)(x) - 0.1))])
    pooled = layers.GlobalAveragePooling1D()(x)
    return keras.Model(words, layers.Dense(2)(pooled))


def grouped() -> keras.Model:
    words = ids()
    x = layers.GroupQueryAttention(4, 2, 1)(*[tokens()(words)] * 2)
    x = layers.GroupQueryAttention(4, 2, 2)(x, x)
    return keras.Model(words, layers.GlobalMaxPooling1D()(x))


def convolutions() -> keras.Model:
    """In a Sequential model, which records no calls."""
    return keras.Sequential(
        [
            ids(),
            tokens(),
            layers.Conv1D(7, 3, padding="same", activation="tanh"),
            layers.Conv1D(6, 2, dilation_rate=2, padding="causal"),
            layers.Softmax(),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )


def dot_attention() -> keras.Model:
    words = ids()
    x = tokens()(words)
    x = layers.Attention(use_scale=True)([x, x])
    return keras.Model(words, layers.GlobalAveragePooling1D()(x))


def nested() -> keras.Model:
    """A nested model called twice, with a layer shared with the model around it."""
    words = ids("words")
    inner = keras.Model(words, layers.Conv1D(DIM, 3, padding="same")(tokens()(words)))
    one, other = ids("one"), ids("other")
    pool = layers.GlobalMaxPooling1D(name="pool")
    pooled = [pool(inner(one)), pool(inner(other))]
    return keras.Model([one, other], layers.Subtract()(pooled))


def wrapped() -> keras.Model:
    convolution = layers.Conv1D(DIM, 3, padding="same")
    return keras.Sequential(
        [
            ids(),
            tokens(),
            layers.SpectralNormalization(convolution),
            layers.Bidirectional(layers.GRU(4, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.GlobalAveragePooling1D(),
        ]
    )


def numbers_shift() -> keras.Model:
    """Of five convolutions the first, third and last meet a mask."""
    words, signal = ids("words"), keras.Input((None, DIM), name="signal")
    conv = [layers.Conv1D(DIM, 2, padding="causal", name=f"c{i}") for i in range(5)]
    x = conv[4](conv[2](conv[0](tokens()(words))))
    y = conv[3](conv[1](signal))
    pool = layers.GlobalAveragePooling1D
    return keras.Model([words, signal], layers.Concatenate()([pool()(x), pool()(y)]))


_ATTEND = "MultiHeadAttention", "MaskedMultiHeadAttention"
_CONVOLVE = "Conv1D", "MaskedConv1D"
_AVERAGE = "GlobalAveragePooling1D", "MaskedGlobalAveragePooling1D"
_MAXIMUM = "GlobalMaxPooling1D", "MaskedGlobalMaxPooling1D"
_GROUPED = "GroupQueryAttention", "MaskedGroupedQueryAttention"
_BLOCK = [
    _ATTEND,
    ("Add", "MaskedAdd"),
    ("Subtract", "Rescaling"),
    ("Relu", "Activation"),
]

LEAKY: dict[Build, list[tuple[str, str]]] = {
    encoder: [("Multiply", "Rescaling"), *_BLOCK, *_BLOCK, _AVERAGE],
    grouped: [_GROUPED, _GROUPED, _MAXIMUM],
    convolutions: [_CONVOLVE, _CONVOLVE, ("Softmax", "MaskedSoftmax"), _MAXIMUM],
    dot_attention: [("Attention", "MaskedAttention"), _AVERAGE],
    nested: [_CONVOLVE, _MAXIMUM],
    wrapped: [_CONVOLVE, _AVERAGE],
    numbers_shift: [_CONVOLVE] * 3 + [_AVERAGE],
}
"""Each model with the swaps that mend it."""
