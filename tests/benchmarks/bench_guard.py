"""Time of a step of `fit` under `NonFiniteGuard` relative to one without, by model.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_guard

The two are timed in turns, in one process; what is printed is the least process time
of a step without the guard, and the ratio to it of that with the guard. The first
steps of each `fit`, which compile, are not timed.
"""

import argparse
import time
from typing import Any

import keras
import numpy as np

import keras_padsafe as kp

WARM_UP = 5


class Clock(keras.callbacks.Callback):
    """Notes the process time of the steps after the first ones."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == WARM_UP:
            self.start = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.spent = time.process_time() - self.start


def dense(units: int, depth: int) -> keras.Model:
    """A stack of dense layers."""
    layers = [keras.layers.Dense(units, activation="relu") for _ in range(depth)]
    return keras.Sequential([keras.Input((units,)), *layers])


def transformer(dim: int, depth: int, rows: int) -> keras.Model:
    """An encoder over ids, with dropout and layer normalisation."""
    ids = keras.Input((64,), dtype="int32")
    x = keras.layers.Embedding(rows, dim)(ids)
    for _ in range(depth):
        y = keras.layers.MultiHeadAttention(4, dim // 4, dropout=0.1)(x, x)
        x = keras.layers.LayerNormalization()(x + y)
        y = keras.layers.Dense(4 * dim, activation="gelu")(x)
        x = keras.layers.LayerNormalization()(x + keras.layers.Dense(dim)(y))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, keras.layers.Dense(1)(x))


# A model, and the size of its batch. The last one is the worst case: a step that
# touches a few rows of a large table, all of which is looked at.
MODELS = {
    "dense, 64 x 2": (lambda: dense(64, 2), 32),
    "dense, 1024 x 4": (lambda: dense(1024, 4), 256),
    "transformer, 128 x 2": (lambda: transformer(128, 2, 5000), 32),
    "transformer, 256 x 4": (lambda: transformer(256, 4, 5000), 32),
    "table of 200,000 rows": (lambda: transformer(64, 1, 200_000), 8),
}


def main() -> None:
    """Prints one row a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    options = parser.parse_args()
    print("| model | weights | without | with the guard |\n|---|---|---|---|")
    for name in options.models:
        make, batch = MODELS[name]
        model = make()
        model.compile("adam", "mse")
        x, y = data(model, batch * (options.steps + WARM_UP))
        spent: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.rounds):
            for guarded, times in spent.items():
                guards = [kp.callbacks.NonFiniteGuard("raise")] if guarded else []
                clock = Clock()
                model.fit(x, y, batch, verbose=0, callbacks=[*guards, clock])
                times.append(clock.spent / options.steps)
        without, with_guard = (min(times) for times in spent.values())
        print(
            f"| {name} | {model.count_params():,} | {without * 1e3:.2f} ms "
            f"| {with_guard / without:.2f} |",
            flush=True,
        )


def data(model: keras.Model, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and targets of the shapes that a model takes."""
    random = np.random.default_rng(0)
    shape = (rows, *model.input_shape[1:])
    is_ids = model.inputs[0].dtype == "int32"
    x = random.integers(0, 5000, shape) if is_ids else random.normal(size=shape)
    y = random.normal(size=(rows, *model.output_shape[1:]))
    return x.astype("int32" if is_ids else "float32"), y.astype("float32")


if __name__ == "__main__":
    main()
