"""Runs the attacks large: `python -m tests.attack [--mutants N] [--kills N]`."""

import argparse
import tempfile
from pathlib import Path

from . import attacks


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.attack")
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder, name) for name in ("files", "mutants", "kills")]
        for place in places:
            place.mkdir()
        for name, outcome, seconds in attacks.open_hostile_files(places[0]):
            print(f"{name:40} {outcome:8} {seconds:6.2f} s", flush=True)
        print("mutants", dict(attacks.mutate(places[1], options.mutants, options.seed)))
        print("kills  ", dict(attacks.kill(places[2], options.kills, options.seed)))


if __name__ == "__main__":
    main()
