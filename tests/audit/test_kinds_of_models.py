"""Models as users write them: each fault is named once, at the call that makes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.audit import check_padding, find_nonfinite, trace_masks

# Shapes that other tests have too are compiled once.
from .padding_zoo import IDS, WIDTH

pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask information")

OTHER = np.random.default_rng(0).integers(1, 50, IDS.shape)
DOCUMENTS = np.random.default_rng(0).integers(1, 9, (3, 4, 5)).astype("int32")
DOCUMENTS[:, :, 3:] = 0
DOCUMENTS[1:, 2:] = 0


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


class Attention(layers.Layer):
    """Written by hand, with layers inside; `sign` says what becomes of the mask."""

    def __init__(self, sign: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.sign = sign
        self.parts = [layers.Dense(4) for _ in range(3)]

    def build(self, shape: Any) -> None:
        for part in self.parts:
            part.build(shape)

    def call(self, x: Any, mask: Any = None) -> Any:
        query, key, value = (part(x) for part in self.parts)
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        if mask is not None and self.sign:
            hidden = ops.cast(mask if self.sign < 0 else ops.logical_not(mask), x.dtype)
            scores = scores - 1e9 * hidden[:, None]
        return ops.matmul(ops.softmax(scores), value)


class TokensAndPositions(layers.Layer):
    """Takes ids, makes a mask inside and does not pass it on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(50, WIDTH, mask_zero=True)
        self.positions = layers.Embedding(64, WIDTH)

    def build(self, shape: Any) -> None:
        self.tokens.build(shape)
        self.positions.build(shape)

    def call(self, ids: Any) -> Any:
        return self.tokens(ids) + self.positions(ops.arange(ops.shape(ids)[1]))


class Over(layers.Layer):
    """What a function makes of the input; it uses no mask."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


class Beside(layers.Layer):
    """What a function makes of vectors and ids; it says that it uses the mask."""

    def __init__(self, function: Callable[[Any, Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.supports_masking = True

    def call(self, x: Any, ids: Any) -> Any:
        return self.function(x, ids)


def _queries_hidden(x: Any, ids: Any) -> Any:
    """The mask on the wrong axis: every key is seen."""
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    scores = scores - 1e9 * ops.cast(ids == 0, x.dtype)[:, :, None]
    return ops.matmul(ops.softmax(scores), x)


def tokens(ids: Any) -> Any:
    return layers.Embedding(50, WIDTH, mask_zero=True, name="tokens")(ids)


def both_ways(x: Any) -> Any:
    return layers.Bidirectional(
        layers.SimpleRNN(4, return_sequences=True), name="both"
    )(x)


def mean(x: Any, name: str, axis: int = 1) -> Any:
    return Over(lambda y: ops.mean(y, axis), name=name)(x)


class Fault(NamedTuple):
    build: Callable[[Any], Any]
    leak: str
    """What `check_padding` names first."""
    mask: str
    """What `trace_masks` names first."""


FAULTS = {
    "maximum after both ways": Fault(
        lambda ids: layers.GlobalMaxPooling1D(name="top")(both_ways(tokens(ids))),
        "top",
        "top",
    ),
    "mean after both ways": Fault(
        lambda ids: mean(both_ways(tokens(ids)), "pool"), "pool", "pool"
    ),
    "attention without its mask": Fault(
        lambda ids: layers.GlobalAveragePooling1D()(
            Attention(0, name="attend")(tokens(ids))
        ),
        "attend",
        "attend",
    ),
    "attention with the mask inverted": Fault(
        lambda ids: layers.GlobalAveragePooling1D()(
            Attention(-1, name="attend")(tokens(ids))
        ),
        "attend",
        "attend",
    ),
    "attention beside its ids": Fault(
        lambda ids: layers.GlobalAveragePooling1D()(
            Beside(_queries_hidden, name="attend")(tokens(ids), ids)
        ),
        "attend",
        "attend",
    ),
    "a sum that hands on the mask": Fault(
        lambda ids: Beside(lambda x, _: ops.sum(x, 1), name="sum")(tokens(ids), ids),
        "sum",
        "sum",
    ),
    "the last step": Fault(
        lambda ids: Over(lambda x: x[:, -1], name="last")(tokens(ids)), "last", "last"
    ),
    "read backwards": Fault(
        lambda ids: layers.SimpleRNN(3, name="reader")(
            Over(lambda x: ops.flip(x, 1), name="flip")(tokens(ids))
        ),
        "reader",
        "flip",
    ),
    "ids whose mask stays inside": Fault(
        lambda ids: mean(TokensAndPositions(name="embed")(ids), "pool"),
        "pool",
        "embed",
    ),
}


def model_of(build: Callable[[Any], Any], length: int | None = None) -> keras.Model:
    ids = keras.Input((length,), dtype="int32")
    return keras.Model(ids, layers.Dense(2)(build(ids)))


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_finding(name: str) -> None:
    fault = FAULTS[name]
    model = model_of(fault.build)
    assert [f.place for f in trace_masks(model, IDS) if f.severity == "error"] == [
        fault.mask
    ]
    leaks = [f.place for f in check_padding(model, IDS) if f.severity == "error"]
    # Where padding is set to zero, no maximum of this batch need show it.
    assert leaks == [fault.leak] or (not leaks and "maximum" in name)


def test_one_lost_mask_with_two_readers_is_one_finding() -> None:
    def build(ids: Any) -> Any:
        x = tokens(ids) * 2.0
        readers = [layers.SimpleRNN(3, name=name) for name in ("one", "other")]
        return layers.Concatenate()([reader(x) for reader in readers])

    model = model_of(build)
    (leak,) = (f for f in check_padding(model, IDS) if f.severity == "error")
    assert {leak.place, *leak.evidence["also"]} == {"one", "other"}
    assert "No mask reaches it. It does not reach" in leak.message
    (lost,) = trace_masks(model, IDS)
    assert sorted(lost.evidence["read_by"]) == ["one", "other"]


@pytest.mark.parametrize(
    "build",
    [
        lambda ids: layers.GlobalAveragePooling1D()(both_ways(tokens(ids))),
        lambda ids: layers.GlobalAveragePooling1D()(Attention(1)(tokens(ids))),
        lambda ids: Over(lambda x: x[:, 0])(tokens(ids)),
    ],
    ids=["both ways", "attention by hand", "the first step"],
)
@pytest.mark.parametrize("length", [None, 8])
def test_those_that_are_right_are_left_alone(build: Any, length: int | None) -> None:
    model = model_of(build, length)
    assert trace_masks(model, IDS).passed
    assert check_padding(model, IDS).passed


def test_words_within_sentences() -> None:
    ids = keras.Input((None, None), dtype="int32")
    words = layers.Embedding(10, 6, mask_zero=True, name="words")(ids)
    sentences = mean(words, "sentence", axis=2)
    model = keras.Model(ids, mean(sentences, "document"))
    report = check_padding(model, DOCUMENTS)
    assert [f.place for f in report][:2] == ["sentence", "document"]
    assert trace_masks(model, DOCUMENTS).findings[0].place == "sentence"


def test_words_within_sentences_with_their_masks() -> None:
    ids = keras.Input((None, None), dtype="int32")
    real = ops.not_equal(ids, 0)
    words = layers.Embedding(10, 6)(ids)
    sentences = kp.ops.masked_mean(words, real[..., None], axis=2)
    answer = kp.ops.masked_mean(sentences, ops.any(real, 2)[..., None], axis=1)
    report = check_padding(keras.Model(ids, answer), DOCUMENTS)
    assert report.passed, str(report)
    assert {v.verdict for v in report.variants.values()} <= {"same", "noise", "skipped"}


def test_series_of_images() -> None:
    frames = keras.Input((None, 2, 3))
    x = layers.TimeDistributed(layers.Flatten())(frames)
    model = keras.Model(frames, layers.SimpleRNN(4, name="reader")(x))
    batch = np.random.default_rng(0).normal(size=(4, 8, 2, 3)).astype("float32")
    batch[IDS == 0] = 0
    assert check_padding(model, batch, 0.0).findings[0].place == "reader"
    masked = keras.Model(frames, layers.SimpleRNN(4)(layers.Masking()(x)))
    assert check_padding(masked, batch, 0.0).passed


@pytest.mark.parametrize("length", [None, 8])
def test_two_sequences_of_one_shape_are_two_timelines(length: int | None) -> None:
    source, target = (keras.Input((length,), dtype="int32") for _ in range(2))
    memory = layers.Embedding(50, WIDTH, mask_zero=True)(source) * 2.0
    x = layers.Embedding(50, WIDTH, mask_zero=True)(target)
    x = layers.MultiHeadAttention(2, 4, name="cross")(x, memory)
    model = keras.Model([source, target], layers.Dense(2)(x))
    batch = [IDS, OTHER]
    assert check_padding(model, batch).findings[0].place == "cross"
    finding = trace_masks(model, batch).findings[0]
    assert (finding.code, finding.evidence["read_by"]) == ("PS301", ["cross"])


def test_what_could_not_be_looked_at_is_no_pass() -> None:
    """Fixed shapes, and a table that no call of a layer reads."""

    class Own(layers.Layer):
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(50, 4), name="table")

        def call(self, ids: Any) -> Any:
            return ops.mean(ops.take(self.table, ids, 0), (1, 2), keepdims=True)[:, 0]

    ids = keras.Input((8,), dtype="int32")
    report = check_padding(keras.Model(ids, Own()(ids)), IDS[:3])
    assert not report.findings
    assert not report.passed
    assert "not looked at: the effect of padding" in str(report)
    assert report.to_json()["not_looked_at"] == list(report.not_looked_at)


def test_a_gradient_that_reaches_no_weight_is_no_finding() -> None:
    """`fit` never notices it; one step later, behind a weight, it is lost."""

    def unsafe(v: Any) -> Any:
        return ops.where(v > 0, 1.0 / (v * ops.cast(v > 0, v.dtype)), 0.0)

    def model(first: Any) -> keras.Model:
        x = keras.Input((3,))
        y = Over(unsafe, name="part")(first(x))
        return keras.Model(x, layers.Dense(1)(y))

    x = np.array([[1.0, -2, 3], [-1, 2, -3]], "float32")
    y = np.ones((2, 1))
    assert find_nonfinite(model(layers.Identity()), x, y, "mse").passed
    weighted = model(layers.Dense(3, kernel_initializer="identity"))
    assert [f.place for f in find_nonfinite(weighted, x, y, "mse")] == ["part"]


def test_a_logarithm_of_zero_in_one_number_a_row() -> None:
    x = keras.Input((3,))
    log = Over(lambda v: ops.log(ops.relu(ops.sum(v, 1, keepdims=True))), name="log")
    report = find_nonfinite(keras.Model(x, log(x)), -np.ones((2, 3), "float32"))
    assert [(f.code, f.place) for f in report] == [("PS508", "log")]
    assert "score" not in report.findings[0].message


def test_zero_times_a_logarithm_of_zero_in_a_loss() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, layers.Activation("softmax")(x))

    def loss(y: Any, p: Any) -> Any:
        return ops.sum(y * ops.log(y) - y * ops.log(p), -1)

    targets = np.eye(3, dtype="float32")
    report = find_nonfinite(model, np.ones((3, 3), "float32"), targets, loss)
    assert [(f.code, f.place) for f in report] == [("PS508", "loss")]
    assert "root" not in report.findings[0].message


def test_repair_says_what_it_could_not_tell(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 8, name="tokens")(ids)
    keras.Model(ids, layers.LSTM(3, name="reader")(x)).save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert report.verdict == "not proved"
    (said,) = report.not_looked_at
    assert "no layer makes a mask" in said
    assert "'reader' read every step" in said
    assert "mask_zero=True at 'tokens'" in said


def test_ones_like_a_slice_loses_no_mask(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    x = tokens(ids)
    ones = ops.ones_like(x[..., :1])
    y = layers.GRU(3)(x) * ops.mean(ones, 1)
    keras.Model(ids, y).save(tmp_path / "model.keras")
    report = kp.audit.check_config(tmp_path / "model.keras")
    assert [f for f in report if f.place.startswith("get_item")] == []


def test_grouped_attention_is_safe_for_ordinary_rows(tmp_path: Path) -> None:
    ids = keras.Input((None,), dtype="int32")
    x = tokens(ids)
    x = layers.GroupQueryAttention(4, 4, 2)(x, x)
    keras.Model(ids, layers.GlobalAveragePooling1D()(x)).save(tmp_path / "model.keras")
    report = kp.audit.check_config(tmp_path / "model.keras")
    assert {f.code for f in report} == {"PS307"}
