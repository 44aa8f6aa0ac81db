"""Attention on the real tokens alone answers as it does on the whole batch."""

from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.layers import projected_attention
from keras_padsafe.ops import real_tokens
from keras_padsafe.ops.row_cuts import find_spans
from keras_padsafe.ops.strips import one_a_strip, packed
from tests.compiled import compiled, in_graph
from tests.gradients import value_and_gradients
from tests.layers.attention_layers import PROJECTED, needs, numpy

BATCH, TIME, DIM = 6, 10, 8
# On TensorFlow a graph without XLA cuts rows in its own way.
COMPILERS = [compiled, in_graph][: 2 if keras.backend.backend() == "tensorflow" else 1]
# PyTorch skips padding where it does not compile, JAX where it does.
HOW_TO_FIT = {"jax": [True], "tensorflow": [True, False], "torch": [False]}[
    keras.backend.backend()
]


def padding(time: int = TIME) -> np.ndarray:
    """Rows padded right, left, on both sides, inside, wholly and not at all."""
    real = np.zeros((BATCH, time), "bool")
    real[0, :3], real[1, -4:], real[2, 2:6], real[3, [1, 4, 5]] = (True,) * 4
    real[5] = True
    return real


def tokens(real: np.ndarray, behind: float = float("nan")) -> np.ndarray:
    x = np.random.default_rng(real.size).normal(size=(*real.shape, DIM))
    return np.where(real[..., None], x, behind).astype("float32")


def by_both_paths(
    call: Any, *arrays: np.ndarray, compile_it: Any = compiled
) -> list[Any]:
    """Returns value and gradients of the compiled call, padding skipped and not."""
    results = []
    for enabled in (True, False):

        def weighted(*tensors: Any) -> Any:
            y = call(*tensors)
            return y * keras.ops.reshape(
                keras.ops.arange(y.shape[1] * DIM, dtype="float32") / 50,
                (y.shape[1], DIM),
            )

        with kp.ops.follow_real_tokens(enabled):
            eager_only = keras.backend.backend() == "torch"  # dynamo runs all whole
            function = weighted if eager_only else compile_it(weighted)
            results.append(value_and_gradients(function, *arrays))
    return results


def assert_same(results: list[Any]) -> None:
    (fast, fast_gradients), (whole, whole_gradients) = results
    assert np.isfinite(fast).all()
    np.testing.assert_allclose(fast, whole, atol=1e-5)
    for one, other in zip(fast_gradients, whole_gradients, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that skipped padding."""
    seen: list[Any] = []
    inner = projected_attention.on_real_tokens

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(args)
        return inner(*args, **options)

    monkeypatch.setattr(projected_attention, "on_real_tokens", spy)
    # Two groups of rows and more, however small the batch is.
    monkeypatch.setattr(real_tokens, "_TOKENS", 30)
    monkeypatch.setattr(real_tokens, "_PARTS", 2)
    return seen


@pytest.mark.parametrize("make", PROJECTED.values(), ids=PROJECTED)
@pytest.mark.parametrize("options", [{}, {"use_causal_mask": True}], ids=str)
@pytest.mark.parametrize("compile_it", COMPILERS)
def test_same_answer_and_gradients(
    make: Any, options: Any, compile_it: Any, cuts: list[Any]
) -> None:
    layer, real = make(), padding()
    layer.build((BATCH, TIME, DIM), (BATCH, TIME, DIM))

    def call(x: Any, shown: Any) -> Any:
        mask = keras.ops.cast(shown, "bool")
        return layer(x, x, query_mask=mask, value_mask=mask, **options)

    arrays = tokens(real), real.astype("float32")
    assert_same(by_both_paths(call, *arrays, compile_it=compile_it))
    assert cuts


@needs("sliding_window")
@pytest.mark.parametrize("masked", ["both", "keys", "queries"])
@pytest.mark.parametrize("compile_it", COMPILERS)
def test_cross_attention_in_a_window(
    masked: str, compile_it: Any, cuts: list[Any]
) -> None:
    layer = kp.layers.MaskedMultiHeadAttention(2, 4, sliding_window=4)
    real, real_keys = padding(), padding(TIME + 3)
    layer.build((BATCH, TIME, DIM), (BATCH, TIME + 3, DIM))
    everywhere = np.random.default_rng(1).random((BATCH, 1, TIME, TIME + 3)) < 0.8

    def call(x: Any, z: Any, shown: Any, shown_keys: Any, mask: Any) -> Any:
        return layer(
            x,
            z,
            query_mask=None if masked == "keys" else keras.ops.cast(shown, "bool"),
            value_mask=(
                None if masked == "queries" else keras.ops.cast(shown_keys, "bool")
            ),
            attention_mask=keras.ops.cast(mask, "bool"),
        )

    behind = (
        0.0 if masked == "keys" else np.nan,
        0.0 if masked == "queries" else np.nan,
    )
    arrays = tokens(real, behind[0]), tokens(real_keys, behind[1])
    shown = [a.astype("float32") for a in (real, real_keys, everywhere)]
    assert_same(by_both_paths(call, *arrays, *shown, compile_it=compile_it))
    assert cuts


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, TIME), (BATCH, 2, 1, 1), (BATCH, TIME, TIME)], ids=str
)
def test_a_mask_of_scores_is_cut_as_rows_are(shape: Any, cuts: list[Any]) -> None:
    layer, real = kp.layers.MaskedMultiHeadAttention(2, 4), padding()
    layer.build((BATCH, TIME, DIM), (BATCH, TIME, DIM))
    seen = np.random.default_rng(1).random(shape) < 0.7

    def call(x: Any, shown: Any) -> Any:
        mask = keras.ops.cast(shown, "bool")
        return layer(x, x, query_mask=mask, value_mask=mask, attention_mask=seen)

    assert_same(by_both_paths(call, tokens(real), real.astype("float32")))
    assert cuts


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16"])
def test_other_dtypes(dtype: str, cuts: list[Any]) -> None:
    layer = kp.layers.MaskedMultiHeadAttention(2, 4, dtype=dtype)
    real = padding()
    layer.build((BATCH, TIME, DIM), (BATCH, TIME, DIM))

    def call(x: Any, shown: Any) -> Any:
        mask = keras.ops.cast(shown, "bool")
        y = layer(x, x, query_mask=mask, value_mask=mask)
        return keras.ops.cast(y, "float32")

    (fast, _), (whole, _) = by_both_paths(call, tokens(real), real.astype("float32"))
    np.testing.assert_allclose(fast, whole, atol=2e-2)
    assert cuts


@pytest.mark.parametrize("jit_compile", HOW_TO_FIT)
def test_fit_trains_the_same_weights_and_draws_dropout(
    jit_compile: bool, cuts: list[Any]
) -> None:
    ids = np.where(padding(), np.arange(1, TIME + 1), 0).astype("int32")
    target = np.ones((BATCH, TIME, DIM), "float32")
    trained = []
    for enabled, dropout in ((True, 0.0), (False, 0.0), (True, 0.5)):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((TIME,), dtype="int32")
        x = keras.layers.Embedding(TIME + 1, DIM, mask_zero=True)(inputs)
        layer = kp.layers.MaskedMultiHeadAttention(2, 4, dropout=dropout)
        model = keras.Model(inputs, layer(x, x))
        model.compile(keras.optimizers.SGD(5.0), "mse", jit_compile=jit_compile)
        seeds = [numpy(v) for v in layer.variables if "int" in v.dtype]
        with kp.ops.follow_real_tokens(enabled):
            # The last batch is smaller, so TensorFlow knows the size of none.
            model.fit(ids, target, batch_size=4, shuffle=False, verbose=0)
        trained.append([numpy(w) for w in model.trainable_weights])
        now = [numpy(v) for v in layer.variables if "int" in v.dtype]
        moved = any((a != b).any() for a, b in zip(seeds, now, strict=True))
        # On PyTorch, Keras drops without a seed of its own.
        assert moved == (dropout > 0 and keras.backend.backend() != "torch")
    for one, other in zip(*trained[:2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert any((a != b).any() for a, b in zip(trained[0], trained[2], strict=True))
    assert cuts


jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="elsewhere each row has a strip"
)


@pytest.mark.parametrize("lay", [one_a_strip, pytest.param(packed, marks=jax_only)])
def test_put_back_undoes_cut(lay: Any) -> None:
    real = padding()
    strips = lay(find_spans([keras.ops.convert_to_tensor(real)]))
    x = tokens(real, 0.0)
    number = keras.ops.zeros((), "int32")
    whole = strips.cut(keras.ops.convert_to_tensor(x), {1: 0}, number, BATCH, [TIME])
    np.testing.assert_array_equal(numpy(strips.put_back(whole, {1: 0})), x)


@jax_only
def test_the_longest_first_each_in_the_first_slot_with_room() -> None:
    lengths = [3, 4, 4, 0, 6, 10]  # 10, 6 + 4, 4 + 3
    real = np.arange(TIME) < np.array(lengths)[:, None]
    strips = packed(find_spans([keras.ops.convert_to_tensor(real)]))
    assert int(strips.used) == 3
    held = [set(each[each >= 0] // TIME) for each in numpy(strips.sources[0])]
    assert held == [{5}, {2, 4}, {0, 1}, set(), set(), set()]


def test_says_why_a_batch_runs_whole() -> None:
    x, mask = keras.ops.ones((4, 8, 2)), keras.ops.ones((4, 8), "bool")
    assert real_tokens.why_whole([x], [None]) == "nothing is masked"
    unknown = keras.KerasTensor((None, 8), "bool")
    assert "construction" in str(real_tokens.why_whole([x], [unknown]))
    shared = real_tokens.why_whole([x], [mask[:1]])
    assert shared == "a mask stands for several rows or steps"
    with kp.ops.follow_real_tokens(False):
        assert real_tokens.why_whole([x], [mask]) == "it was switched off"
    with kp.ops.follow_real_tokens(True):
        by_hand = real_tokens.why_whole([x], [mask])
    jax = keras.backend.backend() == "jax"
    assert by_hand == ("JAX would compile each length anew" if jax else None)


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="its processes know of one device each"
)
def test_on_several_devices_a_batch_runs_whole() -> None:
    real = padding()
    x, mask = map(keras.ops.convert_to_tensor, (tokens(real), real))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            assert "devices" in str(real_tokens.why_whole([x], [mask]))
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        assert "devices" in str(real_tokens.why_whole([x], [mask]))
    finally:
        keras.distribution.set_distribution(None)
