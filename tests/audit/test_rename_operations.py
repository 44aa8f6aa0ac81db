"""A repaired file loads where Keras has given no names yet, and again once saved."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.saved_model.rename_operations import rename_operations

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], "int32")


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
def test_a_mask_that_the_file_recorded_and_one_that_it_did_not(tmp_path: Path) -> None:
    keras.utils.clear_session(free_memory=False)
    ids = keras.Input((None,), dtype="int32")
    words = layers.Embedding(50, 8, mask_zero=True)(ids)
    x = layers.Conv1D(8, 3, padding="same")(words + 1.0)
    parts = [layers.GlobalAveragePooling1D()(words), layers.GlobalMaxPooling1D()(x)]
    stock = keras.Model(ids, layers.Concatenate()(parts))
    stock.save(tmp_path / "stock.keras")
    expected = stock.predict(IDS[:1], verbose=0)
    kp.audit.repair(tmp_path / "stock.keras", tmp_path / "0.keras", prove=False)
    for generation in range(3):
        keras.utils.clear_session(free_memory=False)
        model = keras.models.load_model(tmp_path / f"{generation}.keras")
        np.testing.assert_allclose(
            model.predict(IDS[:1], verbose=0), expected, rtol=1e-5, atol=1e-6
        )
        assert kp.audit.check_padding(model, IDS, 0).passed
        model.save(tmp_path / f"{generation + 1}.keras")


def test_outputs_and_layers_keep_their_names() -> None:
    def source(name: str) -> dict[str, object]:
        return {
            "class_name": "__keras_tensor__",
            "config": {"keras_history": [name, 0]},
        }

    def operation(name: str, of: str) -> dict[str, object]:
        return {
            "module": "keras.src.ops.numpy",
            "class_name": "NotEqual",
            "config": {"name": name},
            "name": name,
            "inbound_nodes": [{"args": [source(of)], "kwargs": {"y": [source(of)]}}],
        }

    table = {
        "module": "keras.layers",
        "class_name": "Embedding",
        "config": {"name": "table"},
        "name": "table",
        "inbound_nodes": [],
    }
    entries = [
        table,
        operation("mask", "table"),
        operation("mask_saved", "mask"),
        operation("out", "mask"),
    ]
    config = {"config": {"layers": entries, "output_layers": [["out", 0, 0]]}}
    rename_operations(config)
    assert [e["name"] for e in entries] == [
        "table",
        "mask_saved_saved",
        "mask_saved_saved_saved",
        "out",
    ]
    assert str(entries[3]).count("'mask_saved_saved'") == 2
    assert str(entries[1]).count("'table'") == 2
