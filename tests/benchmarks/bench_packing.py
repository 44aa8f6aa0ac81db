"""Time of an epoch on packed rows relative to padded ones, in one process.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_packing

One model of the same weights, on the same sequences of uniform lengths: padded to the
longest, in buckets, and packed. What is printed is how many times faster than the
padded epoch the others are, by process time, in turns: the median of the rounds'
ratios, and their least and greatest; and the share of positions that hold a token.
"""

import argparse
import platform
import statistics

import keras
import numpy as np

import keras_padsafe as kp
from tests.benchmarks.turns import in_turns

WORDS = 1000


def build(length: int, dim: int, blocks: int, packed: bool) -> keras.Model:
    """Returns a tagger of a few transformer blocks."""
    names = ("tokens", "segments", "positions")
    inputs = [keras.Input((None,), dtype="int32", name=name) for name in names]
    tokens, segments, positions = inputs
    x = keras.layers.Embedding(WORDS, dim, mask_zero=True)(tokens)
    x = kp.layers.MaskedAdd()([x, keras.layers.Embedding(length, dim)(positions)])
    own = kp.ops.segment_mask(segments, segments) if packed else None
    for _ in range(blocks):
        attend = kp.layers.MaskedMultiHeadAttention(dim // 64, 64)
        x = kp.layers.MaskedAdd()([x, attend(x, x, attention_mask=own)])
        wide = keras.layers.Dense(4 * dim, activation="relu")(x)
        x = kp.layers.MaskedAdd()([x, keras.layers.Dense(dim)(wide)])
    model = keras.Model(inputs, keras.layers.Dense(8)(x))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", kp.losses.MaskedLoss(entropy, pad_label=-1))
    return model


def main() -> None:
    """Prints one row a way to batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    longest = options.length
    lengths = rng.integers(1, longest + 1, options.sequences)
    tokens = [rng.integers(1, WORDS, n) for n in lengths]
    tags = [rng.integers(0, 8, n) for n in lengths]
    features = {
        "tokens": tokens,
        "segments": [np.ones_like(t) for t in tokens],
        "positions": [np.arange(len(t)) for t in tokens],
    }
    quarters = [longest * part // 4 for part in (1, 2, 3, 4)]
    ways = {
        "padded": (features, kp.data.Buckets([longest], options.batch)),
        "buckets": (features, kp.data.Buckets(quarters, options.batch)),
        "packed": (tokens, kp.data.Packing(longest, options.batch)),
    }
    runs, filled = {}, {}
    for name, (x, way) in ways.items():
        packed = name == "packed"
        model = build(longest, options.dim, options.blocks, packed)
        data = kp.data.SequenceDataset(way, x, tags)
        runs[name] = lambda m=model, d=data: m.fit(d, verbose=0)
        filled[name] = data.filled
    print(f"{keras.backend.backend()}, {platform.processor()}, {platform.platform()}\n")
    print("| batches | filled | faster than padded |")
    print("|---|---|---|")
    times = {k: v["times"] for k, v in in_turns(runs, options.rounds).items()}
    for name, own in times.items():
        pairs = zip(times["padded"], own, strict=True)
        ratio = [padded / one for padded, one in pairs]
        middle, least, most = statistics.median(ratio), min(ratio), max(ratio)
        spread = f"{middle:.2f} ({least:.2f} to {most:.2f})"
        print(f"| {name} | {filled[name]:.0%} | {spread} |")


if __name__ == "__main__":
    main()
