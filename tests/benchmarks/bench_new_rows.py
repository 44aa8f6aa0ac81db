"""Time of a step of `fit` that trains new rows only, relative to the whole table.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_new_rows

Both are timed in turns, in one process; what is printed is the least process time of a
step. The first steps of each `fit`, which compile, are not timed.
"""

import argparse

import keras
import numpy as np

import keras_padsafe as kp
from tests.benchmarks.bench_guard import WARM_UP, Clock

NEW, DIM, TIME, BATCH = 100, 64, 16, 32


def main() -> None:
    """Prints one row a size of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[20_000, 200_000])
    options = parser.parse_args()
    print("| rows | whole table | new rows | ratio |\n|---|---|---|---|")
    for size in options.sizes:
        whole = tower(size)
        frozen = kp.surgery.freeze_old_rows(whole, size - NEW, train_rest=True)
        rows = BATCH * (options.steps + WARM_UP)
        ids = np.random.default_rng(0).integers(0, size, (rows, TIME))
        spent: dict[str, list[float]] = {"whole": [], "frozen": []}
        for _ in range(options.rounds):
            for name, model in (("whole", whole), ("frozen", frozen)):
                clock = Clock()
                model.fit(ids, ids[:, :1] % 2, BATCH, verbose=0, callbacks=[clock])
                spent[name].append(clock.spent / options.steps)
        slow, fast = (min(times) for times in spent.values())
        print(
            f"| {size:,} | {slow * 1e3:.2f} ms | {fast * 1e3:.2f} ms "
            f"| 1/{slow / fast:.0f} |",
            flush=True,
        )


def tower(size: int) -> keras.Model:
    """The mean of a few rows, and a score."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((TIME,), dtype="int32"),
            layers.Embedding(size, DIM),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


if __name__ == "__main__":
    main()
