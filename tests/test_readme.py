"""The README's Python runs as written, its links lead somewhere, its commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks("python")):
        name = f"README.md, block {number}"
        exec(compile(block, name, "exec"), names)
    lines = "".join(blocks("sh")).splitlines()
    for words in map(shlex.split, lines):
        if words[0] != "keras-padsafe":
            continue
        if "-o" in words:
            Path(words[words.index("-o") + 1]).unlink(missing_ok=True)
        command = [sys.executable, "-m", "keras_padsafe", *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "keras_padsafe/audit/FINDINGS.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if not link.startswith("http"):
            assert (ROOT / page).parent.joinpath(link).exists(), link


def test_ci_calls_the_command_of_the_readme() -> None:
    command = 'python -m pip install -e ".[dev]" && python -m tests'
    assert command in README
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert command.replace("install -e", "install --quiet -e") in script
