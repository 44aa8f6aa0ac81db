"""Models that padding cannot reach, and models with a leak planted in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from keras_padsafe import layers as pl
from keras_padsafe import ops as po

IDS = np.array(
    [
        [4, 8, 15, 16, 23, 42, 7, 9],
        [23, 42, 7, 0, 0, 0, 0, 0],
        [1, 2, 3, 4, 5, 0, 0, 0],
        [11, 0, 0, 0, 0, 0, 0, 0],
    ]
)
WIDTH = 8


class Case(NamedTuple):
    model: Any
    batch: Any = IDS
    pad_id: Any = 0


class Leak(NamedTuple):
    model: Any
    place: str
    code: str = "PS402"
    batch: Any = IDS
    pad_id: Any = 0


def embedding(**kwargs: Any) -> kl.Embedding:
    # Wider than Keras's own start: nothing saturates, nothing is close to zero.
    return kl.Embedding(
        50, WIDTH, mask_zero=True, embeddings_initializer="normal", **kwargs
    )


def functional(build: Callable[[Any], Any], length: int | None = None) -> keras.Model:
    ids = keras.Input((length,), dtype="int32", name="ids")
    return keras.Model(ids, build(ids))


def blocks(x: Any, count: int, attention: type, add: Any) -> Any:
    for n in range(count):
        seen = attention(2, 4, name=f"attention_{n}")(x, x)
        x = kl.LayerNormalization(name=f"norm_{n}")(add(x, seen))
    return x


def safe_add(x: Any, y: Any) -> Any:
    return pl.MaskedAdd()([x, y])


class Slices(kl.Layer):
    """Hands a mask on to an explicit argument, as Keras Hub does."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = kl.MultiHeadAttention(2, 4, name="seen")
        self.table = kl.Embedding(50, WIDTH, name="table")

    def call(self, inputs: dict[str, Any]) -> Any:
        mask = ops.cast(inputs["padding_mask"], "bool")
        x = self.table(inputs["token_ids"])
        x = x + self.attention(x, x, attention_mask=mask[:, None, :])
        return po.masked_mean(x, mask[..., None], axis=1)


class ByHand(keras.Model):
    """Everything computed between layers, with a mask of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = kl.Embedding(50, WIDTH, name="table")
        self.head = kl.Dense(3, name="head")

    def call(self, ids: Any) -> Any:
        mask = ops.cast(ops.not_equal(ids, 0), "float32")
        x = self.table(ids)
        scores = ops.sum(x, axis=-1) - 1e9 * (1 - mask)
        weights = ops.softmax(scores, axis=-1)
        return self.head(ops.sum(x * weights[..., None], axis=1))


class Positions(kl.Layer):
    """Adds what stands at each position of a table, counted from one end."""

    def __init__(self, backwards: bool) -> None:
        super().__init__(name="counted")
        self.supports_masking = True
        self.backwards = backwards
        self.table = kl.Embedding(64, WIDTH, name="positions")

    def call(self, x: Any) -> Any:
        positions = ops.arange(ops.shape(x)[1])
        if self.backwards:
            positions = ops.flip(positions)
        return x + self.table(positions)


class MixMean(kl.Layer):
    """Every position gets some of the mean of all."""

    def __init__(self, share: float) -> None:
        super().__init__(name="mix")
        self.supports_masking = True
        self.share = share

    def call(self, x: Any) -> Any:
        return x + self.share * ops.mean(x, axis=1, keepdims=True)


class OverBatch(kl.Layer):
    def call(self, x: Any) -> Any:
        return x - ops.mean(x, axis=0, keepdims=True)


class Two(keras.Model):
    """Normalises in the same way at inference as in training."""

    def __init__(self) -> None:
        super().__init__()
        self.table = embedding(name="table")
        self.pool = kl.GlobalAveragePooling1D(name="pool")
        self.norm = kl.BatchNormalization(name="norm")

    def call(self, ids: Any) -> Any:
        return self.norm(self.pool(self.table(ids)), training=True)


class Noisy(kl.Layer):
    """Random at inference too."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True
        self.dropout = kl.Dropout(0.3)

    def call(self, x: Any) -> Any:
        return self.dropout(x, training=True)


def sequential(*layers: Any) -> keras.Model:
    return keras.Sequential([embedding(name="table"), *layers])


def of_features() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(4, 8, WIDTH)).astype("float32")
    return np.where((IDS == 0)[..., None], 0.0, x).astype("float32")


def hub_batch() -> dict[str, np.ndarray]:
    return {
        "token_ids": IDS,
        "padding_mask": (IDS != 0).astype("int32"),
        "segment_ids": np.zeros_like(IDS),
    }


def two_towers() -> Case:
    other = np.roll(IDS, 1, axis=0)
    queries = keras.Input((None,), dtype="int32", name="queries")
    answers = keras.Input((None,), dtype="int32", name="answers")
    table, pool = embedding(), kl.GlobalAveragePooling1D()
    scores = kl.Dot(axes=1)([pool(table(queries)), pool(table(answers))])
    return Case(keras.Model([queries, answers], scores), [IDS, other])


def with_users() -> Case:
    ids = keras.Input((None,), dtype="int32", name="ids")
    user = keras.Input((1,), dtype="int32", name="user")
    x = kl.GlobalAveragePooling1D()(embedding()(ids))
    y = kl.Flatten()(kl.Embedding(5, 4)(user))
    model = keras.Model({"ids": ids, "user": user}, kl.Concatenate()([x, y]))
    return Case(model, {"ids": IDS, "user": np.array([[0], [1], [0], [2]])})


def encoder_decoder() -> Case:
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    memory = kl.Dense(WIDTH)(embedding()(source))
    x = embedding()(target)
    for _ in range(2):
        x = safe_add(x, pl.MaskedMultiHeadAttention(2, 4)(x, memory))
    model = keras.Model({"source": source, "target": target}, kl.Dense(50)(x))
    return Case(model, {"source": IDS, "target": IDS[::-1, :5].copy()})


def nested() -> keras.Model:
    encoder = functional(
        lambda ids: blocks(embedding()(ids), 1, pl.MaskedMultiHeadAttention, safe_add)
    )
    head = kl.Dense(3, activation="softmax")
    return functional(lambda ids: head(pl.MaskedGlobalMaxPooling1D()(encoder(ids))))


def safe_transformer(count: int = 2) -> keras.Model:
    def build(ids: Any) -> Any:
        x = Positions(backwards=False)(embedding()(ids))
        x = blocks(x, count, pl.MaskedMultiHeadAttention, safe_add)
        return pl.MaskedGlobalAveragePooling1D()(x)

    return functional(build)


def in_dtype(policy: str) -> Case:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return Case(safe_transformer(1))
    finally:
        keras.config.set_dtype_policy(before)


def bert(pooled: bool) -> Any:
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=WIDTH,
        intermediate_dim=16,
        max_sequence_length=16,
        dropout=0.1,
    )
    # Far from its start, where everything is close to zero.
    random = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape))
    if not pooled:
        return backbone
    x = backbone.output["sequence_output"]
    mask = backbone.input["padding_mask"]
    pool = pl.MaskedGlobalAveragePooling1D()
    return keras.Model(backbone.input, pool(x, mask=mask))


CLEAN: dict[str, Callable[[], Case]] = {
    "lstm": lambda: Case(sequential(kl.LSTM(WIDTH), kl.Dense(3))),
    "gru": lambda: Case(sequential(kl.GRU(WIDTH, return_sequences=True))),
    "bidirectional": lambda: Case(sequential(kl.Bidirectional(kl.LSTM(4)))),
    "mean": lambda: Case(sequential(kl.GlobalAveragePooling1D(), kl.Dense(3))),
    "tagger": lambda: Case(sequential(kl.Dense(3, activation="softmax"))),
    "stock attention": lambda: Case(
        functional(lambda ids: _attend_once(embedding()(ids)))
    ),
    "grouped": lambda: Case(
        functional(
            lambda ids: pl.MaskedGlobalLastPooling1D()(
                (lambda x: pl.MaskedGroupedQueryAttention(4, 4, 2)(x, x))(
                    embedding()(ids)
                )
            )
        )
    ),
    "convolution": lambda: Case(
        sequential(
            pl.MaskedConv1D(WIDTH, 3, padding="same"), pl.MaskedGlobalMaxPooling1D()
        )
    ),
    "transformer": lambda: Case(safe_transformer()),
    "pad id 5": lambda: Case(
        keras.Sequential(
            [
                pl.ExtendableEmbedding(50, WIDTH, pad_id=5),
                pl.MaskedGlobalAveragePooling1D(),
            ]
        ),
        np.where(IDS == 0, 5, np.where(IDS == 5, 0, IDS)),
        5,
    ),
    "padded left": lambda: Case(
        sequential(kl.GlobalAveragePooling1D()), IDS[:, ::-1].copy()
    ),
    "holes": lambda: Case(
        sequential(kl.GlobalAveragePooling1D()), np.where(IDS % 4 == 3, 0, IDS)
    ),
    "one row": lambda: Case(sequential(kl.GlobalAveragePooling1D()), IDS[1:2]),
    "empty row": lambda: Case(
        sequential(kl.GlobalAveragePooling1D()),
        np.concatenate([IDS, np.zeros_like(IDS[:1])]),
    ),
    "fixed length": lambda: Case(
        functional(lambda ids: kl.GlobalAveragePooling1D()(embedding()(ids)), 8)
    ),
    "dropout": lambda: Case(sequential(kl.Dropout(0.5), kl.GlobalAveragePooling1D())),
    "random": lambda: Case(sequential(Noisy(), kl.GlobalAveragePooling1D())),
    "batch norm": lambda: Case(
        sequential(kl.BatchNormalization(), kl.GlobalAveragePooling1D())
    ),
    "by hand": lambda: Case(ByHand()),
    "explicit mask": lambda: Case(
        Slices(), {k: v for k, v in hub_batch().items() if k != "segment_ids"}
    ),
    "nested": lambda: Case(nested()),
    "two towers": two_towers,
    "with users": with_users,
    "encoder, decoder": encoder_decoder,
    "features": lambda: Case(
        keras.Sequential([kl.Masking(), kl.Dense(4), kl.GlobalAveragePooling1D()]),
        of_features(),
        None,
    ),
    "many outputs": lambda: Case(
        functional(
            lambda ids: (
                lambda x: {
                    "tags": kl.Dense(3)(x),
                    "class": kl.GlobalAveragePooling1D()(x),
                }
            )(embedding()(ids))
        )
    ),
    "mixed_float16": lambda: in_dtype("mixed_float16"),
    "mixed_bfloat16": lambda: in_dtype("mixed_bfloat16"),
    "bfloat16": lambda: in_dtype("bfloat16"),
    "float16": lambda: in_dtype("float16"),
}
if keras.backend.backend() != "jax":
    # JAX has no float64 unless it is started so.
    CLEAN["float64"] = lambda: Case(
        keras.Sequential(
            [
                embedding(name="table", dtype="float64"),
                kl.GlobalAveragePooling1D(dtype="float64"),
            ]
        )
    )


def _attend_once(x: Any) -> Any:
    return kl.GlobalAveragePooling1D()(kl.MultiHeadAttention(2, 4)(x, x))


def _attend_twice(ids: Any) -> Any:
    x = embedding()(ids)
    first = kl.MultiHeadAttention(2, 4, name="first")(x, x)
    second = kl.MultiHeadAttention(2, 4, name="second")(x, x)
    return pl.MaskedGlobalAveragePooling1D()(safe_add(first, second))


def _softmax_over_time(ids: Any) -> Any:
    x = embedding()(ids)
    weights = kl.Activation(_over_time, name="weights")(kl.Dense(1)(x))
    return kl.Dot(axes=1, name="sum")([weights, x])


def _over_time(scores: Any) -> Any:
    return ops.softmax(scores, axis=1)


def _concatenated(ids: Any) -> Any:
    x = embedding()(ids)
    y = kl.Dense(4)(kl.Embedding(50, WIDTH)(ids))
    x = kl.Concatenate(name="beside")([x, y])
    return kl.GlobalAveragePooling1D(name="pool")(x)


class Residual(keras.Model):
    """`x + y` loses the mask of both."""

    def __init__(self) -> None:
        super().__init__()
        self.table = embedding(name="table")
        self.first = kl.MultiHeadAttention(2, 4, name="first")
        self.second = kl.MultiHeadAttention(2, 4, name="second")
        self.pool = pl.MaskedGlobalAveragePooling1D(name="pool")

    def call(self, ids: Any) -> Any:
        mask = ops.not_equal(ids, 0)
        x = self.table(ids)
        x = x + self.first(x, x)
        return self.pool(x + self.second(x, x), mask=mask)


class BetweenLayers(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="mine")
        self.table = embedding(name="table")
        self.wide = kl.Dense(WIDTH, name="wide")
        self.head = kl.Dense(3, name="head")

    def call(self, ids: Any) -> Any:
        return self.head(ops.mean(self.wide(self.table(ids)), axis=1))


LEAKY: dict[str, Callable[[], Leak]] = {
    "convolution": lambda: Leak(
        sequential(
            kl.Conv1D(4, 3, padding="same", name="conv"), kl.GlobalMaxPooling1D()
        ),
        "conv",
    ),
    "max": lambda: Leak(sequential(kl.GlobalMaxPooling1D(name="pool")), "pool"),
    "flatten": lambda: Leak(
        functional(
            lambda ids: kl.Dense(3)(kl.Flatten(name="flat")(embedding()(ids))), 8
        ),
        "flat",
    ),
    "mean without mask": lambda: Leak(
        keras.Sequential(
            [kl.Embedding(50, WIDTH), kl.GlobalAveragePooling1D(name="pool")]
        ),
        "pool",
    ),
    "positions": lambda: Leak(
        sequential(Positions(backwards=True), kl.GlobalMaxPooling1D(name="pool")),
        "counted",
        "PS401",
    ),
    "mixing": lambda: Leak(
        sequential(MixMean(1.0), kl.GlobalAveragePooling1D()), "mix"
    ),
    "a thousandth": lambda: Leak(
        sequential(MixMean(1e-3), kl.GlobalAveragePooling1D()), "mix"
    ),
    "norm over time": lambda: Leak(
        functional(
            lambda ids: kl.GlobalAveragePooling1D()(
                kl.UnitNormalization(axis=1, name="norm")(embedding()(ids))
            )
        ),
        "norm",
    ),
    "softmax over time": lambda: Leak(functional(_softmax_over_time), "weights"),
    "attending twice": lambda: Leak(functional(_attend_twice), "second"),
    "residual": lambda: Leak(
        functional(
            lambda ids: pl.MaskedGlobalAveragePooling1D()(
                blocks(
                    embedding()(ids),
                    3,
                    kl.MultiHeadAttention,
                    lambda x, y: kl.Add()([x, y]),
                ),
                mask=ops.not_equal(ids, 0),
            )
        ),
        "attention_1",
    ),
    "plus": lambda: Leak(Residual(), "second"),
    "concatenated": lambda: Leak(functional(_concatenated), "pool"),
    "between layers": lambda: Leak(BetweenLayers(), "mine"),
    "over the batch": lambda: Leak(
        sequential(kl.GlobalAveragePooling1D(), OverBatch(name="centre")),
        "centre",
        "PS404",
    ),
    "training for ever": lambda: Leak(Two(), "norm", "PS404"),
    "features": lambda: Leak(
        keras.Sequential([kl.Masking(), kl.Conv1D(4, 3, padding="same", name="conv")]),
        "conv",
        batch=of_features(),
        pad_id=None,
    ),
}
