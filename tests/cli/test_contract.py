"""The contract of every command: help, exit codes, stdout against stderr, start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_padsafe.cli import main
from keras_padsafe.version import __version__

from .conftest import Run

BACKENDS = ("keras", "tensorflow", "jax", "torch")


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help_ends_with_two_examples(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    ending = result.stdout.rstrip().splitlines()[-3:]
    assert ending[0] == "Examples:"
    for example in ending[1:]:
        assert example.startswith(f"  keras-padsafe {command}".rstrip())


@pytest.mark.parametrize("command", list(main.commands))
def test_examples_use_options_that_exist(command: str) -> None:
    known = {name for p in main.commands[command].params for name in p.opts}
    for example in main.commands[command].examples:  # type: ignore[attr-defined]
        words = example.split()
        assert words[0] == command
        assert {word for word in words if word.startswith("-")} <= known


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"keras-padsafe, version {__version__}\n"


def test_both_ways_to_start_are_one() -> None:
    script = Path(sys.executable).with_name("keras-padsafe")
    module = subprocess.run(
        [sys.executable, "-m", "keras_padsafe", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert module.stdout.startswith("Usage: keras-padsafe ")
    if script.exists():
        done = subprocess.run([script, "--help"], capture_output=True, text=True)
        assert done.stdout == module.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["grow", "--help"],
        ["inspect", "MODEL"],
        ["inspect", "MODEL", "--json"],
        ["plan", "MODEL", "--add", "zebra"],
        ["grow", "MODEL", "-o", "OUT", "--rows", "3"],
    ],
    ids=" ".join,
)
def test_starts_without_keras(arguments: list[str], model: Path) -> None:
    places = {"MODEL": str(model), "OUT": str(model.with_name("out.keras"))}
    code = f"""
import sys
from keras_padsafe.cli import main
try:
    main({[places.get(word, word) for word in arguments]!r})
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted(set({BACKENDS}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_usage_errors_exit_with_2(run: Run, model: Path) -> None:
    for words in (["grow"], ["inspect", "--nonsense", model], ["nonsense"]):
        result = run(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Usage:" in result.stderr


def test_a_name_in_a_file_cannot_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    name = "evil\x1b[2J.keras"
    (tmp_path / name).write_bytes(b"")
    result = run("inspect", tmp_path / name)
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "evil\\x1b[2J.keras: it is empty" in result.stderr


def test_an_interrupt_is_no_finding(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_padsafe.surgery.inspect", interrupt)
    result = run("inspect", model)
    assert (result.exit_code, result.stdout) == (130, "")


def test_json_survives_a_narrow_pipe(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keras_padsafe", "inspect", str(model), "--json"],
        capture_output=True,
        check=True,
        env={**os.environ, "COLUMNS": "20", "PYTHONIOENCODING": "ascii"},
    )
    assert json.loads(done.stdout)["vocabularies"][0]["size"] == 50
