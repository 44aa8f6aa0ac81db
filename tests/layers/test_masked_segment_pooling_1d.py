"""Pooling by segment is pooling of each sequence alone."""

from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from tests.compiled import compiled
from tests.gradients import value_and_gradients

MODES = ["average", "max", "sum", "first", "last"]
SEGMENTS = np.array([[1, 1, 2, 2, 2, 0], [0, 0, 2, 1, 1, 3], [0] * 6], "int32")
MASK = np.array([[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 0, 1], [1] * 6], bool)
X = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")
pytestmark = pytest.mark.usefixtures("quick_compile")


def expected(mode: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    layer = getattr(kp.layers, f"MaskedGlobal{mode.title()}Pooling1D")()
    own = SEGMENTS[:, None] == np.arange(1, 4)[:, None]  # (batch, segment, time)
    flat = np.repeat(x[:, None], 3, axis=1).reshape(9, 6, 2)
    pooled = layer(flat, mask=(own & mask[:, None]).reshape(9, 6))
    return keras.ops.convert_to_numpy(pooled).reshape(3, 3, 2)


@pytest.mark.parametrize("mode", MODES)
def test_as_each_sequence_alone(mode: str) -> None:
    layer = kp.layers.MaskedSegmentPooling1D(3, mode)
    for mask in (np.ones_like(MASK), MASK):
        real = (SEGMENTS > 0) & mask
        x = np.where(real[..., None], X, np.float32("nan"))

        def run(x: np.ndarray, mask: np.ndarray = mask) -> Any:
            return layer([x, SEGMENTS], mask=[mask, None])

        way = run if keras.backend.backend() == "torch" else compiled(run)
        pooled = keras.ops.convert_to_numpy(way(keras.ops.convert_to_tensor(x)))
        np.testing.assert_allclose(pooled, expected(mode, x, mask), rtol=1e-5)
        _, (gradient,) = value_and_gradients(lambda x, run=way: run(x) ** 2, x)
        assert not gradient[~real].any()
        assert np.isfinite(gradient).all()


def test_carries_a_mask_of_the_segments_that_have_a_step() -> None:
    steps = keras.Input((None, 2))
    segments = keras.Input((None,), dtype="int32")
    seen = []

    class Look(keras.layers.Layer):
        supports_masking = True

        def call(self, x, mask=None):
            seen.append(mask)
            return x

    pooled = kp.layers.MaskedSegmentPooling1D(3)([steps, segments])
    model = keras.Model([steps, segments], Look()(pooled))
    assert model.output_shape == (None, 3, 2)
    model([X, SEGMENTS])
    mask = keras.ops.convert_to_numpy(seen[-1]).tolist()
    assert mask == [[True, True, False], [True, True, True], [False] * 3]


def test_reduced_precision_and_configuration() -> None:
    layer = kp.layers.MaskedSegmentPooling1D(3, "sum", dtype="mixed_float16")
    same = kp.layers.MaskedSegmentPooling1D.from_config(layer.get_config())
    ones, segments = np.ones((1, 4096, 1), "float32"), np.ones((1, 4096), "int32")
    pooled = same([ones, segments])
    assert keras.backend.standardize_dtype(pooled.dtype) == "float16"
    assert float(pooled[0, 0, 0]) == 4096.0  # Sums in float16 end at 2048.


def test_refuses_what_is_no_mode_or_no_number() -> None:
    with pytest.raises(ValueError, match=r"'average' or .*received 'mean'"):
        kp.layers.MaskedSegmentPooling1D(3, "mean")
    with pytest.raises(ValueError, match=r"positive integer; received 0"):
        kp.layers.MaskedSegmentPooling1D(0)
    with pytest.raises(ValueError, match=r"positive integer; received True"):
        kp.layers.MaskedSegmentPooling1D(True)
    with pytest.raises(ValueError, match=r"mode: expected .*received \['max'\]"):
        kp.layers.MaskedSegmentPooling1D(2, ["max"])  # type: ignore[arg-type]


@pytest.mark.parametrize("shapes", [[(2, 3, 4)], [(2, 3), (2, 3)], [(2, 3, 4), (2, 4)]])
def test_refuses_what_are_no_steps_and_segments(shapes: list[tuple[int, ...]]) -> None:
    given = [np.ones(shape, "int32") for shape in shapes]
    with pytest.raises(ValueError, match=r"takes a list of steps.*Received: \(2, 3"):
        kp.layers.MaskedSegmentPooling1D(2)(given if len(given) > 1 else given[0])
