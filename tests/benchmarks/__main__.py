"""How fast this package is beside stock Keras, on this machine.

    python -m tests.benchmarks                      # all backends; hours on two cores
    python -m tests.benchmarks jax --quick          # smaller, minutes
    python -m tests.benchmarks torch --only attention encoder

Each backend gets a process of its own, in which all ways of doing a thing take turns.
What counts is process time, since a machine is rarely idle; where others run too,
`OMP_NUM_THREADS=1` keeps PyTorch's threads from counting the time that they wait.
Writes `speed.json`, `speed.md` and `speed.svg` into the folder.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BACKENDS = ("jax", "tensorflow", "torch")
ONE = "--in-this-process"


def main() -> None:
    """Runs the cases and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backends", nargs="*", metavar="backend", help=str(BACKENDS))
    parser.add_argument("--quick", action="store_true", help="smaller cases")
    parser.add_argument("--only", nargs="*", help="these groups of cases")
    parser.add_argument(
        "--force", action="store_true", help="skip padding on a GPU too"
    )
    parser.add_argument("--shares", nargs="*", type=float, help="of padding")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument(ONE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not set(options.backends) <= set(BACKENDS):
        parser.error(f"backends are {BACKENDS}")
    if options.in_this_process:
        _measure(options)
        return
    from tests.benchmarks.speed_page import write_page

    file = options.out / "speed.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for backend in options.backends or BACKENDS:
        rest = [a for a in sys.argv[1:] if a not in BACKENDS]
        command = [sys.executable, "-m", "tests.benchmarks", *rest, ONE]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        new = json.loads(done.stdout.splitlines()[-1])
        found[backend] = merged(found.get(backend), new)
        file.write_text(json.dumps(found, indent=1) + "\n")
        write_page(found, options.out)


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Puts rows in place of those that were measured before at the same sizes.

    They may come of another processor, which each row names.
    """
    if old is None or {**old, "rows": 0} != {**new, "rows": 0}:
        return new
    rows = {(row["case"], row["padding"]): row for row in (*old["rows"], *new["rows"])}
    return {**new, "rows": list(rows.values())}


def _measure(options: argparse.Namespace) -> None:
    """Prints what was measured in this process, as the last line."""
    import contextlib
    import dataclasses

    import keras

    import keras_padsafe as kp
    from tests.benchmarks.speed_cases import CASES, QUICK, Sizes, mask_bytes
    from tests.benchmarks.speed_page import machine, row_of, told
    from tests.benchmarks.turns import in_turns

    sizes = QUICK if options.quick else Sizes()
    force = kp.ops.follow_real_tokens(True) if options.force else None
    rows: list[dict[str, Any]] = []
    where = machine()
    cpu = where.pop("cpu")
    with force or contextlib.nullcontext():
        for name in options.only or CASES:
            for case in CASES[name](sizes):
                if options.shares and case.padding not in options.shares:
                    continue
                is_new = case.name not in {row["case"] for row in rows}
                row = row_of(case, in_turns(case.ways, sizes.rounds), is_new)
                row["cpu"] = cpu
                rows.append(row)
                print(keras.backend.backend(), told(row), file=sys.stderr, flush=True)
    result = {
        "machine": where,
        "sizes": dataclasses.asdict(sizes),
        "mask_bytes": mask_bytes(),
        "rows": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
