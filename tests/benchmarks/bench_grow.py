"""Grows a large saved model beside `cp` and beside what people do by hand in Keras.

    KERAS_BACKEND=jax python -m tests.benchmarks.bench_grow [--rows 160000] [--dim 1024]

By hand: load the model, build it again with more rows, copy each weight over, save. All
run in one process, in turn, and the ratios are what counts; `grow.md` has them. Peak
memory is each one's own, measured in a process that does nothing else.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

ADDED = 1000
ROUNDS = 5


def build(rows: int, dim: int) -> "keras.Model":  # noqa: F821
    import keras

    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(rows, dim)(ids)
    x = keras.layers.Dense(256)(x)
    return keras.Model(ids, keras.layers.Dense(rows)(x))


def by_hand(source: Path, target: Path) -> None:
    import keras
    import numpy as np

    old = keras.models.load_model(source)
    rows, dim = old.layers[1].input_dim, old.layers[1].output_dim
    new = build(rows + ADDED, dim)
    for before, after in zip(old.weights, new.weights, strict=True):
        value = keras.ops.convert_to_numpy(before)
        for axis, size in enumerate(after.shape):
            if value.shape[axis] != size:
                mean = value.mean(axis=axis, keepdims=True)
                added = np.repeat(mean, size - value.shape[axis], axis=axis)
                value = np.concatenate([value, added], axis=axis)
        after.assign(value)
    new.save(target)


def grow(source: Path, target: Path, new_rows: str = "mean") -> None:
    from keras_padsafe import surgery

    surgery.grow(source, target, rows=ADDED, new_rows=new_rows, overwrite=True)


def copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "cp": copy,
    "grow": grow,
    "grow, rows of zeros": partial(grow, new_rows="zeros"),
    "by hand": by_hand,
}


def peak_megabytes() -> float:
    """The peak of this process alone; `ru_maxrss` would start from its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def memory(way: str, source: Path, target: Path) -> float:
    """The growth of peak memory over what was there after the imports."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_grow", "--memory", way]
    done = subprocess.run(
        [*command, str(source), str(target)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=160_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--memory", nargs=3)
    options = parser.parse_args()
    if options.memory:
        way, source, target = options.memory
        import h5py  # noqa: F401

        from keras_padsafe import surgery

        surgery.inspect(source)
        if way == "by hand":
            build(10, 4)
        before = peak_megabytes()
        WAYS[way](Path(source), Path(target))
        print(peak_megabytes() - before)
        return
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.keras"), Path(folder, "target.keras")
        build(options.rows, options.dim).save(source)
        size = source.stat().st_size / 2**20
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        processor: dict[str, list[float]] = {way: [] for way in WAYS}
        *quick, by_hand_last = WAYS  # which leaves little room for others' files
        for way in (*quick * ROUNDS, *[by_hand_last] * ROUNDS):
            target.unlink(missing_ok=True)
            started, before = time.perf_counter(), time.process_time()
            WAYS[way](source, target)
            seconds[way].append(time.perf_counter() - started)
            processor[way].append(time.process_time() - before)
        print(f"file of {size:.0f} MB, median of {ROUNDS} rounds, fsync included in cp")
        for way, times in seconds.items():
            ratio = median(t / c for t, c in zip(times, seconds["cp"], strict=True))
            peak = memory(way, source, target)
            print(
                f"{way:20}{median(times):6.2f} s {ratio:6.2f} x cp, of the processor "
                f"{median(processor[way]):5.2f} s, peak +{peak:.0f} MB"
            )


if __name__ == "__main__":
    main()
