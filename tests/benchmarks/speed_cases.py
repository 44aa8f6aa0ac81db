"""What the speed of this package is measured on, each beside stock Keras."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.compat import compute_output_spec, set_keras_mask
from tests.benchmarks.turns import batch, dense, with_gradient

WORDS = 1000


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the cases are."""

    rows: int = 32
    steps: int = 512
    dim: int = 512
    blocks: int = 6
    table: int = 50_000
    rounds: int = 3
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)


QUICK = Sizes(32, 256, 256, 3, 20_000, 3, (0.0, 0.5, 0.75))


@dataclasses.dataclass(frozen=True)
class Case:
    """One thing done in several ways; `stock` is the measure of the others."""

    name: str
    padding: float
    ways: dict[str, Callable[[], Any]]


class FusedAttention(layers.Layer):
    """Attention by the kernel of the backend, with a mask `(batch, 1, 1, time)`."""

    def __init__(self, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.out = layers.Dense(3 * dim), layers.Dense(dim)
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        self.into.build(shape)
        self.out.build(shape)

    def call(self, x: Any, mask: Any = None) -> Any:
        rows, steps, dim = ops.shape(x)[0], x.shape[1], x.shape[2]
        parts = ops.reshape(self.into(x), (rows, steps, 3, self.heads, -1))
        mask = None if mask is None else mask[:, None, None]
        y = ops.dot_product_attention(*ops.unstack(parts, axis=2), mask=mask)
        return self.out(ops.reshape(y, (rows, steps, dim)))


class Block(layers.Layer):
    """A block of an encoder, as it is usually written."""

    def __init__(self, attention: type, dim: int) -> None:
        super().__init__()
        self.attention = attention(8, dim // 8)
        self.before, self.between = (layers.LayerNormalization() for _ in range(2))
        self.wide, self.narrow = layers.Dense(4 * dim, "gelu"), layers.Dense(dim)
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)
        for layer in (self.before, self.between, self.wide):
            layer.build(shape)
        self.narrow.build((*shape[:-1], self.wide.units))

    def call(self, x: Any, mask: Any = None) -> Any:
        h = self.before(x)
        x = x + self.attention(h, h, query_mask=mask, value_mask=mask, key_mask=mask)
        return x + self.narrow(self.wide(self.between(x)))


def _model(layer: Any, sizes: Sizes, words: int = WORDS) -> Any:
    ids = keras.Input((sizes.steps,), dtype="int32")
    x = layers.Embedding(words, sizes.dim, mask_zero=True)(ids)
    calls = isinstance(layer, layers.MultiHeadAttention)
    model = keras.Model(ids, layer(x, x) if calls else layer(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def _training(model: Any, ids: np.ndarray) -> Callable[[], Any]:
    target = np.zeros((len(ids), *model.output.shape[1:]), "float32")
    return lambda: model.train_on_batch(ids, target)


def _inference(model: Any, ids: np.ndarray) -> Callable[[], Any]:
    return lambda: model.predict_on_batch(ids)


def attention(sizes: Sizes) -> Iterator[Case]:
    heads, dim = 8, sizes.dim // 8
    models = {
        "stock": _model(layers.MultiHeadAttention(heads, dim), sizes),
        "ours": _model(kp.layers.MaskedMultiHeadAttention(heads, dim), sizes),
        "fused": _model(FusedAttention(heads, sizes.dim), sizes),
    }
    for mode in (_inference, _training):
        for share in sizes.shares:
            ids = batch(share, sizes.rows, sizes.steps)
            ways = {name: mode(model, ids) for name, model in models.items()}
            ways["floor"] = mode(models["stock"], dense(ids))
            yield Case(f"attention,{mode.__name__.replace('_', ' ')}", share, ways)


def encoder(sizes: Sizes) -> Iterator[Case]:
    def stack(attention: type) -> Any:
        blocks = [Block(attention, sizes.dim) for _ in range(sizes.blocks)]
        made = keras.Sequential(blocks)
        made.supports_masking = True  # Keras says that it does not, and passes it on.
        return made

    stock = _model(stack(layers.MultiHeadAttention), sizes)
    inner = stack(kp.layers.MaskedMultiHeadAttention)
    ours = _model(kp.layers.RealTokens(inner), sizes)
    for share in sizes.shares:
        if share in (0.0, 0.5, 0.75):
            ids = batch(share, sizes.rows, sizes.steps)
            ways = {name: _training(m, ids) for name, m in _both(stock, ours)}
            ways["floor"] = _training(stock, dense(ids))
            yield Case(f"encoder of {sizes.blocks} blocks, training", share, ways)


def recurrent(sizes: Sizes) -> Iterator[Case]:
    units = sizes.dim // 4
    stock = _model(layers.LSTM(units, return_sequences=True), sizes)
    ours = _model(
        kp.layers.RealTokens(layers.LSTM(units, return_sequences=True)), sizes
    )
    ids = batch(0.5, sizes.rows, sizes.steps)
    ways = {name: _training(m, ids) for name, m in _both(stock, ours)}
    yield Case("LSTM, training", 0.5, {**ways, "floor": _training(stock, dense(ids))})


def embedding(sizes: Sizes) -> Iterator[Case]:
    def model(table: Any) -> Any:
        ids = keras.Input((sizes.steps,), dtype="int32")
        model = keras.Model(ids, table(ids))
        model.compile(keras.optimizers.Adam(0.0), "mse")
        return model

    ours = kp.layers.ExtendableEmbedding
    ids = batch(0.5, sizes.rows, sizes.steps)
    stock = model(layers.Embedding(sizes.table, 64, mask_zero=True))
    padded = model(ours(sizes.table, 64, pad_id=0))
    ways = {name: _training(m, ids) for name, m in _both(stock, padded)}
    yield Case("embedding, training", 0.5, ways)
    stock = model(layers.Embedding(sizes.table, 64, mask_zero=True))
    rows = model(ours(sizes.table, 64, pad_id=0, frozen_rows=sizes.table - 100))
    ways = {name: _training(m, ids) for name, m in _both(stock, rows)}
    yield Case("embedding, 100 new rows trained", 0.5, ways)


def _both(stock: Any, ours: Any) -> list[tuple[str, Any]]:
    return [("stock", stock), ("ours", ours)]


def small(sizes: Sizes) -> Iterator[Case]:
    """Pooling, softmax and losses: the forward pass and the gradient."""
    real = batch(0.5, sizes.rows, sizes.steps) > 0
    mask = ops.convert_to_tensor(real)
    x = np.random.default_rng(0).random((*real.shape, 64)).astype("float32")
    labels = ops.convert_to_tensor(np.zeros(real.shape, "int32"))
    one_hot = ops.one_hot(labels, 64)

    def masked(loss: Any, target: Any) -> Callable[[Any], Any]:
        def call(x: Any) -> Any:
            x = x * 1.0  # No tensor of the caller's gets a mask.
            set_keras_mask(x, mask)
            return loss(target, x)

        return call

    average, softmax = layers.GlobalAveragePooling1D(), layers.Softmax()
    our_average = kp.layers.MaskedGlobalAveragePooling1D()
    our_softmax = kp.layers.MaskedSoftmax()
    scores = np.random.default_rng(0).random((*real.shape, sizes.steps))
    seen = mask[:, None, :]
    losses = keras.losses
    pairs: dict[str, tuple[Any, Any, Any]] = {
        "average pooling": (
            x,
            lambda x: average(x, mask=mask),
            lambda x: our_average(x, mask=mask),
        ),
        "softmax": (
            scores.astype("float32"),
            lambda x: softmax(x, mask=ops.broadcast_to(seen, x.shape)),
            lambda x: our_softmax(x, mask=seen),
        ),
    }
    for name, loss, target in (
        ("sparse categorical", losses.SparseCategoricalCrossentropy, labels),
        ("categorical", losses.CategoricalCrossentropy, one_hot),
    ):
        stock = loss(from_logits=True)
        pairs[f"{name} cross-entropy"] = (
            x,
            masked(stock, target),
            masked(kp.losses.MaskedLoss(stock), target),
        )
    stock = losses.MeanSquaredError()
    pairs["mean squared error"] = (
        x,
        masked(stock, one_hot),
        masked(kp.losses.MaskedLoss(stock), one_hot),
    )
    for name, (given, first, second) in pairs.items():
        ways = {"stock": with_gradient(first, given)}
        yield Case(name, 0.5, {**ways, "ours": with_gradient(second, given)})


CASES = {
    "attention": attention,
    "encoder": encoder,
    "recurrent": recurrent,
    "embedding": embedding,
    "small": small,
}


def mask_bytes(steps: int = 4096, rows: int = 32) -> dict[str, int]:
    """How many bytes the mask of the scores takes in a layer of Keras and in ours."""

    def of(cls: type) -> int:
        seen: list[int] = []

        class Watched(cls):
            def _compute_attention(self, *args: Any, **options: Any) -> Any:
                mask = args[3] if len(args) > 3 else options["attention_mask"]
                seen.append(int(np.prod(mask.shape)))
                return super()._compute_attention(*args, **options)

        layer = Watched(1, 8)
        layer.build((rows, steps, 8), (rows, steps, 8))
        compute_output_spec(
            lambda x, m: layer(x, x, query_mask=m, value_mask=m, key_mask=m),
            keras.KerasTensor((rows, steps, 8)),
            keras.KerasTensor((rows, steps), "bool"),
        )
        return seen[0]

    return {
        "stock": of(layers.MultiHeadAttention),
        "ours": of(kp.layers.MaskedMultiHeadAttention),
    }
