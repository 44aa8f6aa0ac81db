"""Grows every model of the KerasHub zoo by 7 ids, beside the same model built larger.

    KERAS_BACKEND=jax python -m tests.benchmarks.hub_table [NAME ...] > hub_zoo.md

A model is *grown* if every array of the new file, optimizer slots included, has the
shape that it has in the file of the larger model; the last column tells of the proof.
"""

import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import keras

import keras_padsafe as kp
from keras_padsafe.errors import NotProvedError, PadsafeError

from ..surgery.saved import read
from .hub_zoo import DEFAULT_V, MODELS

ADDED = 7


def outcome(name: str, folder: Path) -> tuple[str, str]:
    """What became of one model, and a remark."""
    old, larger, new = (folder / f"{part}.keras" for part in ("old", "larger", "new"))
    MODELS[name](DEFAULT_V[name] + ADDED).save(larger)
    MODELS[name](DEFAULT_V[name]).save(old)
    new.unlink(missing_ok=True)
    try:
        report = kp.surgery.grow(old, new, rows=ADDED)
    except NotProvedError as error:
        checks = error.certificate.checks
        found = next(c for c in checks if c.status in ("failed", "skipped"))
        return error.certificate.verdict, f"{found.name}: {_line(found.detail)}"
    except PadsafeError as error:
        return "refused", _line(str(error).partition(": ")[2])
    wanted = {path: array.shape for path, array in read(larger).arrays.items()}
    made = {path: array.shape for path, array in read(new).arrays.items()}
    if made != wanted:
        different = [path for path in wanted if wanted[path] != made.get(path)]
        return "WRONG", ", ".join(different[:3])
    return "grown", report.certificate.verdict if report.certificate else "not run"


def _line(text: str) -> str:
    return " ".join(text.split())[:160].replace("|", "/")


def main(names: list[str]) -> None:
    """Prints the table."""
    counts: Counter[str] = Counter()
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names or MODELS:
            made, remark = outcome(name, Path(folder))
            counts[made] += 1
            rows.append(f"| {name} | {made} | {remark} |")
            print(rows[-1], file=sys.stderr, flush=True)
    print("# KerasHub models, grown by 7 ids\n")
    print(f"Keras {keras.__version__} on {keras.backend.backend()}. This table is what")
    print("`python -m tests.benchmarks.hub_table` prints.\n")
    print(", ".join(f"{count} {made}" for made, count in counts.most_common()) + ".")
    print("\n| model | outcome | proof, or why |\n|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
