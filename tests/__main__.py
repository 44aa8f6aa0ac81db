"""Runs every test: `python -m tests [BACKEND ...] [-- PYTEST ARGUMENTS]`.

Each backend gets a process of its own, since Keras chooses one for good when it is
imported; the checks of the source (`lint`) are a lane like them. Without arguments all
lanes run, two at a time, each backend's files in parts, so that two cores end together.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("tensorflow", "jax", "torch")  # the slowest first
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("pyright",),
)
AT_ONCE, PARTS = 2, 3


def run(lane: str, pytest_arguments: list[str]) -> tuple[str, bool, str, float]:
    """Runs one lane; returns its name, whether it passed, its output and seconds."""
    started = time.perf_counter()
    if lane == "lint":
        commands = [[sys.executable, "-m", *command] for command in LINT]
    else:
        commands = [[sys.executable, "-m", "pytest", *pytest_arguments]]
    output, passed = "", True
    for command in commands:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(lane),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output += done.stdout
        passed = passed and done.returncode == 0
    return lane, passed, output, time.perf_counter() - started


def _parts(lanes: list[str], asked: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What each process runs: its lane and the arguments for pytest."""
    files = sorted(str(path) for path in ROOT.glob("tests/**/test_*.py"))
    whole = len(lanes) == 1 or not all(option.startswith("-") for option in asked)
    for lane in lanes:
        if whole or lane == "lint":
            yield lane, asked
        else:
            yield from ((lane, [*asked, *files[n::PARTS]]) for n in range(PARTS))


def _environment(lane: str) -> dict[str, str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    backend = {"KERAS_BACKEND": lane} if lane in BACKENDS else {}
    return {**os.environ, **quiet, **backend}


def main(arguments: list[str]) -> int:
    """Runs the lanes asked for; returns the exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    lanes = arguments[:split] or [*BACKENDS, "lint"]
    unknown = set(lanes) - {*BACKENDS, "lint"}
    if unknown:
        print(f"no such lane: {', '.join(sorted(unknown))}; there are {BACKENDS}, lint")
        return 2
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = _parts(lanes, arguments[split + 1 :])
        for ended in as_completed([pool.submit(run, *part) for part in parts]):
            lane, passed, output, seconds = ended.result()
            print(
                f"\n===== {lane}: {'passed' if passed else 'FAILED'} in {seconds:.0f} s"
            )
            print(output, flush=True)
            if not passed:
                failed.append(lane)
    print(
        f"lanes failed: {', '.join(dict.fromkeys(failed))}"
        if failed
        else "all lanes passed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
