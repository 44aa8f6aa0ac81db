"""What a wrapper calls many times is audited as any other layer, and named."""

import weakref
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_padsafe.audit import check_padding, find_nonfinite, trace_masks
from keras_padsafe.audit.run import record_calls
from keras_padsafe.audit.run.find_timelines import born_masks, find_timelines
from keras_padsafe.audit.run.model_runs import ModelRuns, outputs_of
from keras_padsafe.audit.run.padded_batch import PaddedBatch
from keras_padsafe.audit.run.padded_runs import PaddedRuns

pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask information")

DOCUMENTS = np.array(
    [
        [[1, 2, 3, 0], [4, 5, 0, 0], [0, 0, 0, 0]],
        [[2, 0, 0, 0], [3, 3, 1, 5], [6, 1, 0, 0]],
    ],
    "int32",
)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def tokens(ids: Any) -> Any:
    return layers.Embedding(9, 4, mask_zero=True, name="tokens")(ids)


def documents(read_words: Any) -> keras.Model:
    """Words are read in each sentence alone, then the sentences, with a mask."""
    words = keras.Input((None,), dtype="int32")
    word = keras.Model(words, read_words(words), name="word")
    ids = keras.Input((None, None), dtype="int32")
    sentences = layers.TimeDistributed(word, name="each")(ids)
    real = ops.any(ops.not_equal(ids, 0), -1)
    return keras.Model(ids, layers.GRU(3)(sentences, mask=real))


def test_a_lost_mask_inside_is_seen() -> None:
    model = documents(lambda i: layers.LSTM(3, name="reader")(2.0 * tokens(i)))
    (lost,) = trace_masks(model, DOCUMENTS)
    assert (lost.code, lost.place) == ("PS301", "each/word/multiply")
    assert lost.evidence["read_by"] == ["each/word/reader"]
    assert lost.evidence["last_seen"] == "each/word/tokens"
    (leak,) = check_padding(model, DOCUMENTS)
    assert (leak.code, leak.place) == ("PS402", "each/word/reader")


def test_a_layer_inside_that_uses_its_mask_is_left_alone() -> None:
    model = documents(lambda i: layers.LSTM(3, name="reader")(tokens(i)))
    found = trace_masks(model, DOCUMENTS)
    assert found.passed, str(found)
    (row,) = (row for row in found.rows if row.path == "each/word/reader")
    assert (row.mask_in, row.used) == (("mask",), ("mask",))
    assert check_padding(model, DOCUMENTS).passed


@pytest.mark.parametrize("depth", [1, 2])
def test_a_value_lost_inside_is_named_with_the_rows_of_the_batch(depth: int) -> None:
    part = layers.Lambda(ops.sqrt, name="root")
    for name in ("inner", "outer")[:depth]:
        part = layers.TimeDistributed(part, name=name)
    x = np.ones((3, 4, 5, 2)[: depth + 2], "float32")
    x[1, 2] = -1
    (finding,) = find_nonfinite(keras.Sequential([part, layers.Flatten()]), x)
    assert finding.code == "PS510"
    assert finding.place == "/".join((*("outer", "inner")[2 - depth :], "root"))
    assert finding.evidence["rows"] == [1]
    assert "the square root of a negative number" in finding.message
    if depth == 1:
        assert finding.evidence["positions"] == [[1, 2]]


class MinusMeanOfRows(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - ops.mean(x, 0, keepdims=True)


@pytest.mark.parametrize("inner", [MinusMeanOfRows, lambda: layers.Dense(3)])
def test_the_answer_is_that_of_the_model(inner: Any) -> None:
    """All steps in one call, where they are as rows; else step by step."""
    model = keras.Sequential([layers.TimeDistributed(inner(), name="each")])
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    expected = ops.convert_to_numpy(model(x))
    record = ModelRuns(model, x).record()
    np.testing.assert_allclose(outputs_of(record).outputs[0].array, expected, 1e-5)
    seen = [key for key in record if key[0].count("/") == 1]
    assert len(seen) == (0 if inner is MinusMeanOfRows else 1)


IDS = np.array([[5, 3, 7, 2, 1, 4], [4, 0, 0, 0, 0, 0], [2, 2, 5, 0, 0, 0]], "int32")


@pytest.mark.parametrize(
    "reader",
    [
        lambda: layers.GlobalAveragePooling1D(name="reader"),
        lambda: layers.GlobalMaxPooling1D(name="reader"),
        lambda: layers.GRU(3, name="reader"),
        lambda: layers.Lambda(lambda x: x[:, -1], name="reader"),
    ],
    ids=["mean", "max", "recurrent", "last"],
)
def test_zeros_in_padding_are_read_also_where_the_length_is_fixed(reader: Any) -> None:
    ids = keras.Input((6,), dtype="int32")
    x = tokens(ids) + layers.Embedding(6, 4)(ops.arange(6))[None]
    real = ops.cast(ops.not_equal(ids, 0), "float32")[..., None]
    (lost,) = trace_masks(keras.Model(ids, reader()(x * real)), IDS)
    assert (lost.code, lost.evidence["last_seen"]) == ("PS301", "tokens")
    assert lost.evidence["read_by"] == ["reader"]
    summed = keras.Model(ids, ops.sum(x * real, 1) / ops.sum(real, 1))
    assert trace_masks(summed, IDS).passed


def test_a_layer_that_keeps_its_state_is_tried_from_the_same_one() -> None:
    ids = keras.Input(batch_shape=(3, 6), dtype="int32")
    model = keras.Model(ids, layers.LSTM(3, stateful=True)(tokens(ids)))
    found = trace_masks(model, IDS)
    assert found.passed, str(found)


def test_a_constant_answer_at_padding_counts_if_training_moves_it() -> None:
    def tagger(last: Any) -> Any:
        ids = keras.Input((None,), dtype="int32")
        both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
        x = layers.Dense(4, name="tags")(both(tokens(ids)))
        return trace_masks(keras.Model(ids, last(x, ids)), IDS)

    (counted,) = tagger(lambda x, ids: ops.softmax(x / 2.0))
    assert counted.code == "PS305"
    # Nothing that is trained has a part in these.
    hidden = tagger(lambda x, ids: ops.where(ops.not_equal(ids, 0)[..., None], x, 0.0))
    assert hidden.passed, str(hidden)


def test_no_second_run_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = keras.Input((None,), dtype="int32")
    x = tokens(ids)
    for _ in range(30):
        x = layers.Dense(4)(x)
    runs = ModelRuns(keras.Model(ids, x), IDS)
    record = runs.record()
    lines = find_timelines(runs.inputs, 0, born_masks(record))
    padded = PaddedRuns(runs, record, PaddedBatch(runs.inputs, tuple(lines), 0))
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def counted(*args: Any) -> Any:
        nonlocal most
        value = read_tensor(*args)
        alive.add(value)
        most = max(most, len(alive))
        return value

    read_tensor = record_calls.read_tensor
    monkeypatch.setattr(record_calls, "read_tensor", counted)
    found = padded.moved(padded.longer)
    assert len(found) > 30
    assert most < 10
