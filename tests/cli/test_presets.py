"""Presets of KerasHub on the command line."""

import json
from pathlib import Path

import pytest

from .conftest import Run

pytest.importorskip("keras_hub")

from ..surgery import presets
from ..surgery.reference import only_once

pytestmark = [only_once, pytest.mark.usefixtures("quick_compile")]


@only_once
def test_inspected_grown_and_verified(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "preset", tmp_path / "grown"
    presets.backbone_and_tokenizer(source)
    shown = run("inspect", source)
    assert shown.exit_code == 0, shown.stderr
    assert "bert_tokenizer" in shown.stdout
    words = ("--add", "okapi", "--map", tmp_path / "ids.csv")
    # With a slash at the end, as shells complete the name of a folder.
    grown = run("grow", f"{source}/", "-o", f"{target}/", *words)
    assert grown.exit_code == 0, grown.stderr
    assert "PROVED" in grown.stdout
    assert (tmp_path / "ids.csv").read_text().splitlines()[-1] == ",13,okapi"
    assert run("verify", source, target).exit_code == 0
    again = run("grow", source, "-o", target, "--add", "yak")
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    forced = run("grow", source, "-o", target, "--add", "yak", "--force", "--no-proof")
    assert forced.exit_code == 0, forced.stderr
    listed = (target / "assets/tokenizer/vocabulary.txt").read_text().split()
    assert listed == [*presets.WORDS, "yak"]
    onto_itself = run("grow", source, "-o", source, "--add", "yak", "--force")
    assert (onto_itself.exit_code, "the source" in onto_itself.stderr) == (2, True)


def test_a_plan_says_which_files_change(run: Run, tmp_path: Path) -> None:
    presets.gpt2(tmp_path / "preset")
    shown = run("plan", tmp_path / "preset", "--add", "<tool>", "--json")
    plan = json.loads(shown.stdout)
    assert [change["path"][-1] for change in plan["config"]] == [
        "vocabulary_size",
        "unsplittable_tokens",
    ]
    assert plan["words"][0]["assets"] == ["assets/tokenizer/vocabulary.json"]
