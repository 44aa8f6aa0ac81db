"""The guard and `find_nonfinite` together: a batch in `fit` is explained."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_padsafe.callbacks import NonFiniteGuard
from keras_padsafe.errors import NonFiniteError


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_bad_batch_of_fit_is_explained(run_eagerly: bool) -> None:
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(9, 6, mask_zero=True),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling1D(name="pool"),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", run_eagerly=run_eagerly)
    ids = np.random.default_rng(0).integers(1, 9, (12, 4))
    ids[9] = 0  # row 1 of the third batch of four
    targets = np.ones((12, 1), "float32")
    with pytest.raises(NonFiniteError, match="pool") as caught:
        model.fit(
            ids,
            targets,
            batch_size=4,
            shuffle=False,
            verbose=0,
            callbacks=[NonFiniteGuard("raise")],
        )
    finding = caught.value.report.findings[0]
    assert (finding.code, finding.place) == ("PS501", "pool")
    assert finding.evidence["rows"] == [1]
    for variable in [*model.variables, *model.optimizer.variables]:
        assert np.isfinite(keras.ops.convert_to_numpy(variable.value)).all()
    assert int(model.optimizer.iterations) == 2
    history = model.fit(ids[:8], targets[:8], verbose=0)
    assert np.isfinite(history.history["loss"]).all()
