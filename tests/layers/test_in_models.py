"""Every layer in a model: compiled, in `fit`, saved, exported, distributed."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.compiled import read_by_tensorflow

IDS = np.array([[1, 4, 2, 0, 0], [5, 3, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
LAYERS = kp.layers
POOLINGS = ["Average", "Max", "Sum", "First", "Last", "Attention"]


def pooling(kind):
    return getattr(LAYERS, f"MaskedGlobal{kind}Pooling1D")()


def model_of(kind="Average", out_of_range="raise"):
    """Uses every layer there is but attention, from ids to an answer."""
    ids = keras.Input((None,), dtype="int32")
    x = LAYERS.ExtendableEmbedding(
        6, 4, pad_id=(0, -1), frozen_rows=3, out_of_range=out_of_range
    )(ids)
    x = LAYERS.MaskedAdd()([x, LAYERS.MaskedConv1D(4, 3, padding="same")(x)])
    x = LAYERS.KeepMask()([2 * x, x])
    x = LAYERS.NaNMasking()(x)
    outputs = keras.layers.Dense(1, activation="sigmoid")(pooling(kind)(x))
    return keras.Model(ids, outputs)


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("kind", POOLINGS)
def test_padding_never_changes_an_answer(kind):
    model = model_of(kind)
    answers = numpy_of(model(IDS))
    more = np.pad(IDS, [(0, 0), (0, 3)])
    left = np.array([np.roll(row, (row == 0).sum()) for row in more], "int32")
    other = np.where(more == 0, -1, more)
    for ids in (more, left, other):
        np.testing.assert_allclose(numpy_of(model(ids)), answers, rtol=1e-5)
    alone = numpy_of(model(IDS[:1, :3]))
    np.testing.assert_allclose(alone, answers[:1], rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [*((kind, False) for kind in POOLINGS), ("Attention", True)],
)
def test_it_trains_with_an_empty_row_in_every_batch(kind, jit_compile):
    # On TensorFlow a layer that may raise keeps Keras from using XLA.
    model = model_of(kind, out_of_range="pad" if jit_compile else "raise")
    model.compile("adam", "binary_crossentropy", jit_compile=jit_compile)
    history = model.fit(IDS, np.array([[0], [1], [1]]), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    predicted = model.predict(IDS, verbose=0)
    np.testing.assert_allclose(predicted, numpy_of(model(IDS)), rtol=1e-5)


@pytest.mark.parametrize("kind", POOLINGS)
def test_it_round_trips_through_an_archive(kind, tmp_path):
    model = model_of(kind)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy_of(loaded(IDS)), numpy_of(model(IDS)))
    for layer, again in zip(model.layers, loaded.layers, strict=True):
        assert layer.get_config() == again.get_config()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = model_of()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("adam", "binary_crossentropy")
    history = model.fit(IDS, np.array([[0], [1], [1]]), verbose=0)
    assert np.isfinite(history.history["loss"]).all()


class Classifier(keras.Model):
    """A model whose masks travel on the tensors alone."""

    def __init__(self):
        super().__init__()
        self.embedding = LAYERS.ExtendableEmbedding(6, 4, pad_id=0)
        self.add = LAYERS.MaskedAdd()
        self.pooling = LAYERS.MaskedGlobalMaxPooling1D()

    def call(self, ids):
        x = self.embedding(ids)
        return self.pooling(self.add([x, keras.ops.tanh(x)]))


def test_masks_reach_the_layer_after_in_a_subclassed_model():
    model = Classifier()
    answers = numpy_of(model(IDS))
    assert not answers[2].any()
    padded = np.pad(IDS, [(0, 0), (0, 2)])
    np.testing.assert_array_equal(numpy_of(model(padded)), answers)
    np.testing.assert_array_equal(model.predict(padded, verbose=0), answers)


@pytest.mark.filterwarnings("ignore:The `native_serialization` parameter")
def test_it_is_exported_to_a_saved_model(tmp_path):
    if keras.backend.backend() == "torch":
        pytest.skip("Keras exports a SavedModel from TensorFlow and JAX")
    tf = pytest.importorskip("tensorflow")
    model = model_of()
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    with read_by_tensorflow():
        served = np.asarray(exported.serve(IDS))
    np.testing.assert_allclose(served, numpy_of(model(IDS)), rtol=1e-5)


def test_it_loads_under_a_layout(tmp_path):
    if keras.backend.backend() != "jax":
        pytest.skip("Keras distributes on JAX")
    model = model_of()
    model.save(tmp_path / "model.keras")
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"))
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*embeddings"] = ("model", None)
    layouts[".*kernel"] = (None, "model")
    distribution = keras.distribution.ModelParallel(
        layout_map=layouts, batch_dim_name="batch"
    )
    with distribution.scope():
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        loaded.compile("adam", "binary_crossentropy")
        np.testing.assert_allclose(
            loaded.predict(IDS, verbose=0), numpy_of(model(IDS)), rtol=1e-5
        )
        loaded.fit(IDS, np.array([[0], [1], [1]]), verbose=0)
        with pytest.raises(Exception, match="outside the table"):
            loaded.predict(IDS + 7, verbose=0)
