"""The contract of every command: help, exit codes, stdout against stderr, start."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

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
import zipfile
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


def ends(*words: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "keras_padsafe", *map(str, words)]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_disk_under_stdout_is_no_finding(model: Path) -> None:
    with open("/dev/full", "wb") as full:
        for words in (["--json"], []):
            done = ends("inspect", model, *words, stdout=full)
            assert done.returncode == 2
            assert b"could not be written" in done.stderr
            assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_finding(model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = ends("inspect", model, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, b"")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_cannot_show_a_name(encoding: str, model: Path) -> None:
    named = model.rename(model.with_name("größe-字.keras"))
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = ends("audit", named, stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("字" if encoding == "utf-8" else "\\u5b57").encode() in done.stdout


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), RecursionError(), KeyError("k"), MemoryError()]
)
def test_what_nobody_foresaw_is_no_finding(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("keras_padsafe.surgery.inspect", fail)
    result = run("inspect", model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "MODEL", "--force", "--html"],
        ["plan", "MODEL", "--rows", "2", "--force", "--save"],
        ["grow", "MODEL", "--rows", "2", "--force", "-o"],
        ["repair", "MODEL", "--force", "-o"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("through", ["name", "link", "hard link"])
def test_no_output_is_ever_the_source(
    run: Run, model: Path, words: list[str], through: str
) -> None:
    before = model.read_bytes()
    target = model
    if through != "name":
        target = model.with_name("other.keras")
        (os.link if through == "hard link" else os.symlink)(model, target)
    words = [str(model) if word == "MODEL" else word for word in words]
    result = run(*words, target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the source itself" in result.stderr
    assert model.read_bytes() == before


def test_no_output_is_what_the_command_reads_beside(run: Run, model: Path) -> None:
    words = model.with_name("words.txt")
    words.write_text("zebra\n")
    for more in (["--save", words, "--force"],):
        result = run("plan", model, "--add-file", words, *more)
        assert result.exit_code == 2
        assert "the source itself" in result.stderr
    assert words.read_text() == "zebra\n"


def test_a_page_and_a_screen_show_no_sign_that_steers(run: Run, models: Path) -> None:
    steering = "a\x1b[2J\u202eb"
    with zipfile.ZipFile(models / "without.keras") as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["config.json"] = members["config.json"].replace(
        b'"rescaling"', json.dumps(steering).encode()
    )
    assert b"\\u202e" in members["config.json"]
    evil = models / "evil.keras"
    with zipfile.ZipFile(evil, "w") as new:
        for name, contents in members.items():
            new.writestr(name, contents)
    page = models / "page.html"
    result = run("audit", evil, "--html", page, "--force")
    shown = result.stdout + result.stderr + page.read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e"} & set(shown)
