"""Saved attention layers: other classes, other backends, exported programs."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.layers.attention_layers import GATE

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
PAIRS = [
    (
        keras.layers.MultiHeadAttention,
        kp.layers.MaskedMultiHeadAttention,
        {"num_heads": 2, "key_dim": 3, **GATE},
    ),
    (
        keras.layers.GroupQueryAttention,
        kp.layers.MaskedGroupedQueryAttention,
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2},
    ),
    (keras.layers.Attention, kp.layers.MaskedAttention, {"use_scale": True}),
]


def build(cls, config):
    ids = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    layer = cls(**config)
    y = layer([x, x]) if issubclass(cls, keras.layers.Attention) else layer(x, x)
    return keras.Model(ids, y)


def swap_class(source, target, old, new):
    """Rewrites the class in a `.keras` file, and the name of its group of weights.

    Keras names a group after the class; what lies in it stays as it is.
    """
    names = ("module", "class_name", "registered_name")
    old, new = (keras.saving.serialize_keras_object(layer) for layer in (old, new))
    groups = [f"layers/{to_snake_case(x['class_name'])}" for x in (old, new)]
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        config = json.loads(before.read("config.json"))
        for node in config["config"]["layers"]:
            if node["class_name"] == old["class_name"]:
                node.update({name: new[name] for name in names})
        weights = io.BytesIO(before.read("model.weights.h5"))
        with h5py.File(weights, "a") as file:
            file.move(*groups)
        after.writestr("config.json", json.dumps(config))
        after.writestr("metadata.json", before.read("metadata.json"))
        after.writestr("model.weights.h5", weights.getvalue())


def to_snake_case(name):
    name = name.replace("GroupQuery", "GroupedQuery")  # its name inside Keras
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(("stock", "ours", "config"), PAIRS)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")  # GroupQueryAttention, in error
def test_a_saved_model_can_swap_the_class(tmp_path, stock, ours, config, back):
    old, new = (ours, stock) if back else (stock, ours)
    model = build(old, config)
    model.save(tmp_path / "old.keras")
    layers = old(**config), new(**config)
    swap_class(tmp_path / "old.keras", tmp_path / "new.keras", *layers)
    loaded = keras.saving.load_model(tmp_path / "new.keras")
    assert type(loaded.layers[-1]) is new
    expected = model.predict(IDS, verbose=0)
    result = loaded.predict(IDS, verbose=0)
    real = IDS != 0
    np.testing.assert_allclose(result[real], expected[real], atol=1e-6)


@pytest.mark.parametrize(("stock", "ours", "config"), PAIRS)
def test_our_layers_survive_saving(tmp_path, stock, ours, config):
    model = build(ours, config)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    expected = model.predict(IDS, verbose=0)
    np.testing.assert_array_equal(loaded.predict(IDS, verbose=0), expected)


LOAD_AND_PREDICT = """
import sys, numpy, keras, keras_padsafe
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[3]), verbose=0))
"""


@pytest.mark.slow
def test_another_backend_gives_the_same_answer(tmp_path):
    order = ["jax", "tensorflow", "torch"]
    other = order[order.index(keras.backend.backend()) - 1]
    model = build(PAIRS[1][1], PAIRS[1][2])
    paths = [tmp_path / name for name in ("model.keras", "out.npy", "ids.npy")]
    model.save(paths[0])
    np.save(paths[2], IDS)
    environment = {**os.environ, "KERAS_BACKEND": other}
    command = [sys.executable, "-c", LOAD_AND_PREDICT, *map(str, paths)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    expected = model.predict(IDS, verbose=0)
    np.testing.assert_allclose(np.load(paths[1]), expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel")
@pytest.mark.parametrize(("stock", "ours", "config"), PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_an_exported_model_keeps_its_masks(tmp_path, stock, ours, config):
    import tensorflow as tf

    model = build(ours, config)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    served = exported.serve(IDS.astype("int32"))
    np.testing.assert_allclose(served, model.predict(IDS, verbose=0), atol=1e-6)


def test_layers_load_under_a_distribution():
    if keras.backend.backend() != "jax":
        pytest.skip("Keras distributes on JAX")
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), devices[:1])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*(query|key|value).*kernel"] = (None, "model", None)
    distribution = keras.distribution.ModelParallel(
        layout_map=layout, batch_dim_name="batch"
    )
    with distribution.scope():
        for _, ours, config in PAIRS:
            assert np.isfinite(build(ours, config).predict(IDS, verbose=0)).all()
