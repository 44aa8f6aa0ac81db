"""Three attacks, each of any size: hostile files, mutants, and kills."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from keras_padsafe import surgery
from keras_padsafe.archive import open_archive
from keras_padsafe.errors import PadsafeError

from .corpus import CORPUS, TABLE, healthy

MOST_SECONDS, MOST_MEGABYTES = 10, 300
"""On any file under 1 MB."""


def attempt(path: Path, target: Path) -> str:
    """What becomes of a file: `grown`, or `refused` by an error raised on purpose."""
    try:
        surgery.inspect(path)
        surgery.grow(path, target, rows=2, proof=False)
    except PadsafeError:
        assert not target.exists()
        return "refused"
    return "grown"


def open_hostile_files(folder: Path) -> Iterator[tuple[str, str, float]]:
    """Name, outcome and seconds of each file of the corpus."""
    for name, build in CORPUS.items():
        own = folder / name
        own.mkdir()
        source = build(own)
        before = source.read_bytes()
        started = time.perf_counter()
        outcome = attempt(source, own / "new.keras")
        seconds = time.perf_counter() - started
        assert seconds < MOST_SECONDS + source.stat().st_size / 2**20, name
        assert source.read_bytes() == before, name
        yield name, outcome, seconds


def mutate(folder: Path, count: int, seed: int) -> Counter[str]:
    """Grows `count` mutants of a healthy file; those that pass must keep its rows."""
    draw = random.Random(seed)
    source = healthy(folder / "healthy.keras")
    data = source.read_bytes()
    with open_archive(source) as archive:
        rows = archive.arrays[TABLE].read().tobytes()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        mutant, target = folder / "mutant.keras", folder / f"new_{number}.keras"
        mutant.write_bytes(_mutant(data, draw))
        outcome = attempt(mutant, target)
        outcomes[outcome] += 1
        if outcome == "grown":
            with open_archive(target) as archive:
                assert archive.arrays[TABLE].read(0, 10).tobytes() == rows, number
            target.unlink()
    return outcomes


def _mutant(data: bytes, draw: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        place = draw.randrange(len(mutant))
        width = draw.choice((1, 2, 4, 8))
        match draw.randrange(5):
            case 0:
                mutant[place] ^= 1 << draw.randrange(8)
            case 1:
                mutant[place : place + width] = draw.choice((b"\0", b"\xff")) * width
            case 2:
                mutant[place : place + width] = draw.randbytes(width)
            case 3:
                other = draw.randrange(len(mutant))
                mutant[place : place + width] = mutant[other : other + width]
            case 4:
                del mutant[place : place + draw.choice((1, 64, len(mutant)))]
                mutant = mutant or bytearray(b"P")
    return bytes(mutant)


_KILLED = """
import os, sys
from keras_padsafe import surgery
source, target, call = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls = 0
def progress(done, total):
    global calls
    calls += 1
    if calls == call:
        os.kill(os.getpid(), 9)
surgery.grow(source, target, rows=2, overwrite=True, progress=progress)
"""


def kill(folder: Path, count: int, seed: int) -> Counter[str]:
    """Kills `count` grows while they write: source and target stay whole."""
    draw = random.Random(seed)
    source, target = healthy(folder / "a.keras", 300_000), folder / "new.keras"
    before = source.read_bytes()
    surgery.grow(source, target, rows=1)
    old = target.read_bytes()
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        command = [sys.executable, "-c", _KILLED, str(source), str(target)]
        done = subprocess.run([*command, str(draw.randint(1, 8))], check=False)
        assert source.read_bytes() == before
        whole = target.read_bytes() == old
        assert whole or done.returncode == 0, "a killed grow changed its target"
        outcomes["killed" if done.returncode else "finished"] += 1
        old = target.read_bytes()
    surgery.grow(source, target, rows=1, overwrite=True)
    assert sorted(os.listdir(folder)) == ["a.keras", "new.keras"], "something was left"
    return outcomes
