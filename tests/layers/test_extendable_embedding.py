"""`ExtendableEmbedding`: any pad id, rows that never move, and room to grow."""

import itertools

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask
from tests.compiled import compiled, in_graph

IDS = np.array([[1, 4, 2], [5, 3, 3]], "int32")


def numpy_of(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def embedding(**kwargs):
    return kp.layers.ExtendableEmbedding(6, 4, **kwargs)


def table_of(layer):
    return numpy_of(keras.ops.convert_to_tensor(layer.embeddings))


# Reading.


@pytest.mark.parametrize(
    ("pad_id", "frozen_rows"),
    [(None, 0), (0, 0), (3, 0), (-1, 0), ((2, 5), 0), (None, 2), ((1, 4), 3), (-1, 6)],
)
def test_an_id_reads_its_own_row_and_a_pad_id_reads_zeros(pad_id, frozen_rows):
    layer = embedding(pad_id=pad_id, frozen_rows=frozen_rows)
    layer.build()
    layer.assign_table(np.arange(1.0, 25).reshape(6, 4))
    pads = [] if pad_id is None else np.atleast_1d(pad_id).tolist()
    ids = np.array([[*range(6), *pads]], "int32")
    expected = np.array(
        [np.zeros(4) if i in pads else table_of(layer)[i] for i in ids[0]]
    )
    np.testing.assert_array_equal(numpy_of(layer(ids))[0], expected)
    np.testing.assert_array_equal(table_of(layer), np.arange(1.0, 25).reshape(6, 4))


@pytest.mark.parametrize("pad_id", [0, 3, -1, 100, (0, -7)])
def test_the_mask_is_false_at_pad_ids_only(pad_id):
    ids = np.array([[3, 0, 5]], "int32") if np.all(np.isin(pad_id, [0, 3])) else None
    ids = np.array([[1, *np.atleast_1d(pad_id)]], "int32") if ids is None else ids
    expected = ~np.isin(ids, pad_id)
    layer = embedding(pad_id=pad_id)
    np.testing.assert_array_equal(numpy_of(get_keras_mask(layer(ids))), expected)
    np.testing.assert_array_equal(numpy_of(layer.compute_mask(ids)), expected)


def test_float_ids_are_masked_too():
    layer = embedding(pad_id=3)
    mask = get_keras_mask(layer(np.array([[3.0, 1.0, 2.0, 3.0]], "float32")))
    assert numpy_of(mask).tolist() == [[False, True, True, False]]


def test_mask_zero_is_pad_id_zero():
    layer = embedding(mask_zero=True)
    vectors = layer(np.array([[0, 1]], "int32"))
    assert numpy_of(get_keras_mask(vectors)).tolist() == [[False, True]]
    assert not numpy_of(vectors)[0, 0].any()


def test_the_mask_is_there_while_a_functional_model_is_built():
    for dtype in ("int32", "float32"):
        vectors = embedding(pad_id=-1)(keras.Input((3,), dtype=dtype))
        assert get_keras_mask(vectors).shape == (None, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_reduced_precision(policy):
    layer = embedding(pad_id=0, frozen_rows=2, dtype=policy)
    vectors = layer(np.array([[0, 1, 5]], "int32"))
    expected = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(vectors.dtype) == expected
    assert not numpy_of(vectors).astype("float32")[0, 0].any()


def test_the_reverse_call_is_tied_and_keeps_the_mask():
    layer = embedding(pad_id=0, frozen_rows=2)
    vectors = layer(np.array([[0, 5]], "int32"))
    logits = layer(vectors, reverse=True)
    expected = numpy_of(vectors) @ table_of(layer).T
    np.testing.assert_allclose(numpy_of(logits), expected, rtol=1e-5, atol=1e-7)
    assert numpy_of(get_keras_mask(logits)).tolist() == [[False, True]]
    assert get_keras_mask(layer(np.ones((1, 2, 4), "float32"), reverse=True)) is None


# Ids outside the table.


def test_a_bad_id_raises_with_the_name_of_the_layer():
    layer = embedding(name="words", pad_id=-1)
    with pytest.raises(ValueError, match="outside the table of layer 'words'"):
        layer(np.array([[6]], "int32"))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_an_id_beyond_32_bits_raises_on_every_backend(dtype):
    with pytest.raises(ValueError, match="1 of 2 ids are outside the table"):
        embedding()(np.array([[2**32 + 1, 1]], dtype))


@pytest.mark.parametrize("method", ["fit", "predict", "evaluate"])
def test_a_bad_id_raises_inside(method):
    model = keras.Sequential(
        [keras.Input((2,), dtype="int32"), embedding(), keras.layers.Flatten()]
    )
    model.compile("sgd", "mse")
    targets = () if method == "predict" else (np.zeros((1, 8)),)
    run = getattr(model, method)
    run(np.array([[1, 2]], "int32"), *targets, verbose=0)
    with pytest.raises(Exception, match="outside the table"):
        run(np.array([[1, 6]], "int32"), *targets, verbose=0)


def test_a_bad_id_never_reads_a_row_even_where_nothing_can_be_raised():
    layer = embedding()
    layer.build()
    run = compiled(lambda ids: layer(ids))
    ids = keras.ops.convert_to_tensor([[1, 6, -1]])
    if keras.backend.backend() == "tensorflow":
        finite = np.isfinite(numpy_of(run(ids))).all(axis=-1)
        assert finite.tolist() == [[True, False, False]]
    else:
        with pytest.raises(Exception, match="outside the table"):
            numpy_of(run(ids))


@pytest.mark.parametrize("way", [lambda f: f, in_graph, compiled])
def test_a_bad_id_reads_the_row_of_the_unknown_token(way):
    layer = embedding(out_of_range=2)
    layer.build()
    vectors = way(lambda ids: layer(ids))(keras.ops.convert_to_tensor([[6, -1, 2]]))
    np.testing.assert_array_equal(numpy_of(vectors)[0], [table_of(layer)[2]] * 3)


def test_a_bad_id_counts_as_padding():
    layer = embedding(out_of_range="pad", pad_id=0)
    vectors = layer(np.array([[9, 0, 1]], "int32"))
    assert numpy_of(get_keras_mask(vectors)).tolist() == [[False, False, True]]
    assert not numpy_of(vectors)[0, :2].any()
    assert numpy_of(layer.compute_mask(IDS)).all()


# Rows that never move.

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "ema": lambda: keras.optimizers.Adam(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "lion": lambda: keras.optimizers.Lion(0.1, weight_decay=0.1),
    "muon": lambda: keras.optimizers.Muon(0.1, exclude_embeddings=False),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.9, centered=True),
}
if keras.backend.backend() == "tensorflow" and keras.__version__.startswith("3.12."):
    del OPTIMIZERS["muon"]  # There it asks a variable of TensorFlow for a `path`.


def train(layer, optimizer, lora=False):
    """Trains a model that leaks padding on purpose: everything reaches the loss."""
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layer,
            keras.layers.Lambda(lambda x: x + 1.0, output_shape=(3, 4)),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    if lora:
        layer.enable_lora(2)
    model.compile(optimizer, "mse")
    ids = np.array(list(itertools.product(range(6), repeat=3)), "int32")
    model.fit(ids, ids.sum(1, keepdims=True) / 3, epochs=2, batch_size=64, verbose=0)
    return model


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
@pytest.mark.filterwarnings("ignore:Layer 'lambda.*was passed an input")
@pytest.mark.filterwarnings("ignore:Layer 'flatten.*was passed an input")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_pad_row_stays_zero_and_a_frozen_row_never_moves(name):
    layer = embedding(pad_id=(4, 0), frozen_rows=2, embeddings_regularizer="l2")
    layer.build()
    table = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    table[4] = 0
    layer.assign_table(table)
    model = train(layer, OPTIMIZERS[name]())
    after = table_of(layer)
    np.testing.assert_array_equal(after[[0, 1, 4]], table[[0, 1, 4]])
    assert (after[[2, 3, 5]] != table[[2, 3, 5]]).any(axis=-1).all()
    assert not numpy_of(layer(np.array([[0, 4]], "int32"))).any()
    sizes = {tuple(v.shape) for v in model.optimizer.variables if len(v.shape) == 2}
    assert (6, 4) not in sizes


@pytest.mark.filterwarnings("ignore:Layer 'lambda.*was passed an input")
@pytest.mark.filterwarnings("ignore:Layer 'flatten.*was passed an input")
@pytest.mark.parametrize("frozen_rows", [3, 0])
def test_no_lora_delta_reaches_them(frozen_rows, tmp_path):
    layer = embedding(pad_id=0, frozen_rows=frozen_rows)
    layer.build()
    table = table_of(layer)
    model = train(layer, OPTIMIZERS["adamw"](), lora=True)
    fixed = [*range(max(frozen_rows, 1))]
    moved = np.setdiff1d(range(6), fixed)
    after = table_of(layer)
    np.testing.assert_array_equal(after[fixed], table[fixed])
    assert (after[moved] != table[moved]).any(axis=-1).all()
    vectors = numpy_of(layer(IDS))
    np.testing.assert_allclose(vectors, after[IDS], rtol=1e-5, atol=1e-6)
    model.save_weights(tmp_path / "lora.weights.h5")
    model.load_weights(tmp_path / "lora.weights.h5")
    np.testing.assert_allclose(table_of(layer), after, rtol=1e-6)


def test_when_every_row_is_frozen_nothing_trains():
    layer = embedding(frozen_rows=6, pad_id=(4, 5))
    layer.build()
    layer.trainable = False
    layer.trainable = True
    assert layer.trainable_variables == []
    assert not table_of(layer)[4:].any()


class Tied(keras.layers.Layer):
    """Reads with a table, and scores each id with it."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def call(self, ids):
        return self.words(self.words(ids) + 1.0, reverse=True)


@pytest.mark.parametrize("frozen_rows", [0, 2])
def test_the_pad_row_of_a_tied_table_is_scored_and_stays_zero(frozen_rows):
    layer = embedding(pad_id=3, frozen_rows=frozen_rows)
    model = keras.Sequential([keras.Input((3,), dtype="int32"), Tied(layer)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(OPTIMIZERS["adamw"](), loss)
    before = table_of(layer)
    model.fit(IDS, IDS, epochs=2, verbose=0)
    after = table_of(layer)
    assert not after[3].any()
    assert (after[[2, 4, 5]] != before[[2, 4, 5]]).any(axis=-1).all()


def test_without_frozen_rows_the_table_is_one_weight_of_its_size():
    layer = embedding(pad_id=0)
    layer.build()
    assert [tuple(weight.shape) for weight in layer.weights] == [(6, 4)]
    assert layer.embeddings is layer.weights[0]


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors:UserWarning")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_tables_keep_the_pad_row_and_the_frozen_rows(mode, tmp_path):
    layer = embedding(pad_id=0, frozen_rows=3)
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layer])
    before = numpy_of(layer(IDS))
    model.quantize(mode)
    ids = np.array([[0, *range(1, 6)]], "int32")
    after = numpy_of(layer(IDS))
    np.testing.assert_allclose(after, before, atol=0.01)
    assert not numpy_of(layer(ids))[0, 0].any()
    if mode == "int8":
        logits = layer(np.ones((1, 4), "float32"), reverse=True)
        expected = table_of_quantized = numpy_of(layer(ids))[0].sum(-1)
        np.testing.assert_allclose(numpy_of(logits)[0], expected, atol=0.02)
        assert table_of_quantized.shape == (6,)
    model.save(tmp_path / "quantized.keras")
    loaded = keras.saving.load_model(tmp_path / "quantized.keras")
    np.testing.assert_array_equal(numpy_of(loaded(IDS)), after)


# Pretrained tables and growth.

WORDS = np.arange(1.0, 13).reshape(3, 4).astype("float32")


def test_a_new_pad_id_gets_its_own_row_and_no_word_loses_its_own():
    layer = kp.layers.ExtendableEmbedding.from_pretrained(WORDS, pad_id=3)
    assert layer.input_dim == 4
    vectors = numpy_of(layer(np.array([0, 1, 2, 3], "int32")))
    np.testing.assert_array_equal(vectors, [*WORDS, np.zeros(4)])
    np.testing.assert_array_equal(table_of(layer), vectors)


def test_a_pad_id_may_need_no_row():
    layer = kp.layers.ExtendableEmbedding.from_pretrained(WORDS, pad_id=-1)
    assert layer.input_dim == 3
    vectors = numpy_of(layer(np.array([0, 1, 2, -1], "int32")))
    np.testing.assert_array_equal(vectors, [*WORDS, np.zeros(4)])


def test_a_pad_id_that_is_the_row_of_a_word_is_refused():
    with pytest.raises(ValueError, match=r"\[0\] is the row of a word.*Use 3 to give"):
        kp.layers.ExtendableEmbedding.from_pretrained(WORDS, pad_id=0)


def test_new_rows_are_given_or_the_mean_or_made_by_an_initializer():
    def build(*args, **kwargs):
        layer = kp.layers.ExtendableEmbedding.from_pretrained(WORDS, *args, **kwargs)
        layer.build()
        return table_of(layer)

    np.testing.assert_array_equal(build(2)[3:], [WORDS.mean(0)] * 2)
    np.testing.assert_array_equal(build(2 * WORDS)[3:], 2 * WORDS)
    np.testing.assert_array_equal(
        build(1, new_rows_initializer="ones", pad_id=4)[3:], [[1] * 4, [0] * 4]
    )
    padded = np.concatenate([np.zeros((1, 4)), WORDS])
    layer = kp.layers.ExtendableEmbedding.from_pretrained(padded, 1, pad_id=0)
    layer.build()
    np.testing.assert_array_equal(table_of(layer)[4], WORDS.mean(0))


def test_a_row_that_is_given_is_no_pad_row():
    with pytest.raises(ValueError, match=r"\[3\] is the row of a word.*the 4 rows"):
        kp.layers.ExtendableEmbedding.from_pretrained(WORDS, np.ones((1, 4)), pad_id=3)


def test_the_mean_of_integers_is_no_integer():
    words = np.array([[1, 2], [2, 2]])
    layer = kp.layers.ExtendableEmbedding.from_pretrained(words, np.int64(1))
    assert numpy_of(layer(np.array([2]))).tolist() == [[1.5, 2.0]]


def test_fewer_than_no_new_rows_are_refused():
    with pytest.raises(ValueError, match=r"`new_rows` must be 0 or more.*-1"):
        embedding().extend(-1)


def test_extend_keeps_what_is_known_and_leaves_the_old_layer_alone():
    layer = embedding(pad_id=0, frozen_rows=2, out_of_range=1, name="words")
    layer.build()
    table = table_of(layer)
    grown = layer.extend(3)
    assert (layer.input_dim, grown.input_dim) == (6, 9)
    np.testing.assert_array_equal(table_of(layer), table)
    np.testing.assert_array_equal(table_of(grown)[:6], table)
    np.testing.assert_allclose(table_of(grown)[6:], [table[1:].mean(0)] * 3, rtol=1e-5)
    np.testing.assert_array_equal(numpy_of(grown(IDS)), numpy_of(layer(IDS)))
    kept = ("pad_id", "frozen_rows", "out_of_range", "name")
    assert all(grown.get_config()[key] == layer.get_config()[key] for key in kept)
    np.testing.assert_array_equal(
        table_of(layer.extend(np.ones((1, 4))))[6:], [[1] * 4]
    )


def test_new_rows_may_not_take_the_place_of_a_pad_id():
    with pytest.raises(ValueError, match=r"rows 6 to 8 would include .* \[7\]"):
        embedding(pad_id=7).extend(3)


def test_extend_merges_lora():
    layer = embedding(lora_rank=2)
    layer.build()
    layer.lora_embeddings_b.assign(np.ones((2, 4)))
    np.testing.assert_allclose(
        numpy_of(layer.extend(1)(IDS)), numpy_of(layer(IDS)), rtol=1e-6
    )


# Saving.


class Lookup(keras.layers.Layer):
    """Holds the layer under a name that does not depend on its class."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def build(self, input_shape):
        self.words.build(input_shape)

    def call(self, ids):
        return self.words(ids)


@pytest.mark.parametrize("frozen_rows", [0, 2, 6])
def test_it_is_saved_as_one_table_that_a_stock_embedding_loads(frozen_rows, tmp_path):
    layer = embedding(pad_id=(1, 4), frozen_rows=frozen_rows)
    stock = keras.layers.Embedding(6, 4)
    ours_model, stock_model = (
        keras.Sequential([keras.Input((3,), dtype="int32"), Lookup(words)])
        for words in (layer, stock)
    )
    ours_model.save_weights(tmp_path / "ours.weights.h5")
    stock_model.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(numpy_of(stock.embeddings), table_of(layer))
    stock.embeddings.assign(np.ones((6, 4)))
    stock_model.save_weights(tmp_path / "stock.weights.h5")
    ours_model.load_weights(tmp_path / "stock.weights.h5")
    np.testing.assert_array_equal(table_of(layer), np.ones((6, 4)))


def test_it_round_trips_through_an_archive(tmp_path):
    layer = kp.layers.ExtendableEmbedding.from_pretrained(
        WORDS, 3, pad_id=(6, -1), frozen_rows=3, out_of_range=2
    )
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == layer.get_config()
    ids = np.array([[0, 5, 6], [-1, 9, 2]], "int32")
    np.testing.assert_array_equal(numpy_of(loaded(ids)), numpy_of(model(ids)))


def test_a_table_of_another_size_is_refused_by_shape():
    layer = embedding(pad_id=0)
    layer.build()
    with pytest.raises(ValueError, match=r"shape \(6, 4\). Received: one of shape \(5"):
        layer.load_own_variables({"0": np.ones((5, 4))})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frozen_rows": 7}, "from 0 to input_dim=6"),
        ({"tie_weights": False}, "Use a Dense layer"),
        ({"out_of_range": "clip"}, "'raise', 'pad'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        embedding(**arguments)
