"""Packed rows train a model as its sequences do, each in a row of its own."""

from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.compiled import compiled
from tests.gradients import value_and_gradients

WORDS, DIM, SEGMENTS = 20, 8, 4
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("quick_compile")
# Keras warns at the end of data whose length it does not know, and goes on.
ENDS = "ignore:Your input ran out of data:UserWarning"
TOKENS = [RNG.integers(1, WORDS, n) for n in (5, 2, 7, 2)]


def model_of(task: str, packed: bool) -> keras.Model:
    """A small transformer: ours on packed rows, or Keras's on one sequence."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    positions = keras.Input((None,), dtype="int32", name="positions")
    inputs = {"tokens": tokens, "positions": positions}
    place = keras.layers.Embedding(16, DIM)(positions)
    causal = {"use_causal_mask": task == "language model"}
    if packed:
        segments = keras.Input((None,), dtype="int32", name="segments")
        inputs["segments"] = segments
        word = kp.layers.ExtendableEmbedding(WORDS, DIM, pad_id=0)(tokens)
        x = kp.layers.MaskedAdd()([word, place])
        own = kp.ops.segment_mask(segments, segments)
        attend = kp.layers.MaskedMultiHeadAttention(2, 4)
        x = attend(x, x, attention_mask=own, **causal)
        if task == "classifier":
            x = kp.layers.MaskedSegmentPooling1D(SEGMENTS)([x, segments])
    else:
        x = keras.layers.Embedding(WORDS, DIM)(tokens) + place
        x = keras.layers.MultiHeadAttention(2, 4)(x, x, **causal)
        if task == "classifier":
            x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(WORDS)(x))


def data_of(task: str) -> tuple[list[np.ndarray], Any, list[float]]:
    weights = RNG.uniform(0.5, 2, len(TOKENS)).tolist()
    if task == "language model":
        return [t[:-1] for t in TOKENS], [t[1:] for t in TOKENS], weights
    if task == "tagger":
        return TOKENS, [RNG.integers(0, WORDS, len(t)) for t in TOKENS], weights
    return TOKENS, RNG.integers(0, WORDS, len(TOKENS)), weights


def inputs_alone(tokens: np.ndarray) -> dict[str, np.ndarray]:
    return {"tokens": tokens[None], "positions": np.arange(len(tokens))[None]}


@pytest.mark.parametrize("task", ["tagger", "language model", "classifier"])
def test_as_unpacked(task: str) -> None:
    tokens, labels, weights = data_of(task)
    packed, alone = model_of(task, packed=True), model_of(task, packed=False)
    alone.set_weights(packed.get_weights())
    per = "sequence" if task == "classifier" else "step"
    packing = kp.data.Packing(10, batch_size=2, max_segments=SEGMENTS, y_per=per)
    data = kp.data.SequenceDataset(packing, tokens, labels, weights)
    assert data.filled > 0.5
    assert max(x["segments"].max() for x, *_ in data) > 1

    # On JAX, step by step takes a minute.
    way = compiled if keras.backend.backend() == "jax" else lambda function: function
    outputs = data.unpack(packed.predict(data, verbose=0), per)
    expected = way(lambda: [alone(inputs_alone(sequence)) for sequence in tokens])()
    for one, other in zip(outputs, expected, strict=True):
        other = keras.ops.convert_to_numpy(other)[0]
        np.testing.assert_allclose(one, other, atol=1e-5)

    count = len(tokens) if per == "sequence" else sum(map(len, tokens))

    def loss_of(*values: Any) -> Any:
        total = 0.0
        pairs = zip(alone.trainable_variables, values, strict=True)
        with keras.StatelessScope(list(pairs)):
            for sequence, label, weight in zip(tokens, labels, weights, strict=True):
                loss = keras.losses.sparse_categorical_crossentropy(
                    np.atleast_1d(label)[None],
                    keras.ops.reshape(alone(inputs_alone(sequence)), (1, -1, WORDS)),
                    from_logits=True,
                )
                total = total + weight * keras.ops.sum(loss)
        return total / count

    before = [np.array(w) for w in packed.get_weights()]
    loss, gradients = value_and_gradients(way(loss_of), *before)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    packed.compile(
        keras.optimizers.SGD(1.0), kp.losses.MaskedLoss(entropy, pad_label=-1)
    )
    assert len(data) == 1
    history = packed.fit(data, verbose=0).history
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-5)
    for old, gradient, new in zip(before, gradients, packed.get_weights(), strict=True):
        np.testing.assert_allclose(new, old - gradient, atol=1e-5)


@pytest.mark.filterwarnings(ENDS)
@pytest.mark.parametrize(
    ("form", "batching"),
    [
        ("as_tf_dataset", "packing"),
        ("as_tf_dataset", "buckets"),
        ("as_data_loader", "packing"),
    ],
)
def test_a_stream_trains_as_the_dataset(form: str, batching: str) -> None:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(WORDS, DIM)(tokens)
    model = keras.Model([tokens], keras.layers.Dense(WORDS)(x))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = kp.losses.MaskedLoss(entropy, pad_label=-1)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    start = model.get_weights()
    way = {
        "packing": kp.data.Packing(8, batch_size=2),
        "buckets": kp.data.Buckets([4, 8], batch_size=2),
    }[batching]
    longest_first = sorted(TOKENS, key=len, reverse=True)
    trained = []
    examples = [({"tokens": t}, t) for t in longest_first]
    dataset = kp.data.SequenceDataset(way, {"tokens": longest_first}, longest_first)
    stream = kp.data.SequenceStream(way, lambda: iter(examples))
    for data in (dataset, getattr(stream, form)()):
        model.set_weights(start)
        model.fit(data, epochs=2, shuffle=False, verbose=0)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
