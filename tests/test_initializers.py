"""`ConcatenatedRows`: a table from arrays whose configuration stays small."""

import json

import keras
import numpy as np
import pytest

from keras_padsafe.initializers import ConcatenatedRows


@pytest.fixture
def matrix():
    return np.random.default_rng(0).normal(size=(50, 8)).astype("float32")


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def stock_model(initializer, rows):
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(rows, 8, embeddings_initializer=initializer),
        ]
    )


def test_arrays_and_an_initializer_are_stacked_in_order(matrix):
    ones = np.ones((2, 8))
    table = numpy_of(ConcatenatedRows([matrix, "zeros", ones])((55, 8)))
    np.testing.assert_array_equal(table[:50], matrix)
    np.testing.assert_array_equal(table[50:], [[0] * 8] * 3 + [[1] * 8] * 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_table_has_the_dtype_asked_for(matrix, dtype):
    table = ConcatenatedRows([matrix, "zeros"])((51, 8), dtype=dtype)
    assert keras.backend.standardize_dtype(table.dtype) == dtype


def test_the_configuration_stays_small_and_round_trips(matrix):
    big = np.zeros((20_000, 64), "float32")
    config = keras.saving.serialize_keras_object(ConcatenatedRows([big, "ones"]))
    text = json.dumps(config)
    assert len(text) < 1000
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert keras.saving.serialize_keras_object(again) == config
    other = big.copy()
    other[7, 7] = 1
    digest = ConcatenatedRows([other]).get_config()["parts"][0]["sha256"]
    assert digest != config["config"]["parts"][0]["sha256"]


def test_loading_an_archive_restores_the_rows_of_a_stock_embedding(matrix, tmp_path):
    model = stock_model(ConcatenatedRows([matrix, "ones"]), 52)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    table = numpy_of(loaded.layers[0].embeddings)
    np.testing.assert_array_equal(table, [*matrix, *np.ones((2, 8))])
    loaded.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(numpy_of(again.layers[0].embeddings), table)


def test_building_from_a_bare_configuration_says_what_is_missing(matrix):
    layer = stock_model(ConcatenatedRows([matrix]), 50).layers[0]
    bare = keras.layers.Embedding.from_config(layer.get_config())
    with pytest.raises(ValueError, match=r"float32 array of shape \(50, 8\).*load_mo"):
        bare.build()


@pytest.mark.parametrize(
    ("parts", "shape", "message"),
    [
        ([np.ones((3, 2))], (4, 2), r"4 of them.*\[\(3, 2\)\], 3 rows"),
        ([np.ones((3, 2))], (3, 5), r"rows of shape \(5,\)"),
        ([np.ones((3, 2)), "zeros"], (2, 2), r"at most 2"),
    ],
)
def test_arrays_that_do_not_make_up_the_table_are_refused(parts, shape, message):
    with pytest.raises(ValueError, match=message):
        ConcatenatedRows(parts)(shape)


def test_only_one_initializer_can_fill_the_rest():
    with pytest.raises(ValueError, match="2 initializers"):
        ConcatenatedRows(["zeros", "ones"])
