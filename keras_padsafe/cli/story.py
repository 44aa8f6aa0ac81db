"""The story that `demo` tells, from training to the table of before and after."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_padsafe import surgery
from keras_padsafe.archive.atomic_file import write_file
from keras_padsafe.cli.names_task import (
    MAX_WORDS,
    PAD,
    UNKNOWN,
    Encoder,
    Split,
    read_names_task,
)
from keras_padsafe.unicode_names import NEW_VERSION, OLD_VERSION, Name

# Keras leaves its own functions untyped.
Model: TypeAlias = Any

SEED = 0
EPOCHS = 5
SCRATCH_EPOCHS = 40
LEARNING_RATE = 0.002
# In training, this share of words is read as unknown, so that the unknown-word row
# is a trained one and keeping the old vocabulary a fair rival.
UNKNOWN_SHARE = 0.05


@dataclass
class Clock:
    """Says each step when it starts, and keeps how long it took."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Runs one step."""
        self.say(what)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)


def tell(
    before: Path, after: Path, say: Callable[[str], None], *, overwrite: bool
) -> dict[str, Any]:
    """Trains, grows, verifies, tunes and measures.

    Args:
        before: The file to save the trained model to.
        after: The file to write the grown model to.
        say: Called with what happens next.
        overwrite: Whether they may exist.

    Returns:
        All that was found, as plain data.
    """
    clock = Clock(say)
    with clock.step("read", f"Reading the names of Unicode {OLD_VERSION} and since"):
        split, encoder, new_words = read_names_task(SEED)
    with clock.step("train", f"Training on {len(split.train):,} names of 2002"):
        model = _train(split.train, encoder)
        _save(model, before, overwrite=overwrite)
    with clock.step("grow", f"Growing the saved file by {len(new_words):,} words"):
        report = surgery.grow(before, after, tokens=new_words, overwrite=overwrite)
    with clock.step("verify", "Verifying the grown file against the old one"):
        certificate = surgery.verify(before, after)
    grown = encoder.grown(report.tokens)
    with clock.step("compare", "Comparing outputs on every name of 2002"):
        difference = _difference(before, after, split, encoder, grown)
    rows = _measure(before, after, split, encoder, grown, clock)
    return {
        "backend": keras.backend.backend(),
        "unicode": {"old": OLD_VERSION, "new": NEW_VERSION},
        "names": {name: len(part) for name, part in vars(split).items()},
        "words": {"old": len(encoder.index), "new": len(new_words)},
        "epochs": {"tune": EPOCHS, "scratch": SCRATCH_EPOCHS},
        "files": [
            {"path": str(path), "ids": coder.size, "bytes": path.stat().st_size}
            for path, coder in ((before, encoder), (after, grown))
        ],
        "old_outputs": {
            "names": len(split.train) + len(split.held_out),
            "largest_difference": difference,
        },
        "certificate": certificate.to_json(),
        "accuracy": rows,
        "seconds": clock.seconds,
    }


def _classifier(encoder: Encoder) -> Model:
    """A mean of word vectors, and two layers.

    No name is empty, so that the stock pooling never meets a row without a word.
    """
    keras.utils.set_random_seed(SEED)
    model: Model = keras.Sequential(
        [
            keras.Input((MAX_WORDS,), dtype="int32"),
            keras.layers.Embedding(encoder.size, 32, mask_zero=True, name="words"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(len(encoder.categories), activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy"
    )
    return model


def _save(model: Model, path: Path, *, overwrite: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="keras_padsafe_") as folder:
        saved = Path(folder, "saved.keras")
        model.save(saved)
        write_file(path, saved.read_bytes(), overwrite=overwrite)


def _train(names: Sequence[Name], encoder: Encoder) -> Model:
    ids = encoder.ids(names)
    hidden = np.random.default_rng(SEED).random(ids.shape) < UNKNOWN_SHARE
    model = _classifier(encoder)
    ids = np.where(hidden & (ids != PAD), UNKNOWN, ids)
    model.fit(ids, encoder.labels(names), epochs=EPOCHS + 1, batch_size=128, verbose=0)
    return model


def _difference(
    before: Path, after: Path, split: Split, encoder: Encoder, grown: Encoder
) -> float:
    """The largest difference of any output on any old name."""
    names = split.train + split.held_out
    outputs = [
        _predict(keras.models.load_model(path), coder, names)
        for path, coder in ((before, encoder), (after, grown))
    ]
    return float(np.abs(outputs[0] - outputs[1]).max())


def _measure(
    before: Path,
    after: Path,
    split: Split,
    encoder: Encoder,
    grown: Encoder,
    clock: Clock,
) -> list[dict[str, Any]]:
    """Accuracy of each way to meet new words, without and with a few labels."""

    def row(name: str, model: Model, coder: Encoder) -> dict[str, Any]:
        return {
            "model": name,
            "new_names": _accuracy(model, coder, split.test),
            "old_names": _accuracy(model, coder, split.held_out),
        }

    rows = []
    for name, path, coder in (
        ("old vocabulary", before, encoder),
        ("grown", after, grown),
    ):
        model: Model = keras.models.load_model(path)
        rows.append(row(name, model, coder))
        with clock.step(
            f"tune {name}", f"Tuning on {len(split.tune)} new names: {name}"
        ):
            _fit(model, coder, split.tune, EPOCHS)
        rows.append(row(f"{name}, tuned", model, coder))
    model = _classifier(grown)
    with clock.step(
        "scratch", f"Training on the same {len(split.tune)} names from scratch"
    ):
        _fit(model, grown, split.tune, SCRATCH_EPOCHS)
    rows.append(row("from scratch", model, grown))
    return rows


def _fit(model: Model, encoder: Encoder, names: Sequence[Name], epochs: int) -> None:
    keras.utils.set_random_seed(SEED)
    labels = encoder.labels(names)
    model.fit(encoder.ids(names), labels, epochs=epochs, batch_size=32, verbose=0)


def _accuracy(model: Model, encoder: Encoder, names: Sequence[Name]) -> float:
    guesses = _predict(model, encoder, names).argmax(axis=-1)
    return float((guesses == encoder.labels(names)).mean())


def _predict(model: Model, encoder: Encoder, names: Sequence[Name]) -> np.ndarray:
    return model.predict(encoder.ids(names), batch_size=1024, verbose=0)
