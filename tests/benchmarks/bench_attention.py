"""Time of our attention layers relative to those of Keras, in one process.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_attention --json jax.json

The two are timed in turns. What is printed is how many times faster than Keras ours
is: the median of the rounds' ratios of process times, and their least and greatest.
The batch is right-padded, its lengths are uniform and the longest is the whole. The
floor is Keras on a batch without padding that has as many real tokens, in fewer rows.

On a GPU, `--force` lets our layers skip padding there too, which they do not do by
themselves: none has been measured.
"""

import argparse
import contextlib
import json
import platform
import statistics
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


def ratios(runs: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Times the runs in turns; returns the first one's time over each other's."""
    found: list[list[float]] = [[] for _ in runs[1:]]
    for number in range(rounds + 1):
        spent = []
        for run in runs:
            start = time.process_time()
            run()
            spent.append(time.process_time() - start)
        if number:  # the first round compiles
            for ratio, mine in zip(found, spent[1:], strict=True):
                ratio.append(spent[0] / mine)
    return found


def batch(share: float, rows: int, steps: int) -> np.ndarray:
    """Returns ids of which `share` is padding, 0."""
    rng = np.random.default_rng(0)
    lengths = np.full(rows, steps)
    if share:
        lengths = np.clip(rng.uniform(0, 2 * (1 - share), rows) * steps, 1, steps)
        lengths[0] = steps
    ids = rng.integers(1, 1000, (rows, steps))
    real = np.arange(steps) < lengths.astype(int)[:, None]
    return np.where(real, ids, 0).astype("int32")


def main() -> None:
    """Prints one row a layer and share of padding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--time", type=int, default=512)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", nargs="*", default=["multi-head"], choices=LAYERS)
    parser.add_argument("--shares", type=float, nargs="*", default=[0, 0.25, 0.5, 0.75])
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    force = kp.ops.follow_real_tokens(True) if options.force else None
    machine = (
        f"{keras.backend.backend()}, {platform.processor()}, {platform.platform()}"
    )
    print(machine, "\n")
    print("| layer | padding | inference | training | floor of training |")
    print("|---|---|---|---|---|")
    rows = []
    with force or contextlib.nullcontext():
        for name in options.layers:
            for share in options.shares:
                row = measure(name, share, options)
                rows.append(row)
                cells = [
                    f"{statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f})"
                    for r in (row["inference"], row["training"], row["floor"])
                ]
                print(f"| {name} | {share:.0%} | {' | '.join(cells)} |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "rows": rows}, file, indent=1)


def measure(name: str, share: float, options: argparse.Namespace) -> dict[str, Any]:
    """Measures one layer on one share of padding."""
    stock, ours, config = LAYERS[name]
    models = [build(cls, config, options.time, options.dim) for cls in (stock, ours)]
    ids = batch(share, options.batch, options.time)
    full = max(1, round(float((ids > 0).mean()) * options.batch))
    dense = batch(0, full, options.time)
    target = np.zeros((*ids.shape, options.dim), "float32")
    train = [lambda m=m: m.train_on_batch(ids, target) for m in models]
    train.append(lambda: models[0].train_on_batch(dense, target[:full]))
    infer = [lambda m=m: m.predict_on_batch(ids) for m in models]
    training, floor = ratios(train, options.rounds)
    (inference,) = ratios(infer, options.rounds)
    return {
        "layer": name,
        "padding": share,
        "inference": inference,
        "training": training,
        "floor": floor,
    }


if __name__ == "__main__":
    main()
