"""A skeleton has every array of the file that Keras would write, and no value."""

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, optimizers

from keras_padsafe.skeleton import NotBuilt, build

from ..surgery import zoo
from ..surgery.saved import read

pytestmark = pytest.mark.usefixtures("quick_compile")


# Not every backend has the factorisation behind the default in narrow floats.
RECURRENT = {"recurrent_initializer": "zeros"}


def language_model(size: int = 13, **options: Any) -> keras.Model:
    x = keras.Input((None,), dtype="int32")
    h = layers.Embedding(size, 4, mask_zero=True, **options)(x)
    h = layers.Dropout(0.1)(layers.LSTM(4, return_sequences=True, **RECURRENT)(h))
    return keras.Model(x, layers.Dense(size)(h))


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in read(path).arrays.items()}


def assert_like_its_file(model: keras.Model, path: Path) -> None:
    model.save(path)
    assert build(read(path).config).shapes == shapes(path)


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_it_has_the_arrays_of_the_file(case: zoo.Case, tmp_path: Path) -> None:
    if not case.loads:
        pytest.skip("Keras does not load what it saves of this model")
    if case.name == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX stores float64 as float32 unless told otherwise")
    assert_like_its_file(case.build(zoo.SIZE), tmp_path / "model.keras")


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adam": lambda: optimizers.Adam(amsgrad=True),
    "everything": lambda: optimizers.Adam(use_ema=True, gradient_accumulation_steps=2),
    "adafactor": lambda: optimizers.Adafactor(),
    "muon": lambda: optimizers.Muon(),
    "schedule_free": lambda: optimizers.ScheduleFreeAdamW(),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_has_the_variables_of_the_optimizer(name: str, tmp_path: Path) -> None:
    model = language_model()
    model.compile(OPTIMIZERS[name](), "mse")
    model.optimizer.build(model.trainable_variables)
    assert_like_its_file(model, tmp_path / "model.keras")


@pytest.mark.parametrize(
    "policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
)
def test_it_is_built_in_every_policy(policy: str, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = language_model()
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        assert_like_its_file(model, tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy(before)


def test_nothing_of_the_process_changes(tmp_path: Path) -> None:
    model = language_model()
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    config = read(tmp_path / "model.keras").config
    keras.utils.clear_session(free_memory=False)
    random.seed(3)
    expected = random.random()
    random.seed(3)
    build(config)
    assert random.random() == expected
    assert layers.Dense(1).name == "dense"
    # A variable made after one without a value is given its own at once.
    assert np.array_equal(keras.ops.convert_to_numpy(keras.Variable([1.0])), [1.0])
    assert model.predict(np.ones((1, 2), "int32"), verbose=0).shape == (1, 2, 13)


def test_what_keras_cannot_build_is_said_in_its_words(tmp_path: Path) -> None:
    language_model().save(tmp_path / "model.keras")
    config = read(tmp_path / "model.keras").config
    config["config"]["layers"][1]["config"]["input_dim"] = -1
    with pytest.raises(NotBuilt, match="input_dim"):
        build(config)


def test_the_code_of_a_file_is_not_run(tmp_path: Path) -> None:
    x = keras.Input((2,))
    keras.Model(x, layers.Lambda(lambda value: value + 1)(x)).save(
        tmp_path / "model.keras"
    )
    with pytest.raises(NotBuilt, match="lambda"):
        build(read(tmp_path / "model.keras").config)


def test_billions_of_parameters_take_no_memory(tmp_path: Path) -> None:
    pytest.importorskip("keras_hub")
    script = """
        import resource, sys, time
        import keras_hub
        from keras_padsafe.skeleton import build
        import keras
        tiny = keras_hub.models.LlamaBackbone(
            vocabulary_size=11, num_layers=1, num_query_heads=2, hidden_dim=4,
            intermediate_dim=6, num_key_value_heads=1)
        config = keras.saving.serialize_keras_object(tiny)
        config["config"].update(
            vocabulary_size=32_000, num_layers=32, num_query_heads=32,
            hidden_dim=4096, intermediate_dim=11_008, num_key_value_heads=32)
        before, start = peak(), time.perf_counter()
        built = build(config)
        seconds = time.perf_counter() - start
        import math
        count = sum(math.prod(shape) for shape in built.shapes.values())
        print(count, peak() - before, seconds)
    """
    peak = (
        "import resource\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", peak + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, kilobytes, seconds = map(float, done.stdout.split())
    assert count > 6.7e9
    assert kilobytes < 500_000
    assert seconds < 30
