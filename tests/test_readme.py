"""The README's Python runs as written, its links lead somewhere, its commands exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

from keras_padsafe.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_runs_as_read_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    written = re.findall(
        r"^```(python|sh)\n(.*?)^```", README, re.DOTALL | re.MULTILINE
    )
    for number, (language, block) in enumerate(written):
        if language == "python":
            exec(compile(block, f"README.md, block {number}", "exec"), names)
            continue
        for words in map(shlex.split, block.splitlines()):
            if words[0] == "keras-padsafe":
                done = CliRunner().invoke(main, words[1:])
                finds = words[1:3] == ["audit", "leaky.keras"]
                assert done.exit_code == finds, done.output


def test_the_first_screen_is_real_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the demo, whose own test runs it; here its model is built untrained."""
    from keras_padsafe.cli.names_task import read_names_task
    from keras_padsafe.cli.story import _classifier

    monkeypatch.chdir(tmp_path)
    Path("files").mkdir()
    keras.utils.clear_session()  # Else the model gets a number.
    split, encoder, _ = read_names_task(0)
    model = _classifier(encoder)
    names = split.train[:128]
    model.fit(encoder.ids(names), encoder.labels(names), verbose=0)
    model.save("files/names-2002.keras")
    (screen,) = blocks("console")
    terminal = {**os.environ, "FORCE_COLOR": "1", "TERM": "dumb"}  # 80 columns.
    for part in screen.removeprefix("$ ").split("\n$ "):
        command, _, shown = part.partition("\n")
        words = shlex.split(command)
        if words[1] == "demo":
            continue
        done = subprocess.run(
            [sys.executable, "-m", "keras_padsafe", *words[1:]],
            env=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert settled(done.stdout) == settled(shown)


def test_no_block_scrolls_sideways() -> None:
    """On the documentation's pages, which have room for 90 columns."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    long = [line for block in fenced for line in block.splitlines() if len(line) > 90]
    assert not long


def settled(screen: str) -> str:
    """The screen without what differs from one run to another."""
    screen = re.sub(r"in [0-9.]+ s\n", "in 1.00 s\n", screen)
    screen = re.sub(r"Keras [0-9.]+,", "Keras 3,", screen)
    return re.sub(r"on Keras with \w+", "on Keras with jax", screen).strip()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "keras_padsafe/audit/FINDINGS.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("#"):
            assert f"\n## {link[1:].replace('-', ' ')}\n" in text.lower(), link
        elif not link.startswith("http"):
            assert (ROOT / page).parent.joinpath(link).exists(), link


def test_ci_calls_the_command_of_the_readme() -> None:
    command = 'python -m pip install -e ".[dev]" && python -m tests'
    assert command in README
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command.replace("install -e", "install --quiet -e") in script
