"""DataParallel and ModelParallel on eight devices: as one device, files included.

Run by `test_many_devices.py` in a process of its own, which has eight devices.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import distribution

import keras_padsafe as kp
from tests.distribution.tagger import IDS, ROWS, tagger, train

SPLIT_BY = {"rows": ("model", None), "columns": (None, "model")}


def on_mesh(shape: tuple[int, int], split_by: str) -> None:
    """Lets Keras split the table over a mesh of (batch, model) devices."""
    mesh = distribution.DeviceMesh(
        shape, ("batch", "model"), distribution.list_devices()[: shape[0] * shape[1]]
    )
    layouts = distribution.LayoutMap(mesh)
    layouts[".*words.*embeddings"] = SPLIT_BY[split_by]
    layouts["head/kernel"] = (None, "model")
    layouts["head/bias"] = ("model",)
    engine = distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    distribution.set_distribution(engine)


def trained(frozen_rows: int) -> tuple[keras.Model, np.ndarray]:
    """A model trained under the engine of the moment."""
    keras.utils.set_random_seed(0)
    model = tagger(frozen_rows)
    return model, train(model)


def check(frozen_rows: int, split_by: str, folder: Path) -> None:
    """One device and many give the same answers; so does the file on another mesh."""
    distribution.set_distribution(None)
    _, expected = trained(frozen_rows)
    distribution.set_distribution(distribution.DataParallel())
    np.testing.assert_allclose(trained(frozen_rows)[1], expected, atol=1e-6)

    on_mesh((2, 4), split_by)
    model, received = trained(frozen_rows)
    np.testing.assert_allclose(received, expected, atol=1e-6)
    table = model.get_layer("words").weights[0]
    assert len({str(shard.index) for shard in table.value.addressable_shards}) == 4
    saved = grown = folder / f"{split_by}.keras"
    model.save(saved)
    if not frozen_rows:
        grown = folder / "grown.keras"
        report = kp.surgery.grow(saved, grown, rows=3, multiple_of=8, also=["head:1"])
        assert report.plan.new_size == ROWS + 8

    on_mesh((1, 8), split_by)
    loaded = keras.models.load_model(grown)
    answers = loaded.predict(IDS, verbose=0)
    np.testing.assert_allclose(answers[:, :ROWS], received, atol=1e-6)
    slots = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    for before, after in slots:
        old, new = np.asarray(before), np.asarray(after)
        kept = tuple(slice(size) for size in old.shape)
        np.testing.assert_array_equal(new[kept], old)


def main() -> None:
    assert len(distribution.list_devices()) == 8
    with tempfile.TemporaryDirectory() as folder:
        check(0, "rows", Path(folder))
        check(ROWS // 2, "columns", Path(folder))


if __name__ == "__main__":
    main()
