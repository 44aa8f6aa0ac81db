"""An archive saved on one backend gives the same answers on the others."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_padsafe as kp

LOAD = """
import sys, numpy as np, keras
import keras_padsafe
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[2], keras.ops.convert_to_numpy(model(np.load(sys.argv[3]))))
"""
OTHERS = {"jax": "tensorflow", "tensorflow": "torch", "torch": "jax"}


@pytest.mark.slow
def test_what_one_backend_saves_another_loads(tmp_path):
    layers = kp.layers
    words = np.random.default_rng(0).normal(size=(5, 4))
    ids = keras.Input((None,), dtype="int32")
    x = layers.ExtendableEmbedding.from_pretrained(
        words, 2, pad_id=(7, -1), frozen_rows=5, out_of_range=1
    )(ids)
    x = layers.MaskedAdd()([x, layers.MaskedConv1D(4, 3, padding="causal")(x)])
    x = layers.NaNMasking()(layers.KeepMask()([2 * x, x]))
    model = keras.Model(ids, layers.MaskedGlobalAttentionPooling1D()(x))
    model.compile(loss=kp.losses.MaskedLoss("mse", pad_label=-1))
    batch = np.array([[1, 99, 7, -1], [6, 5, 4, 0], [7, 7, 7, 7]], "int32")
    np.save(tmp_path / "ids.npy", batch)
    model.save(tmp_path / "model.keras")

    names = [str(tmp_path / name) for name in ("model.keras", "there.npy", "ids.npy")]
    other = OTHERS[keras.backend.backend()]
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", LOAD, *names]
    subprocess.run(command, env=environment, check=True, capture_output=True)

    here = keras.ops.convert_to_numpy(model(batch))
    np.testing.assert_allclose(np.load(names[1]), here, rtol=1e-4, atol=1e-6)
