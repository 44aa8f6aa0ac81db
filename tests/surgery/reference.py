"""The independent reference: Keras itself, asked for the model at both sizes."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_padsafe.surgery import Plan

from .saved import Saved, differences, same_bits, without_identities
from .zoo import GROWN, SIZE, Build

only_once = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the same on every backend: run on the one whose tests take least",
)


def run_python(script: str, *arguments: object, folder: Path | None = None) -> str:
    """What a script prints that runs in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def save(build: Build, size: int, path: Path, seed: int = 1) -> keras.Model:
    """Builds a model from scratch, without the names of any before, and saves it."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = build(size)
    model.save(path)
    return model


def assert_same_structure(made: Saved, reference: Saved) -> None:
    """`made` is built as Keras would build it: config, assets, groups and shapes."""
    found = list(
        differences(
            without_identities(made.config), without_identities(reference.config)
        )
    )
    assert not found, found
    assert {k: v.shape for k, v in made.arrays.items()} == {
        k: v.shape for k, v in reference.arrays.items()
    }
    assert {k: v.dtype for k, v in made.arrays.items()} == {
        k: v.dtype for k, v in reference.arrays.items()
    }
    assert made.assets == reference.assets


def assert_plan_is_exact(plan: Plan, old: Saved, reference: Saved) -> None:
    """The plan changes what Keras would make of another shape, and nothing else."""
    assert {c.path: (c.shape, c.new_shape) for c in plan.arrays} == {
        path: (values.shape, reference.arrays[path].shape)
        for path, values in old.arrays.items()
        if values.shape != reference.arrays[path].shape
    }


def assert_old_rows_kept(plan: Plan, old: Saved, new: Saved) -> None:
    """Kept entries and untouched arrays are equal bit for bit; new ones finite."""
    changed = {change.path: change for change in plan.arrays}
    for path, values in new.arrays.items():
        if path in changed:
            axis, own = changed[path].axis, changed[path].own(plan.row_map)
            kept_new, kept_old = own.kept
            here = np.take(values, kept_new, axis)
            before = np.take(old.arrays[path], kept_old, axis)
            assert same_bits(here, before), path
            made = np.take(values, own.new_ids, axis)
            assert np.isfinite(made.astype(np.float64)).all(), path
        else:
            assert same_bits(values, old.arrays[path]), path


def assert_old_outputs(old: Any, new: Any, *, exact: bool) -> None:
    """Outputs for old ids are equal; a softmax over more units after rescaling."""
    pairs = zip(keras.tree.flatten(old), keras.tree.flatten(new), strict=True)
    for before, after in pairs:
        before, after = as_float64(before), as_float64(after)
        if after.shape[-1] == GROWN and before.shape[-1] == SIZE:
            after = after[..., :SIZE]
            if np.allclose(before.sum(-1), 1, atol=1e-2) and (before >= 0).all():
                before = before / before.sum(-1, keepdims=True)
                after = after / after.sum(-1, keepdims=True)
        if exact:
            np.testing.assert_array_equal(before, after)
        else:
            np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)


def as_float64(values: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(values)).astype(np.float64)
