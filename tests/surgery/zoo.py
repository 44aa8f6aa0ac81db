"""Small models of every kind that holds a vocabulary, each built at any size.

Numbers are chosen apart on purpose, and equal to the vocabulary's where a model is
a decoy: `SIZE` ids to begin with, `GROWN` in the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers, ops

SIZE = 13
ADDED = 3
GROWN = SIZE + ADDED
STEPS = 5
DIM = 4

Build = Callable[[int], keras.Model]


@dataclass(frozen=True)
class Case:
    """A kind of model.

    Attributes:
        name: What is special about it.
        build: Makes it for a given number of ids.
        options: What `grow` must be told.
        exact: Whether outputs for old ids keep every bit. A matrix product with more
            columns may be summed in another order, so heads need not.
        loads: Whether Keras can load its own file: Keras 3.15 cannot where a layer is
            shared with a nested model.
    """

    name: str
    build: Build
    options: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    loads: bool = True


CASES: list[Case] = []


def case(
    *, exact: bool = False, loads: bool = True, **options: Any
) -> Callable[[Build], Build]:
    """Adds a builder to the zoo."""

    def add(build: Build) -> Build:
        CASES.append(Case(build.__name__, build, options, exact, loads))
        return build

    return add


def ids(name: str = "ids", steps: int = STEPS) -> keras.KerasTensor:
    return keras.Input((steps,), dtype="int32", name=name)


def table(size: int, name: str = "words", **kwargs: Any) -> keras.Layer:
    return layers.Embedding(size, DIM, name=name, **kwargs)


@case(exact=True)
def sequential_classifier(size: int) -> keras.Model:
    return keras.Sequential(
        [ids(), table(size), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )


@case()
def sequential_language_model(size: int) -> keras.Model:
    return keras.Sequential(
        [ids(), table(size), layers.LSTM(6, return_sequences=True), layers.Dense(size)]
    )


@case()
def head_without_bias(size: int) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Dense(size, use_bias=False)(table(size)(x)))


@case()
def head_with_softmax(size: int) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Dense(size, activation="softmax")(table(size)(x)))


@case()
def head_before_activation(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, layers.Activation("softmax")(h))


@case()
def head_before_softmax_layer(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, layers.Softmax()(h))


@case()
def head_before_operations(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, ops.softmax(h / 2.0))


@case()
def head_in_float32(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, layers.Activation("linear", dtype="float32")(h))


@case()
def einsum_head(size: int) -> keras.Model:
    x = ids()
    head = layers.EinsumDense("btd,dv->btv", (None, size), bias_axes="v")
    return keras.Model(x, head(table(size)(x)))


@case()
def einsum_head_transposed(size: int) -> keras.Model:
    x = ids()
    head = layers.EinsumDense("abc,dc->abd", (None, size))
    return keras.Model(x, head(table(size)(x)))


@case()
def einsum_head_with_ellipsis(size: int) -> keras.Model:
    x = ids()
    head = layers.EinsumDense("...x,xy->...y", size, bias_axes="y")
    return keras.Model(x, head(table(size)(x)))


@case()
def einsum_head_of_codebooks(size: int) -> keras.Model:
    x = ids()
    head = layers.EinsumDense("btd,dkv->btkv", (None, 2, size), bias_axes="kv")
    return keras.Model(x, head(table(size)(x)))


@case()
def time_distributed_head(size: int) -> keras.Model:
    x = ids()
    h = layers.GRU(6, return_sequences=True)(table(size)(x))
    return keras.Model(x, layers.TimeDistributed(layers.Dense(size))(h))


@case()
def time_distributed_softmax_head(size: int) -> keras.Model:
    x = ids()
    head = layers.TimeDistributed(layers.Dense(size, activation="softmax"))
    return keras.Model(x, head(table(size)(x)))


@case(exact=True)
def hierarchical_attention(size: int) -> keras.Model:
    words = ids("sentence")
    h = layers.GlobalAveragePooling1D()(table(size)(words))
    sentence = keras.Model(words, layers.Dense(6)(h), name="sentence_encoder")
    document = keras.Input((3, STEPS), dtype="int32", name="document")
    h = layers.TimeDistributed(sentence, name="each_sentence")(document)
    return keras.Model(document, layers.Dense(2)(layers.GlobalMaxPooling1D()(h)))


@case(also="head:1")
def next_word_from_last_state(size: int) -> keras.Model:
    x = ids()
    return keras.Model(
        x, layers.Dense(size, name="head")(layers.LSTM(6)(table(size)(x)))
    )


@case()
def pooled_logits(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, layers.GlobalMaxPooling1D()(h))


@case()
def chosen_logits(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, ops.where(h > 0, h, 0.1 * h)[:, -1])


@case(also=["scores:2", "scores:0"])
def convolution_as_head(size: int) -> keras.Model:
    x = ids()
    h = layers.Conv1D(size, 1, name="scores")(table(size)(x))
    return keras.Model(x, layers.Softmax()(h))


@case(also=["scores:1"], leave=["max"])
def head_behind_an_operation(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size, name="scores")(table(size)(x))
    return keras.Model(x, ops.max(h, axis=-1, keepdims=True))


@case(exact=True)
def table_in_time_distributed(size: int) -> keras.Model:
    x = keras.Input((3, STEPS), dtype="int32", name="letters")
    letters = layers.Embedding(size, DIM, name="words")
    h = layers.TimeDistributed(letters)(x)
    return keras.Model(x, layers.Dense(2)(h))


@case()
def two_heads(size: int) -> keras.Model:
    x = ids()
    h = table(size)(x)
    return keras.Model(x, [layers.Dense(size)(h), layers.Dense(size)(h)])


@case()
def outputs_by_name(size: int) -> keras.Model:
    x = ids()
    h = table(size)(x)
    return keras.Model({"ids": x}, {"next": layers.Dense(size)(h), "hidden": h})


@case()
def reshape_of_logits(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, layers.Reshape((STEPS, size))(h))


@case()
def reshape_operation_on_logits(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size)(table(size)(x))
    return keras.Model(x, ops.reshape(h, (-1, STEPS, size)))


@case()
def tied(size: int) -> keras.Model:
    x = ids()
    shared = layers.ReversibleEmbedding(size, DIM, name="words")
    h = layers.Dense(DIM)(shared(x))
    return keras.Model(x, shared(h, reverse=True))


@case()
def tied_then_softmax(size: int) -> keras.Model:
    x = ids()
    shared = layers.ReversibleEmbedding(size, DIM, name="words")
    h = layers.Dense(DIM)(shared(x))
    return keras.Model(x, layers.Softmax()(shared(h, reverse=True)))


@case()
def untied(size: int) -> keras.Model:
    x = ids()
    shared = layers.ReversibleEmbedding(size, DIM, tie_weights=False, name="words")
    h = layers.Dense(DIM)(shared(x))
    return keras.Model(x, shared(h, reverse=True))


@case()
def nested_three_levels(size: int) -> keras.Model:
    x = ids("ids_0")
    model = keras.Model(x, table(size)(x), name="level_0")
    for level in range(1, 3):
        x = ids(f"ids_{level}")
        h = layers.Dense(DIM)(model(x))
        model = keras.Model(x, h, name=f"level_{level}")
    x = ids("ids_3")
    return keras.Model(x, layers.Dense(size)(model(x)))


@case(exact=True)
def nested_sequential(size: int) -> keras.Model:
    encoder = keras.Sequential(
        [ids(), keras.Sequential([ids(), table(size)]), layers.Dense(6)], name="encoder"
    )
    return keras.Sequential([ids(), encoder, layers.Flatten(), layers.Dense(2)])


@case()
def nested_head(size: int) -> keras.Model:
    h = keras.Input((STEPS, DIM), name="hidden")
    decoder = keras.Model(h, layers.Dense(size)(layers.Dense(6)(h)), name="decoder")
    x = ids()
    return keras.Model(x, layers.Softmax()(decoder(table(size)(x))))


@case()
def nested_model_of_logits(size: int) -> keras.Model:
    logits = keras.Input((STEPS, size), name="logits")
    sampler = keras.Model(logits, layers.Softmax()(logits / 0.7), name="sampler")
    x = ids()
    return keras.Model(x, sampler(layers.Dense(size)(table(size)(x))))


@case()
def sequential_of_logits(size: int) -> keras.Model:
    x = ids()
    sampler = keras.Sequential([layers.Activation("softmax")], name="sampler")
    return keras.Model(x, sampler(layers.Dense(size)(table(size)(x))))


@case(exact=True)
def nested_called_twice(size: int) -> keras.Model:
    x = ids("inner")
    h = layers.GlobalAveragePooling1D()(table(size)(x))
    encoder = keras.Model(x, h, name="encoder")
    left, right = ids("left"), ids("right")
    h = layers.Concatenate()([encoder(left), encoder(right)])
    return keras.Model([left, right], layers.Dense(1)(h))


@case(exact=True)
def table_called_twice(size: int) -> keras.Model:
    left, right = ids("left"), ids("right")
    shared = table(size)
    h = layers.Dot(axes=2)([shared(left), shared(right)])
    return keras.Model([left, right], h)


@case()
def encoder_decoder_sharing_one_table(size: int) -> keras.Model:
    source, target = ids("source"), ids("target", 6)
    shared = table(size)
    memory = layers.GRU(DIM, return_sequences=True)(shared(source))
    h = layers.Attention()([shared(target), memory])
    return keras.Model([source, target], layers.Dense(size)(h))


@case(exact=True, loads=False)
def table_shared_with_nested(size: int) -> keras.Model:
    shared = table(size)
    x = ids("inner")
    encoder = keras.Model(x, layers.Dense(DIM)(shared(x)), name="encoder")
    y = ids("outer")
    return keras.Model(y, layers.Add()([shared(y), encoder(y)]))


@case(loads=False)
def tied_across_nested(size: int) -> keras.Model:
    shared = layers.ReversibleEmbedding(size, DIM, name="words")
    x = ids("inner")
    encoder = keras.Model(x, layers.Dense(DIM)(shared(x)), name="encoder")
    y = ids("outer")
    return keras.Model(y, shared(encoder(y), reverse=True))


@case(vocabulary="words")
def recurrent_units_as_many_as_ids(size: int) -> keras.Model:
    x = ids()
    h = layers.GRU(SIZE, return_sequences=True)(table(size)(x))
    return keras.Model(x, layers.Dense(size)(h))


@case()
def dim_as_large_as_ids(size: int) -> keras.Model:
    x = ids()
    h = layers.Embedding(size, SIZE, name="words")(x)
    return keras.Model(x, layers.Dense(size)(layers.Dense(SIZE)(h)))


@case()
def steps_as_many_as_ids(size: int) -> keras.Model:
    x = ids("ids", SIZE)
    h = layers.LayerNormalization(axis=(1, 2))(table(size)(x))
    return keras.Model(x, layers.Dense(size)(h))


@case(vocabulary="words", exact=True)
def two_equal_vocabularies(size: int) -> keras.Model:
    word, tag = ids("word"), ids("tag")
    h = layers.Concatenate()([table(size)(word), table(SIZE, "tags")(tag)])
    return keras.Model([word, tag], layers.Dense(2)(layers.Flatten()(h)))


@case(vocabulary="users", exact=True)
def recommender(size: int) -> keras.Model:
    pair = keras.Input((2,), dtype="int32", name="pair")
    user = table(size, "users")(pair[:, 0])
    item = table(SIZE, "items")(pair[:, 1])
    return keras.Model(pair, layers.Dot(axes=1)([user, item]))


@case(exact=True)
def linear_and_deep_tables(size: int) -> keras.Model:
    x = ids()
    wide = layers.Embedding(size, 1, name="wide")(x)
    deep = layers.Embedding(size, DIM, name="deep")(x)
    h = layers.Concatenate()([wide, deep])
    return keras.Model(x, layers.Dense(1)(layers.Flatten()(h)))


@case()
def masked_with_attention(size: int) -> keras.Model:
    x = ids()
    h = table(size, mask_zero=True)(x)
    h = layers.Add()([h, layers.MultiHeadAttention(2, 3)(h, h)])
    h = layers.BatchNormalization()(layers.LayerNormalization()(h))
    h = layers.Bidirectional(layers.GRU(3, return_sequences=True))(h)
    return keras.Model(x, layers.Dense(size)(h))


@case()
def convolution_and_dropout(size: int) -> keras.Model:
    x = ids()
    h = layers.Conv1D(6, 3, padding="same")(table(size)(x))
    h = layers.SpatialDropout1D(0.1)(h)
    return keras.Model(x, layers.Dropout(0.1)(layers.Dense(size)(h)))


@case(exact=True)
def pretrained_table(size: int) -> keras.Model:
    matrix = np.arange(size * DIM, dtype="float32").reshape(size, DIM)
    x = ids()
    pretrained = keras.initializers.Constant(matrix)
    h = table(size, embeddings_initializer=pretrained, trainable=False)(x)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(h)))


@case()
def scored_ids(size: int) -> keras.Model:
    x = ids()
    logits = layers.Dense(size)(table(size)(x))
    return keras.Model(x, [logits, ops.argmax(logits, axis=-1)])


@case()
def metric_over_the_ids(size: int) -> keras.Model:
    model = head_with_softmax(size)
    model.compile(
        "sgd",
        loss="sparse_categorical_crossentropy",
        metrics=[keras.metrics.MeanIoU(num_classes=size, sparse_y_pred=False)],
    )
    return model


@case()
def variable_length(size: int) -> keras.Model:
    x = keras.Input((None,), dtype="int32")
    return keras.Model(x, layers.Dense(size)(table(size)(x)))


@case()
def encoding_multi_hot(size: int) -> keras.Model:
    x = layers.CategoryEncoding(size, output_mode="multi_hot")(given := ids())
    return keras.Model(given, layers.Dense(2)(layers.Dropout(0.1)(x)))


@case()
def encoding_in_a_sequential_model(size: int) -> keras.Model:
    encoding = layers.CategoryEncoding(size, output_mode="count")
    return keras.Sequential([ids(), encoding, layers.Dense(3, "relu"), layers.Dense(1)])


@case()
def encoding_in_a_nested_model(size: int) -> keras.Model:
    encoding = layers.CategoryEncoding(size)
    inner = keras.Sequential([keras.Input((size,)), layers.Dense(3)])
    return keras.Model(given := ids(), inner(encoding(given)))


@case()
def one_hot_steps_into_recurrent(size: int) -> keras.Model:
    x = ops.one_hot(given := ids(), size)
    return keras.Model(given, layers.Dense(2)(layers.LSTM(3)(x)))


@case()
def one_hot_steps_into_convolution(size: int) -> keras.Model:
    x = layers.Conv1D(3, 2)(ops.one_hot(given := ids(), size))
    return keras.Model(given, layers.GlobalMaxPooling1D()(x))


@case()
def one_hot_steps_into_einsum(size: int) -> keras.Model:
    einsum = layers.EinsumDense("abc,cd->abd", (STEPS, 3))
    return keras.Model(given := ids(), einsum(ops.one_hot(given, size)))


@case()
def one_hot_steps_laid_flat(size: int) -> keras.Model:
    x = layers.Flatten()(ops.one_hot(given := ids(), size))
    return keras.Model(given, layers.Dense(2)(x))


@case()
def encoding_beside_numbers_and_another(size: int) -> keras.Model:
    encoding, given, other = layers.CategoryEncoding(size), ids(), ids("other")
    numbers = keras.Input((3,), name="numbers")
    parts = [encoding(given), numbers, encoding(other)]
    x = layers.Dense(2)(layers.Concatenate()(parts))
    return keras.Model([given, numbers, other], x)


@case()
def wide_and_deep(size: int) -> keras.Model:
    wide = layers.Dense(1)(layers.CategoryEncoding(size)(given := ids()))
    deep = layers.Dense(1)(layers.GlobalAveragePooling1D()(table(size)(given)))
    return keras.Model(given, wide + deep)


def _dtype(policy: str) -> None:
    def build(size: int) -> keras.Model:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            x = ids()
            h = layers.LayerNormalization()(table(size)(x))
            return keras.Model(x, layers.Dense(size)(h))
        finally:
            keras.config.set_dtype_policy(before)

    CASES.append(Case(policy, build))


for _policy in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"):
    _dtype(_policy)


def inputs(model: keras.Model, size: int = SIZE, seed: int = 0, rows: int = 4) -> Any:
    """Random ids below `size` for each input of a model."""
    generator = np.random.default_rng(seed)
    made = {
        tensor.name: generator.integers(
            0, size, (rows, *[d or STEPS for d in tensor.shape[1:]])
        ).astype("int32")
        for tensor in model.inputs
    }
    if isinstance(getattr(model, "input", None), dict):
        return made
    return list(made.values()) if len(made) > 1 else next(iter(made.values()))
