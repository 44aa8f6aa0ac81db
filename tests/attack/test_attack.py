"""The attacks at the size of a test; `python -m tests.attack` runs them large."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surgery.reference import only_once

from . import attacks

pytestmark = only_once

_IN_ONE_PROCESS = """
import sys
from pathlib import Path
from tests.attack import attacks
for name, outcome, seconds in attacks.open_hostile_files(Path(sys.argv[1])):
    print(name, outcome)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
GROWN = {
    "ids_that_go_two_ways_again_and_again",
    "a_table_that_is_called_again_and_again",
    "brackets",
    "many_layers",
    "groups_that_are_looked_for_by_name",
    "rules_of_text_that_are_no_rules",
    "names_that_steer_a_terminal",
    "a_name_without_end",
}


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux reports"
)
def test_hostile_files_take_little_and_raise_nothing_odd(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IN_ONE_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(re.findall(r"(\w+) (grown|refused)", done.stdout))
    assert found.keys() == attacks.CORPUS.keys()
    assert {name for name, outcome in found.items() if outcome == "grown"} == GROWN
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak is not None
    assert int(peak[1]) / 1024 < attacks.MOST_MEGABYTES


def test_a_mutant_is_refused_or_keeps_its_rows(tmp_path: Path) -> None:
    outcomes = attacks.mutate(tmp_path, count=150, seed=0)
    assert outcomes.keys() == {"refused", "grown"}


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_kill_costs_nothing(tmp_path: Path) -> None:
    assert attacks.kill(tmp_path, count=3, seed=0)["killed"] >= 2
