"""Small saved models, and a way to run a command on them."""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from keras import layers

from keras_padsafe.cli import main

from .custom import Doubled, Prior, Shared, Words

Run = Callable[..., Result]
IMPORT = ("--import", "tests.cli.custom")
ROOT = Path(__file__).parents[2]
# Click before 8.2 mixes errors into the output unless told otherwise.
KNOWN = inspect.signature(CliRunner).parameters
SEPARATE: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in KNOWN else {}


def in_new_process(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where no class of the tests is registered."""
    command = [sys.executable, "-m", "keras_padsafe", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env}
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: trained, with two vocabularies, and with classes unknown."""
    folder = tmp_path_factory.mktemp("models")
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(50, 8, name="tokens")(ids)
    trained = keras.Model(ids, layers.Dense(50, activation="softmax", name="head")(x))
    trained.compile("adam", "sparse_categorical_crossentropy")
    words = np.arange(24, dtype="int32").reshape(4, 6)
    trained.fit(words, words, verbose=0)
    trained.save(folder / "trained.keras")

    other = keras.Input((6,), dtype="int32", name="item_ids")
    both = [layers.Embedding(50, 8, name="users")(ids)]
    both.append(layers.Embedding(70, 8, name="items")(other))
    keras.Model([ids, other], layers.Concatenate()(both)).save(folder / "two.keras")

    odd = Prior(50, name="prior")(layers.Embedding(50, 8, name="tokens")(ids))
    keras.Model(ids, odd).save(folder / "odd.keras")
    for name, made in (
        ("own", Words(50, name="words")(ids)),
        ("wrong", Shared(50, name="words")(ids)),
        (
            "doubled",
            layers.Dense(2)(Doubled()(layers.Embedding(50, 8, name="tokens")(ids))),
        ),
        ("encoded", layers.CategoryEncoding(50, "multi_hot")(ids)),
        ("without", layers.Rescaling(2.0)(ids)),
    ):
        keras.Model(ids, made).save(folder / f"{name}.keras")
    return folder


@pytest.fixture
def model(models: Path, tmp_path: Path) -> Path:
    """A copy of the trained model, alone in a folder."""
    return Path(shutil.copy(models / "trained.keras", tmp_path / "model.keras"))


@pytest.fixture
def run() -> Run:
    """Runs a command; a traceback is an error of the test."""

    def call(*words: object, **options: object) -> Result:
        arguments = [str(word) for word in words]
        result = CliRunner(**SEPARATE).invoke(
            main, arguments, prog_name="keras-padsafe", **options
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
