"""Time of our attention layers relative to those of Keras, in one process.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_attention

The two are timed in turns, and what is printed is the ratio of the least process
times: below 1 is faster than Keras. The batch is right-padded, half of it padding.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_padsafe as kp

LAYERS = {
    "multi-head": (
        keras.layers.MultiHeadAttention,
        kp.layers.MaskedMultiHeadAttention,
        {"num_heads": 8},
    ),
    "multi-head, dropout 0.1": (
        keras.layers.MultiHeadAttention,
        kp.layers.MaskedMultiHeadAttention,
        {"num_heads": 8, "dropout": 0.1},
    ),
    "grouped-query": (
        keras.layers.GroupQueryAttention,
        kp.layers.MaskedGroupedQueryAttention,
        {"num_query_heads": 8, "num_key_value_heads": 2},
    ),
    "one head": (keras.layers.Attention, kp.layers.MaskedAttention, {}),
}


def build(cls: type, config: dict[str, Any], time_steps: int, dim: int) -> Any:
    """Returns a model of one layer that reads its mask from an embedding."""
    ids = keras.Input((time_steps,), dtype="int32")
    x = keras.layers.Embedding(1000, dim, mask_zero=True)(ids)
    if issubclass(cls, keras.layers.Attention):
        y = cls(**config)([x, x])
    else:
        size = "head_dim" if "num_query_heads" in config else "key_dim"
        y = cls(**config, **{size: dim // 8})(x, x)
    model = keras.Model(ids, y)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def least_times(runs: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Times the runs in turns; returns the least process time of each."""
    times = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, spent in zip(runs, times, strict=True):
            start = time.process_time()
            run()
            if number:  # the first round compiles
                spent.append(time.process_time() - start)
    return [min(spent) for spent in times]


def main() -> None:
    """Prints one row a layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--time", type=int, default=256)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (options.batch, options.time)
    lengths = rng.integers(1, options.time + 1, (options.batch, 1))
    ids = np.where(np.arange(options.time) < lengths, rng.integers(1, 1000, shape), 0)
    target = np.zeros((*shape, options.dim), "float32")
    print("| layer | inference | training |\n|---|---|---|")
    for name, (stock, ours, config) in LAYERS.items():
        models = [
            build(cls, config, options.time, options.dim) for cls in (stock, ours)
        ]
        infer = [lambda m=m: m.predict_on_batch(ids) for m in models]
        train = [lambda m=m: m.train_on_batch(ids, target) for m in models]
        ratios = []
        for runs in (infer, train):
            theirs, mine = least_times(runs, options.rounds)
            ratios.append(f"{mine / theirs:.2f}")
        print(f"| {name} | {' | '.join(ratios)} |", flush=True)


if __name__ == "__main__":
    main()
