"""What goes in comes out: once, in its place, from every source."""

from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.errors import DataError

RNG = np.random.default_rng(0)
LENGTHS = (3, 9, 1, 4, 4, 7, 2, 10, 4, 4, 2)
TOKENS = [RNG.integers(1, 99, n).tolist() for n in LENGTHS]
TAGS = [RNG.integers(0, 5, n).tolist() for n in LENGTHS]
KINDS = RNG.integers(0, 5, len(LENGTHS)).tolist()
Packing, Buckets = kp.data.Packing, kp.data.Buckets
Dataset, Stream = kp.data.SequenceDataset, kp.data.SequenceStream


def sequences_in(batches: Any) -> list[tuple[list[int], ...]]:
    """Takes packed batches of tokens and tags apart."""
    found = []
    for x, y in batches:
        for tokens, segments, positions, tags in zip(
            x["tokens"], x["segments"], x["positions"], y, strict=True
        ):
            assert not tokens[segments == 0].any()
            assert (tags[segments == 0] == -1).all()
            for number in range(1, segments.max() + 1):
                own = segments == number
                assert positions[own].tolist() == list(range(own.sum()))
                assert (np.diff(np.flatnonzero(own)) == 1).all()
                found.append((tokens[own].tolist(), tags[own].tolist()))
    return sorted(found)


def padded(length: int, dtype: str = "int32") -> tuple[np.ndarray, np.ndarray]:
    tokens, tags = np.zeros((2, len(TOKENS), length), dtype)
    for row, (own, labels) in enumerate(zip(TOKENS, TAGS, strict=True)):
        start = row % 2 * (length - len(own))  # On either side.
        tokens[row, start : start + len(own)] = own
        tags[row, start : start + len(own)] = labels
    return tokens, tags


class Padded(keras.utils.PyDataset):
    """Padded batches, as a user has them."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(part[index * 4 : index * 4 + 4] for part in padded(12))


def tf_examples() -> Any:
    import tensorflow as tf

    spec = tf.TensorSpec((None,), "int32")
    return tf.data.Dataset.from_generator(
        lambda: zip(TOKENS, TAGS, strict=True), output_signature=(spec, spec)
    )


def tf_batches() -> Any:
    import tensorflow as tf

    return kp.data.unpad_batches(
        tf.data.Dataset.from_tensor_slices(padded(12)).batch(4)
    )


def torch_examples() -> Any:
    from torch.utils.data import DataLoader

    pairs = zip(TOKENS, TAGS, strict=True)
    return DataLoader([tuple(map(np.array, pair)) for pair in pairs], batch_size=None)


def torch_batches() -> Any:
    from torch.utils.data import DataLoader

    return kp.data.unpad_batches(
        DataLoader([*zip(*padded(12), strict=True)], batch_size=4)
    )


SOURCES = {
    "list": lambda: list(zip(TOKENS, TAGS, strict=True)),
    "generator": lambda: lambda: zip(TOKENS, TAGS, strict=True),
    "tf.data": tf_examples,
    "padded tf.data": tf_batches,
    "DataLoader": torch_examples,
    "padded DataLoader": torch_batches,
    "padded PyDataset": lambda: kp.data.unpad_batches(Padded()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_packs_each_sequence_once(source: str) -> None:
    packing = Packing(12, batch_size=2, open_rows=2)
    stream = Stream(packing, SOURCES[source]())
    expected = sorted(zip(TOKENS, TAGS, strict=True))
    for _ in range(2):
        batches = list(stream)
        assert sequences_in(batches) == expected
        assert {x["tokens"].shape for x, _ in batches} == {(2, 12)}
    dataset = Dataset(packing, *zip(*SOURCES["list"](), strict=True))
    assert sequences_in(dataset) == expected


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    def epochs(seed: int | None, workers: int = 1) -> list[Any]:
        packing = Packing(12, batch_size=2)
        data = Dataset(packing, TOKENS, TAGS, shuffle=True, seed=seed, workers=workers)
        found = []
        for _ in range(3):
            assert sequences_in(data) == sorted(zip(TOKENS, TAGS, strict=True))
            found.append([x["tokens"].tolist() for x, _ in data])
            data.on_epoch_end()
        return found

    first = epochs(1)
    assert first == epochs(1)
    assert first != epochs(2)
    assert len({str(epoch) for epoch in first}) == 3
    assert len({len(epoch) for epoch in first}) == 1
    np.random.seed(3)
    by_keras = epochs(None)
    np.random.seed(3)
    assert by_keras == epochs(None)


@pytest.mark.parametrize("workers", [1, 2])
def test_predict_comes_back_in_order(workers: int) -> None:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    model = keras.Model([tokens], tokens * 2)
    data = Dataset(Packing(8, batch_size=2, too_long="split"), TOKENS, workers=workers)
    back = data.unpack(model.predict(data, verbose=0))
    assert [b.tolist() for b in back] == [[2 * t for t in own] for own in TOKENS]


def test_labels_of_sequences_lie_by_segment() -> None:
    packing = Packing(12, batch_size=2, max_segments=3, y_per="sequence")
    vectors = np.eye(5, dtype="float32")[KINDS]
    for labels in (KINDS, vectors):
        data = Dataset(packing, TOKENS, labels, np.arange(11.0))
        kept, weights = [], []
        for x, y, weight in data:
            assert y.shape[:2] == weight.shape == (2, 3)
            real = np.arange(1, 4) <= x["segments"].max(axis=1)[:, None]
            assert (y[~real] == -1).all()
            assert not weight[~real].any()
            kept.append(y), weights.append(weight)
        back = data.unpack(np.concatenate(kept), per="sequence")
        np.testing.assert_array_equal(np.stack(back), labels)
        back = data.unpack(np.concatenate(weights), per="sequence")
        np.testing.assert_array_equal(np.stack(back), np.arange(11.0))


def test_names_fills_and_features() -> None:
    x = {"ids": TOKENS, "vectors": [np.ones((n, 2), "float32") for n in LENGTHS]}
    y = {"tags": TAGS, "kind": KINDS}
    packing = Packing(
        12,
        batch_size=2,
        max_segments=6,
        y_per={"tags": "step", "kind": "sequence"},
        pad_id={"ids": -1, "vectors": np.nan},
        pad_label={"tags": -100, "kind": -2},
    )
    for x_batch, y_batch, weight in Dataset(packing, x, y, {"tags": KINDS}):
        empty = x_batch["segments"] == 0
        assert (x_batch["ids"][empty] == -1).all()
        assert np.isnan(x_batch["vectors"]).all(axis=-1).tolist() == empty.tolist()
        assert ((y_batch["tags"] == -100) == empty).all()
        assert y_batch["kind"].shape == (2, 6)
        assert weight["tags"].shape == (2, 12)


def test_a_weight_of_a_sequence_counts_for_each_step() -> None:
    (batch,) = Dataset(Packing(5, batch_size=1), [[1, 2], [3]], [[1, 2], [3]], [0.5, 2])
    assert batch[2].tolist() == [[0.5, 0.5, 2, 0, 0]]


@pytest.mark.parametrize("source", ["dataset", "stream"])
@pytest.mark.parametrize("drop", [False, True])
def test_buckets_have_few_shapes_and_lose_nothing(source: str, drop: bool) -> None:
    buckets = Buckets([2, 4, 16], [3, 2, 2], y_per="sequence", drop_remainder=drop)
    if source == "dataset":
        data = Dataset(buckets, TOKENS, KINDS, shuffle=True)
        assert (data.filled > 0.65) or drop
    else:
        data = Stream(buckets, [*zip(TOKENS, KINDS, strict=True)])
    sizes = dict(zip([2, 4, 16], [3, 2, 2], strict=True))
    found = []
    for x, y in data:
        assert len(x) == len(y) <= sizes[x.shape[1]]
        assert len(x) == sizes[x.shape[1]] or not drop
        longest = max(np.count_nonzero(row) for row in x)
        assert x.shape[1] == min(b for b in sizes if b >= longest)
        found += [
            (row[row > 0].tolist(), int(kind)) for row, kind in zip(x, y, strict=True)
        ]
    expected = sorted(zip(TOKENS, KINDS, strict=True))
    assert set(map(str, found)) <= set(map(str, expected))
    assert sorted(found) == expected or (drop and len(found) == 9)


@pytest.mark.parametrize(
    ("values", "nothing", "laid"),
    [
        ([True, False], -1, [1, 0, -1, -1]),
        (np.array([1, 200], "uint8"), -1, [1, 200, -1, -1]),
        (np.array([1, 2], "int32"), 0.5, [1, 2, 0.5, 0.5]),
        (np.array([1, 2], "float16"), np.inf, [1, 2, np.inf, np.inf]),
        (["a", "bc"], "[PAD]", ["a", "bc", "[PAD]", "[PAD]"]),
        ([b"a", b"bc"], "é", [b"a", b"bc", "é".encode(), "é".encode()]),
    ],
)
def test_what_stands_for_nothing_fits(values: Any, nothing: Any, laid: Any) -> None:
    packing = Packing(4, batch_size=1, pad_id=nothing, pad_label=nothing)
    ((x, y),) = Dataset(packing, [values], [values])
    assert x["tokens"].tolist() == y.tolist() == [laid]


def test_all_batches_have_one_dtype() -> None:
    x, y = [[1, 2], [0.5, 1]], [[True, False], [1, 2**40]]
    batches = [*Dataset(Packing(2, batch_size=1), x, y)]
    assert {a["tokens"].dtype.name for a, _ in batches} == {"float32"}
    assert {b.dtype.name for _, b in batches} == {"int64"}
    with pytest.raises(DataError, match="y: expected int8, as in the first batch"):
        list(Stream(Packing(2, batch_size=1), [*zip(x, y, strict=True)]))
    streamed = [*Stream(Packing(2, batch_size=1), x[::-1])]
    assert {a["tokens"].dtype.name for (a,) in streamed} == {"float32"}


@pytest.mark.parametrize("shuffle", [False, True])
def test_keras_sees_at_once_that_lengths_vary(shuffle: bool) -> None:
    x = [[1] * 7] * 9 + [[2, 3]] * 2
    data = Dataset(Buckets([4, 8], batch_size=3), x, shuffle=shuffle, seed=0)
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, keras.ops.sum(ids, axis=1))
    for _ in range(3):
        sums = model.predict(data, verbose=0)
        assert sorted(sums.tolist()) == [5] * 2 + [7] * 9
        data.on_epoch_end()


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_each_batch_of_a_stream_counts_once() -> None:
    pytest.importorskip("tensorflow")
    stream = Stream(Packing(10, batch_size=2), [*zip(TOKENS, TAGS, strict=True)])
    tokens = keras.Input((10,), dtype="int32", name="tokens")
    steps = keras.ops.cast(tokens, "float32")
    model = keras.Model([tokens], steps)
    model.compile(loss="mse")
    losses = [np.square(x["tokens"] - 1.0 * y).mean() for x, y in stream]
    loss = model.evaluate(stream.as_tf_dataset(), verbose=0)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-4)


def test_too_long() -> None:
    split = Dataset(Packing(4, batch_size=3, too_long="split"), [[*range(1, 10)], [9]])
    (x,) = split[0]
    assert x["tokens"].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 0, 0]]
    cut = Dataset(Packing(4, batch_size=2, too_long="truncate"), [[*range(1, 10)], [9]])
    (x,) = cut[0]
    assert x["tokens"].tolist() == [[1, 2, 3, 4], [9, 0, 0, 0]]


def given(way: Any, *parts: Any, **options: Any) -> Any:
    return lambda: [*Dataset(way(), *parts, **options)]


REFUSED = {
    r"sequence 1: .*at most 4 steps. Received: 5.*too_long='truncate' or": given(
        lambda: Packing(4), [[1], [1] * 5]
    ),
    r"choose too_long='truncate'. A sequence with a label of its own": given(
        lambda: Packing(4, too_long="split", max_segments=2, y_per="sequence"),
        [[1] * 5],
        [1],
    ),
    r"sequence 1: expected at least one step.*\(0,\).*Leave out": given(
        lambda: Packing(4), [[1], []]
    ),
    r"as many entries everywhere.*Received: 2 in x, 1 in y": given(
        lambda: Packing(4), [[1], [2]], [[1]]
    ),
    r"at least one sequence.*0 in x": given(lambda: Packing(4), []),
    r"sequence 0: expected one entry of `y` for each of 2 steps.*\(3,\).*y_per": given(
        lambda: Packing(4), [[1, 2]], [[1, 2, 3]]
    ),
    r"as many in every input. Received: inputs of shapes \(1,\), \(2,\)": given(
        lambda: Packing(4), {"a": [[1]], "b": [[1, 2]]}
    ),
    r"max_segments: labels of sequences are .*Received: None": given(
        lambda: Packing(4, y_per="sequence"), [[1]], [1]
    ),
    r"x: packing adds an input 'segments'": given(
        lambda: Packing(4), {"segments": [[1]]}
    ),
    r"`sample_weight` to be named as `y` is.*\['b'\] and \['a'\]": given(
        lambda: Packing(4), [[1]], {"a": [[1]]}, {"b": [1]}
    ),
    r"x: expected arrays of one shape for every step.*\(2,\), \(3,\)": given(
        lambda: Packing(4), [np.ones((1, 2)), np.ones((1, 3))]
    ),
    r"pad_label: expected an entry for each name. Received: none for 'a'": given(
        lambda: Packing(4, pad_label={"b": 1}), [[1]], {"a": [[1]]}
    ),
    "length: expected a positive integer; received 0": given(lambda: Packing(0), [[1]]),
    "max_segments: expected a positive integer; received 1.5": given(
        lambda: Packing(4, max_segments=1.5),  # type: ignore[arg-type]
        [[1]],
    ),
    "too_long: expected 'raise' or 'truncate' or 'split'; received 'cut'": given(
        lambda: Packing(4, too_long="cut"),  # type: ignore[arg-type]
        [[1]],
    ),
    r"boundaries: .*increasing order. Received: \[4, 2\]": given(
        lambda: Buckets([4, 2]), [[1]]
    ),
    "batch_size: expected a number, or one for each of 2 boundaries": given(
        lambda: Buckets([2, 4], [1]), [[1]]
    ),
    r"\(x, y\) or \(x, y, sample_weight\). Received: 4 parts": lambda: list(
        Stream(Packing(4), [([1], [1], [1], [1])])
    ),
    "examples: .*Received: none. If it is a generator": lambda: list(
        Stream(Packing(4), iter(()))
    ),
    r"batch 0: expected `ids` to name.*ids=None, and inputs named \['a'\]": lambda: (
        list(kp.data.unpad_batches([{"a": np.ones((1, 2), int)}]))
    ),
    r"batch 0: expected ids, integers.*float64 of shape \(1, 2\)": lambda: list(
        kp.data.unpad_batches([np.ones((1, 2))])
    ),
    "x: expected a list, .*Received: list_iterator.*`SequenceStream`": given(
        lambda: Packing(4), iter([[1]])
    ),
    "sequence 0: .*`x`, of one shape.*several lengths.*several inputs as a dict": given(
        lambda: Packing(4), ([[1], [2, 3]], [[1], [2, 3]])
    ),
    "sequence 0: expected numbers or text in `y`.*other objects": given(
        lambda: Packing(4), [[1, 2]], [[1, None]]
    ),
    "sequence 0: expected numbers in `sample_weight`. Received: <U1": given(
        lambda: Packing(4), [[1]], [[1]], ["a"]
    ),
    "x: expected numbers, or text, everywhere": given(lambda: Packing(4), [[1], ["a"]]),
    "pad_id: expected text, for arrays of <U1. Received: 0": given(
        lambda: Packing(4), [["a"]]
    ),
    "pad_label: expected a number, for arrays of int32. Received: None": given(
        lambda: Packing(4, pad_label=None), [[1]], [[1]]
    ),
    "batching: expected a `Packing` or `Buckets`; received 32": given(
        lambda: 32, [[1]]
    ),
    "boundaries: expected a list of lengths; received 4": given(
        lambda: Buckets(4),  # type: ignore[arg-type]
        [[1]],
    ),
    r"boundaries: expected a list of lengths; received array\(4\)": given(
        lambda: Buckets(np.array(4)),  # type: ignore[arg-type]
        [[1]],
    ),
    "x: expected a list, .*Received: ndarray": given(lambda: Packing(4), np.array(1)),
    "shuffle: expected True or False; received 1": given(
        lambda: Packing(4), [[1]], shuffle=1
    ),
    "drop_remainder: expected True or False; received 1": given(
        lambda: Packing(4, drop_remainder=1),  # type: ignore[arg-type]
        [[1]],
    ),
    "drop_remainder: .*Received: 1, which make 1 rows": given(
        lambda: Packing(4, drop_remainder=True), [[1]]
    ),
    "seed: expected 0 or a positive integer; received -1": given(
        lambda: Packing(4), [[1]], seed=-1
    ),
    r"sequence 1: expected the parts .*\('y', None\).*Received: \[\('x', N": lambda: (
        list(Stream(Packing(4), [([1], [1]), ([2],)]))
    ),
    "examples: expected an iterable.*Received: int": lambda: list(
        Stream(Packing(4), 5)  # type: ignore[arg-type]
    ),
    r"batch 0: expected `y` to begin with .*\(1, 2\). Received: shape \(1, 3\)": (
        lambda: list(kp.data.unpad_batches([(np.ones((1, 2), int), np.ones((1, 3)))]))
    ),
    r"unpack: .*shape \(32, at least 4, ...\).*Received: shape \(32, 3\)": lambda: (
        Dataset(Packing(4), [[1]]).unpack(np.ones((32, 3)))
    ),
    r"unpack: .*shape \(32, at least 4, ...\).*Received: shape \(1, 4\)": lambda: (
        Dataset(Packing(4), [[1]]).unpack(np.ones((1, 4)))
    ),
    "unpack: expected whole sequences": lambda: Dataset(
        Packing(4, too_long="split"), [[1] * 5]
    ).unpack(np.ones((32, 2)), per="sequence"),
    "per: expected 'step' or 'sequence'; received 'row'": lambda: Dataset(
        Packing(4), [[1]]
    ).unpack(np.ones((32, 4)), per="row"),  # type: ignore[arg-type]
    "unpack: expected a dataset that keeps its order": lambda: Dataset(
        Packing(4), [[1]], shuffle=True
    ).unpack([[1]]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_says_what_is_wrong(message: str) -> None:
    with pytest.raises(DataError, match=f"(?s){message}"):
        REFUSED[message]()


def test_boundaries_may_be_integers_of_any_kind() -> None:
    given = keras.ops.convert_to_tensor(np.array([4, 8], "int32"))
    assert Buckets(given).boundaries == Buckets(np.array([4, 8])).boundaries == (4, 8)  # type: ignore[arg-type]
