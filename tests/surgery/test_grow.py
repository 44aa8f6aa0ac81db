"""Every kind of model, grown by rows, beside the same model built larger by Keras."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_padsafe as kp

from . import zoo
from .reference import (
    as_float64,
    assert_old_outputs,
    assert_old_rows_kept,
    assert_plan_is_exact,
    assert_same_structure,
    save,
)
from .saved import digest, read
from .zoo import ADDED, GROWN, SIZE, Case

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_grows_as_keras_would_build_it(case: Case, tmp_path: Path) -> None:
    if case.name == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX stores float64 as float32 unless told otherwise")
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    save(case.build, GROWN, larger)
    model = save(case.build, SIZE, source, seed=2)
    x = zoo.inputs(model)
    before, bytes_before = model(x, training=False), digest(source)

    plan = kp.surgery.grow(source, target, rows=ADDED, **case.options).plan

    assert digest(source) == bytes_before
    old, new, reference = read(source), read(target), read(larger)
    if case.name != "pretrained_table":
        assert_same_structure(new, reference)
    assert_plan_is_exact(plan, old, reference)
    assert_old_rows_kept(plan, old, new)
    if not case.loads:
        return
    grown = keras.models.load_model(target)
    assert_old_outputs(before, grown(x, training=False), exact=case.exact)
    if len(model.inputs) == 1:
        for output in keras.tree.flatten(grown(zoo.inputs(model, GROWN))):
            assert np.isfinite(as_float64(output)).all()
