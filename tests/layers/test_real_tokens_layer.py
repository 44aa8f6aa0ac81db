"""`RealTokens` answers as the layers in it do, whatever they are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.layers import real_tokens as layer_module
from keras_padsafe.ops import real_tokens
from tests.compiled import compiled, in_graph
from tests.gradients import value_and_gradients
from tests.layers.attention_layers import numpy
from tests.layers.test_real_tokens import BATCH, DIM, TIME, padding

pytestmark = [
    pytest.mark.usefixtures("quick_compile"),
    # Of layers that take a mask and do not say so, where they run alone.
    pytest.mark.filterwarnings("ignore:.*not support masking"),
]
BACKEND = keras.backend.backend()


@keras.saving.register_keras_serializable("real_tokens_test")
class Block(keras.layers.Layer):
    """A block as users write it: it takes the mask."""

    def __init__(self, table: int = 0, dropout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.table, self.dropout = table, dropout
        self.supports_masking = not table  # One that does not say so.
        self.attention = kp.layers.MaskedMultiHeadAttention(2, 4, dropout=dropout)
        self.norm = keras.layers.LayerNormalization()
        self.dense = keras.layers.Dense(DIM, "gelu")
        self.positions = keras.layers.Embedding(table, DIM) if table else None

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)
        for layer in (self.norm, self.dense, self.positions):
            if layer is not None:
                layer.build(shape)

    def call(self, x: Any, mask: Any = None) -> Any:
        if self.positions is not None:
            x = x + self.positions(keras.ops.arange(x.shape[1]))
        h = self.norm(x)
        x = x + self.attention(h, h, query_mask=mask, value_mask=mask)
        return x + self.dense(x)

    def get_config(self) -> dict[str, Any]:
        own = {"table": self.table, "dropout": self.dropout}
        return {**super().get_config(), **own}


def a_stack() -> Any:
    return keras.Sequential([Block(), keras.layers.LSTM(DIM, return_sequences=True)])


def a_model() -> Any:
    x = keras.Input((None, DIM))
    h = keras.layers.Bidirectional(keras.layers.GRU(DIM // 2, return_sequences=True))
    return keras.Model(x, keras.layers.Add()([x, h(x)]))


def plain_attention() -> Any:
    x = keras.Input((None, DIM))
    h = kp.layers.MaskedAttention()([x, x])
    return keras.Model(x, keras.layers.Dense(DIM)(h))


LAYERS = {
    "blocks": lambda: keras.Sequential([Block(), Block()]),
    "plain attention": plain_attention,
    "a stack": a_stack,
    "a model": a_model,
    "a table of positions": lambda: Block(table=TIME),
    "the last state": lambda: keras.layers.LSTM(DIM),
}


def tokens(real: np.ndarray) -> np.ndarray:
    x = np.random.default_rng(real.size).normal(size=(*real.shape, DIM))
    return np.where(real[..., None], x, 0.0).astype("float32")


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that skipped padding; the steps that each of them kept."""
    seen: list[Any] = []
    inner = layer_module.on_real_tokens

    def spy(f: Any, *args: Any, **options: Any) -> Any:
        def spied(*given: Any) -> Any:
            seen.append(given[0].shape[1])
            return f(*given)

        return inner(spied, *args, **options)

    monkeypatch.setattr(layer_module, "on_real_tokens", spy)
    monkeypatch.setattr(real_tokens, "_TOKENS", 30)
    monkeypatch.setattr(real_tokens, "_PARTS", 2)
    return seen


def values_and_gradients(layer: Any, real: np.ndarray, skip: bool) -> Any:
    """What a layer gives of real tokens, weighted by position, and its gradients."""
    weights = [v for v in layer.trainable_variables if v.shape]

    def weighted(x: Any, shown: Any, *values: Any) -> Any:
        mask = keras.ops.cast(shown, "bool")
        with keras.StatelessScope(list(zip(weights, values, strict=True))):
            y = layer(x, mask=mask)
        if y.shape[1] == TIME:
            y = keras.ops.where(mask[..., None], y, 0.0)
        shape = y.shape[1:]
        size = int(np.prod(shape))
        return y * keras.ops.reshape(
            keras.ops.arange(size, dtype="float32") / 50, shape
        )

    # Dynamo runs all whole; XLA hands no loop of TensorFlow's RNNs to a tape outside.
    blocks = isinstance(layer, Block) or isinstance(getattr(layer, "layer", 0), Block)
    trace = compiled if blocks else in_graph
    with kp.ops.follow_real_tokens(skip):
        return value_and_gradients(
            weighted if BACKEND == "torch" else trace(weighted),
            tokens(real),
            real.astype("float32"),
            *[numpy(w) for w in weights],
        )


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_same_answer_and_gradients(make: Any, cuts: list[Any]) -> None:
    inner, real = make(), padding()
    layer = kp.layers.RealTokens(inner)
    layer.build((BATCH, TIME, DIM))
    fast, gradients = values_and_gradients(layer, real, True)
    # Each size or group is one more; a loop of TensorFlow is traced once.
    assert len(cuts) > (BACKEND != "tensorflow")
    whole, expected = values_and_gradients(inner, real, False)
    rows = real.any(1) if fast.ndim == 2 else slice(None)
    np.testing.assert_allclose(fast[rows], whole[rows], atol=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.skipif(BACKEND != "jax", reason="Others cut rows of any length.")
@pytest.mark.parametrize(("table", "shares"), [(0, True), (TIME, False)])
def test_rows_that_may_share_a_slot_are_compiled_at_one_length(
    table: int, shares: bool, cuts: list[Any]
) -> None:
    layer = kp.layers.RealTokens(Block(table))
    layer.build((BATCH, TIME, DIM))
    values_and_gradients(layer, padding(), True)
    assert (set(cuts) == {TIME}) == shares


def test_padding_on_the_left_is_skipped_where_rows_may_be_moved(
    cuts: list[Any],
) -> None:
    real = np.arange(TIME)[::-1] < np.array([2, 1, 3, 2, 2, 3])[:, None]
    inner, kept = Block(), []
    for shift in (False, True):
        layer = kp.layers.RealTokens(inner, shift=shift)
        layer.build((BATCH, TIME, DIM))
        fast, _ = values_and_gradients(layer, real, True)
        whole, _ = values_and_gradients(inner, real, False)
        np.testing.assert_allclose(fast, whole, atol=1e-5)
        kept.append(cuts.copy())
        cuts.clear()
    if BACKEND == "torch":  # The others trace what may be cut, and not what is.
        assert set(kept[0]) == {TIME}
        assert max(kept[1]) == 3


def a_reader(dropout: float = 0.0) -> Any:
    """Two sequences, an encoder and what reads it, wrapped as one model."""
    x, memory = keras.Input((None, DIM)), keras.Input((None, DIM))
    h = kp.layers.MaskedMultiHeadAttention(2, 4, dropout=dropout)(x, memory)
    reader = keras.Model([x, memory], kp.layers.MaskedAdd()([x, h]))
    ids = keras.Input((TIME,), dtype="int32")
    vectors = keras.layers.Embedding(TIME + 1, DIM, mask_zero=True)(ids)
    encoded = kp.layers.RealTokens(keras.Sequential([Block(dropout=dropout)]))(vectors)
    read = kp.layers.RealTokens(reader)([vectors, encoded])
    return keras.Model(ids, keras.layers.Dense(DIM)(read))


def test_a_model_is_trained_saved_loaded_and_cloned(
    cuts: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "keras_padsafe.layers.projected_attention.on_real_tokens",
        lambda *_, **__: pytest.fail("attention cut what was cut"),
    )
    ids = np.where(padding(), np.arange(1, TIME + 1), 0).astype("int32")
    model = a_reader()
    first = model.get_weights()
    trained = []
    for skip in (True, False):
        model.set_weights(first)
        model.compile(keras.optimizers.SGD(0.01), "mse")
        with kp.ops.follow_real_tokens(skip):
            target = np.ones((*ids.shape, DIM))
            model.fit(ids, target, batch_size=4, shuffle=False, verbose=0)
            answer = numpy(model(ids))
        trained.append([answer, *model.get_weights()])
    assert cuts
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert any((a != b).any() for a, b in zip(first, trained[0][1:], strict=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for copy in (loaded, clone):
        np.testing.assert_allclose(numpy(copy(ids)), trained[0][0], atol=1e-5)


@pytest.mark.parametrize("wrapped", [True, False], ids=["a stack", "attention"])
def test_what_is_lost_in_a_row_stays_in_it(wrapped: bool, cuts: list[Any]) -> None:
    real = np.arange(TIME) < np.array([2, 3, 1, 2, 4, 3])[:, None]
    x, inner = tokens(real), Block()
    x[1, 1] = np.nan
    layer = kp.layers.RealTokens(inner) if wrapped else inner
    layer.build((BATCH, TIME, DIM))
    arrays = [keras.ops.convert_to_tensor(a) for a in (x, real)]

    def call(x: Any, shown: Any) -> Any:
        return layer(x, mask=shown)

    with kp.ops.follow_real_tokens(True):
        y = numpy((call if BACKEND == "torch" else compiled(call))(*arrays))
    lost = np.isnan(np.where(real[..., None], y, 0)).any((1, 2))
    assert lost.tolist() == [False, True, False, False, False, False]


def test_dropout_is_drawn_in_training_alone(cuts: list[Any]) -> None:
    layer, real = kp.layers.RealTokens(Block(dropout=0.5)), padding()
    layer.build((BATCH, TIME, DIM))

    seeds = layer.non_trainable_variables
    arrays = [keras.ops.convert_to_tensor(a) for a in (tokens(real), real)]

    def stateless(x: Any, shown: Any, values: Any, training: bool) -> Any:
        with keras.StatelessScope(list(zip(seeds, values, strict=True))) as scope:
            y = layer(x, mask=shown, training=training)
        return y, [scope.get_current_value(v) for v in seeds]

    def run(training: bool) -> np.ndarray:
        if BACKEND == "torch":
            return numpy(layer(*arrays[:1], mask=arrays[1], training=training))
        call = compiled(lambda *given: stateless(*given, training))
        y, new = call(*arrays, [v.value for v in seeds])
        for variable, value in zip(seeds, new, strict=True):
            variable.assign(value)
        return numpy(y)

    with kp.ops.follow_real_tokens(True):
        np.testing.assert_array_equal(run(False), run(False))
        assert (run(True)[5] != run(True)[5]).any()
    assert cuts
    assert BACKEND != "jax" or set(cuts) == {TIME}  # Rows share strips here too.


def test_padding_may_hold_anything_and_comes_out_as_zeros() -> None:
    real = padding()
    for dtype in ("float32", "mixed_bfloat16"):
        inner = keras.layers.Conv1D(DIM, 3, padding="same", dtype=dtype)
        layer = kp.layers.RealTokens(inner)
        mask = keras.ops.convert_to_tensor(real)
        behind = np.where(real[..., None], tokens(real), np.nan)
        y = layer(keras.ops.convert_to_tensor(behind), mask=mask)
        clean = inner(keras.ops.convert_to_tensor(tokens(real)))
        assert y.dtype == clean.dtype
        assert y._keras_mask is mask
        y, clean = (numpy(keras.ops.cast(t, "float32")) for t in (y, clean))
        np.testing.assert_allclose(y, np.where(real[..., None], clean, 0), atol=1e-5)


class Averaged(keras.layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.mean = keras.metrics.Mean()

    def call(self, x: Any) -> Any:
        self.mean.update_state(x)
        return x


def fixed() -> Any:
    x = keras.Input((TIME, DIM))
    return keras.Model(x, keras.layers.Dense(DIM)(x))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: keras.layers.BatchNormalization(), "moving_mean.*freeze it"),
        (lambda: keras.Sequential([Averaged()]), "'averaged.*mean/total"),
        (lambda: keras.layers.Dense(3, activity_regularizer="l2"), "adds losses"),
        (lambda: keras.layers.LSTM(3, return_state=True), "one tensor"),
        (lambda: keras.layers.MaxPooling1D(2), "a position for each"),
        (fixed, "sequences of any length.*Input\\(\\(None"),
    ],
)
def test_what_does_not_run_by_rows_is_refused(make: Any, told: str) -> None:
    x = keras.layers.Embedding(9, DIM, mask_zero=True)(keras.Input((TIME,)))
    with pytest.raises(kp.errors.PadsafeError, match=f"(?s){told}"):
        kp.layers.RealTokens(make())(x)


class NeedsMask(Block):
    """A block that cannot do without a mask."""

    def call(self, x: Any, mask: Any = None) -> Any:
        return super().call(x, mask[:, :])


def test_a_block_that_needs_its_mask() -> None:
    real = padding()
    x, block = tokens(real), NeedsMask()
    wrapped = numpy(kp.layers.RealTokens(block)(x, mask=real))
    np.testing.assert_allclose(
        wrapped[real], numpy(block(x, mask=real))[real], atol=1e-5
    )


@pytest.mark.skipif(BACKEND == "torch", reason="Nothing is compiled there.")
def test_one_in_another_is_compiled() -> None:
    real = padding()
    x, dense = tokens(real), keras.layers.Dense(DIM)
    nested = kp.layers.RealTokens(
        keras.Sequential([kp.layers.RealTokens(dense), keras.layers.Dense(2)])
    )
    inputs = keras.Input((TIME, DIM))
    mask = keras.Input((TIME,), dtype="bool")
    model = keras.Model([inputs, mask], nested(inputs, mask=mask))
    plain = numpy(nested(x, mask=real))
    model.compile("sgd", "mse", jit_compile=True)
    with kp.ops.follow_real_tokens(True):
        given = [x, real]
        np.testing.assert_allclose(model.predict(given, verbose=0), plain, atol=1e-5)
        assert np.isfinite(model.train_on_batch(given, plain))


def test_says_why_a_layer_cannot_be_built() -> None:
    x, real = tokens(padding()), padding()
    flat = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    for layer in (flat, kp.layers.MaskedMultiHeadAttention(2, 4)):
        with pytest.raises(kp.errors.PadsafeError, match=r"one argument.*any length"):
            kp.layers.RealTokens(layer)(x, mask=real)
    with pytest.raises(kp.errors.PadsafeError, match=r"`shift` .*Received: 'left'"):
        kp.layers.RealTokens(flat, shift="left")  # type: ignore[arg-type]


def test_a_frozen_normalisation_is_not_refused() -> None:
    inner = keras.layers.BatchNormalization()
    inner.trainable = False
    x = keras.layers.Embedding(9, DIM, mask_zero=True)(keras.Input((TIME,)))
    assert kp.layers.RealTokens(inner)(x).shape == (None, TIME, DIM)


def test_inputs_that_are_no_sequences_come_along(cuts: list[Any]) -> None:
    x, extra = keras.Input((None, DIM), name="x"), keras.Input((DIM,), name="extra")
    added = keras.layers.Add()([x, keras.layers.Reshape((1, DIM))(extra)])
    layer = kp.layers.RealTokens(keras.Model({"x": x, "extra": extra}, added))
    real = padding()
    given = {"x": tokens(real), "extra": np.arange(BATCH * DIM).reshape(BATCH, DIM)}
    given = {name: array.astype("float32") for name, array in given.items()}

    def call(x: Any, shown: Any) -> Any:
        extra = keras.ops.convert_to_tensor(given["extra"])
        return layer({"x": x, "extra": extra}, mask={"x": shown, "extra": None})

    arrays = map(keras.ops.convert_to_tensor, (given["x"], real))
    with kp.ops.follow_real_tokens(True):
        y = numpy((call if BACKEND == "torch" else compiled(call))(*arrays))
    expected = given["x"] + given["extra"][:, None]
    np.testing.assert_allclose(y, np.where(real[..., None], expected, 0), atol=1e-6)
    assert cuts
