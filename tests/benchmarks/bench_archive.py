"""What a rewrite of a `.keras` file costs, beside `cp` and beside Keras.

Run by hand: `python tests/benchmarks/bench_archive.py [rows]`. Each row of the table
is the best of three runs, interleaved, in one process; the last one, loading and
saving with Keras, needs Keras and a backend and runs once.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from keras_padsafe.archive import NewArray, Span, open_archive, write_archive

WIDTH, NEW_ROWS, ROUNDS = 1024, 1000, 3
TABLE = "layers/embedding/vars/0"


def main(rows: int) -> None:
    """Prints seconds, and their ratio to `cp` with fsync, for each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_model(folder, rows)
        print(f"{source.stat().st_size / 1e6:.0f} MB, {rows} rows of {WIDTH} float32")
        target = folder / "target.keras"
        ways: dict[str, Callable[[], None]] = {
            "cp": lambda: copy(source, target, flush=False),
            "cp and fsync": lambda: copy(source, target, flush=True),
            "rewrite": lambda: rewrite(source, target, {}),
            "append rows": lambda: rewrite(source, target, more_rows(rows)),
            "append a column": lambda: rewrite(source, target, more_columns(rows)),
            "permute rows": lambda: rewrite(source, target, permuted(rows)),
        }
        seconds = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                target.unlink(missing_ok=True)
                seconds[way].append(timed(run))
        best = {way: min(times) for way, times in seconds.items()}
        best["Keras load and save"] = timed(lambda: through_keras(source, target))
        for way, time_taken in best.items():
            ratio = time_taken / best["cp and fsync"]
            print(f"{way:20} {time_taken:7.2f} s {ratio:7.1f} x")


def make_model(folder: Path, rows: int) -> Path:
    """One table, saved by Keras."""
    import keras

    ids, embedding = keras.Input((4,)), keras.layers.Embedding(rows, WIDTH)
    keras.Model(ids, embedding(ids)).save(folder / "source.keras")
    return folder / "source.keras"


def copy(source: Path, target: Path, *, flush: bool) -> None:
    """What `cp` does."""
    shutil.copyfile(source, target)
    if flush:
        with open(target, "rb") as file:
            os.fsync(file.fileno())


def rewrite(source: Path, target: Path, arrays: dict[str, NewArray]) -> None:
    """Ours: checks the source, and flushes."""
    with open_archive(source) as archive:
        write_archive(target, archive, arrays=arrays)


def through_keras(source: Path, target: Path) -> None:
    """The only way without us, before anything is changed."""
    import keras

    keras.models.load_model(source).save(target)


def more_rows(rows: int) -> dict[str, NewArray]:
    """Appends zeros."""
    new = bytes(NEW_ROWS * WIDTH * 4)
    pieces = [Span(0, rows * WIDTH * 4), new]
    return {TABLE: NewArray((rows + NEW_ROWS, WIDTH), lambda: iter(pieces))}


def more_columns(rows: int) -> dict[str, NewArray]:
    """One more number in every row."""

    def pieces() -> Iterator[Span | bytes]:
        for start in range(0, rows * WIDTH * 4, WIDTH * 4):
            yield Span(start, start + WIDTH * 4)
            yield b"\0\0\0\0"

    return {TABLE: NewArray((rows, WIDTH + 1), pieces)}


def permuted(rows: int) -> dict[str, NewArray]:
    """Every row elsewhere: the slowest edit, for the source is read twice."""

    def pieces() -> Iterator[Span | bytes]:
        for row in np.random.default_rng(0).permutation(rows).tolist():
            yield Span(row * WIDTH * 4, (row + 1) * WIDTH * 4)

    return {TABLE: NewArray((rows, WIDTH), pieces)}


def timed(run: Callable[[], None]) -> float:
    """Seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
