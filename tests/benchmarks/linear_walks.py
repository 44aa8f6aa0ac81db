"""Reading a file takes time in proportion to its size: 1, 2, 4 and 8 times as much.

    python -m tests.benchmarks.linear_walks

Each row is a kind of file and a step; the last column is how much longer eight times
the file takes, of which 8 is linear. Below them, what whole commands take.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_padsafe import surgery
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.strict_json import parse_object
from tests.attack.corpus import (
    TABLE,
    called,
    functional,
    ids,
    layer,
    model_file,
    sequential,
    table,
    tensor,
)

FACTORS = (1, 2, 4, 8)


def layers(folder: Path, count: int) -> Path:
    many = [layer("Dropout", f"d{n}") for n in range(count)]
    return model_file(folder / "a.keras", sequential(ids(), table(), *many))


def names(folder: Path, count: int) -> Path:
    """Groups that are found by the name they bear."""
    many = [layer("Dense", f"x{n}", units=1) for n in range(count)]
    places = [f"layers/other_{n}/vars" for n in range(count)]
    arrays: dict[str, Any] = {f"{place}/0": np.zeros(1, "f4") for place in places}
    labels = {place: f"x{n}" for n, place in enumerate(places)}
    config = sequential(ids(), table(), *many)
    arrays[TABLE] = np.zeros((10, 4), "f4")
    return model_file(folder / "a.keras", config, arrays, labels=labels)


def calls(folder: Path, count: int) -> Path:
    config = functional(called(ids()), called(table(), tensor("ids", 4), times=count))
    return model_file(folder / "a.keras", config)


def vocabularies(folder: Path, count: int) -> Path:
    """Each of one size, and each compared with all heads of it."""
    tables = [
        layer
        for n in range(count)
        for layer in (
            called(ids(f"i{n}")),
            called(table(10, 1, f"t{n}"), tensor(f"i{n}", 4)),
        )
    ]
    arrays: dict[str, Any] = {
        f"layers/embedding{f'_{n}' if n else ''}/vars/0": np.zeros((10, 1), "f4")
        for n in range(count)
    }
    config = functional(*tables)
    config["config"]["input_layers"] = [[f"i{n}", 0, 0] for n in range(count)]
    config["config"]["output_layers"] = [[f"t{n}", 0, 0] for n in range(count)]
    return model_file(folder / "a.keras", config, arrays)


def plan_of(folder: Path, count: int) -> dict[str, Any]:
    document = surgery.plan(layers(folder, 1), rows=2).to_json()
    array = document["arrays"][0]
    document["arrays"] = [{**array, "path": f"a{n}/vars/0"} for n in range(count)]
    return document


def text_of(folder: Path, count: int) -> bytes:
    return json.dumps({"x": [[]] * count}).encode()


KINDS: dict[str, tuple[Callable[[Path, int], Any], Callable[[Any], Any], int]] = {
    "layers, inspect": (layers, surgery.inspect, 2500),
    "groups by name, inspect": (names, surgery.inspect, 500),
    "calls of one table, inspect": (calls, surgery.inspect, 1500),
    "vocabularies, inspect": (vocabularies, surgery.inspect, 60),
    "arrays of a plan": (plan_of, surgery.Plan.from_json, 5000),
    "brackets of JSON": (
        text_of,
        lambda text: parse_object("x", text, Limits()),
        250_000,
    ),
}


def main() -> None:
    gc.disable()  # It looks at all that was read again and again, and hides the rest.
    print(
        f"{'':30}" + "".join(f"{factor:>9} x" for factor in FACTORS) + "    8 x / 1 x"
    )
    for kind, (make, read, base) in KINDS.items():
        seconds = []
        for factor in FACTORS:
            with tempfile.TemporaryDirectory() as folder:
                made = make(Path(folder), base * factor)
                runs = []
                for _ in range(2):
                    started = time.process_time()
                    read(made)
                    runs.append(time.process_time() - started)
                seconds.append(min(runs))
        shown = "".join(f"{second:9.3f} s" for second in seconds)
        print(f"{kind:30}{shown}{seconds[-1] / seconds[0]:12.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        small = str(layers(Path(folder), 1))
        for words in (["inspect", small], ["explain", "PS301"], ["--help"]):
            seconds = min(_whole(words) for _ in range(5))
            print(f"keras-padsafe {words[0]:16}{seconds:9.3f} s")


def _whole(words: list[str]) -> float:
    """Seconds that a command takes of the processor, Python's own start among them."""
    before = os.times()
    command = [sys.executable, "-m", "keras_padsafe", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


if __name__ == "__main__":
    main()
