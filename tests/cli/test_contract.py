"""The contract of every command: help, exit codes, stdout against stderr, start."""

import json
import os
import platform
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import click
import keras
import pytest

from keras_padsafe.cli import main
from keras_padsafe.version import __version__

from .conftest import Run

BACKENDS = ("keras", "tensorflow", "jax", "torch")


COMMANDS = main.list_commands(click.Context(main))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_ends_with_two_examples(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    ending = result.stdout.rstrip().splitlines()[-3:]
    assert ending[0] == "Examples:"
    for example in ending[1:]:
        assert example.startswith(f"  keras-padsafe {command}".rstrip())


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_use_options_that_exist(command: str) -> None:
    named: Any = main.get_command(click.Context(main), command)
    known = {name for p in named.params for name in p.opts}
    for example in named.examples:
        words = example.split()
        assert words[0] == command
        assert {word for word in words if word.startswith("-")} <= known


def test_version_names_all_that_a_report_needs(run: Run) -> None:
    (line,) = run("--version").stdout.splitlines()
    assert line.startswith(f"keras-padsafe {__version__}, Keras {keras.__version__}, ")
    assert keras.backend.backend() in line
    assert line.endswith(f"Python {platform.python_version()}")


def test_short_help_is_help(run: Run) -> None:
    for words in ([], ["grow"]):
        assert run(*words, "-h").stdout == run(*words, "--help").stdout


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (["inspect", "nowhere.keras"], "ArchiveError", "nowhere.keras: it cannot be"),
        (["inspect", "--nonsense"], "NoSuchOption", "--nonsense"),
        (["grow", "MODEL", "-o", "out.keras"], "UsageError", "Say what to add"),
        (["explain", "PS000"], "Failure", "no such code"),
    ],
)
def test_an_error_is_a_document_where_one_was_asked_for(
    run: Run, model: Path, words: list[str], kind: str, said: str
) -> None:
    words = [str(model) if word == "MODEL" else word for word in words]
    plain, asked = run(*words), run(*words, "--json")
    assert (plain.exit_code, plain.stdout) == (asked.exit_code, "") == (2, "")
    document = json.loads(asked.stdout)
    assert document["format"] == "keras_padsafe.error/1"
    assert (document["kind"], document["exit_code"]) == (kind, 2)
    assert said in document["message"]
    assert said in plain.stderr


def test_every_document_says_what_it_is(run: Run, model: Path) -> None:
    out = model.with_name("out.keras")
    for words, kind in (
        (["inspect", model], "inventory"),
        (["plan", model, "--rows", "2"], "plan"),
        (["grow", model, "--rows", "2", "-o", out], "report"),
        (["grow", model, "--rows", "2", "--dry-run"], "plan"),
        (["audit", model], "audit"),
        (["explain"], "codes"),
        (["explain", "PS301"], "code"),
    ):
        document = json.loads(run(*words, "--json").stdout)
        assert document["format"] == f"keras_padsafe.{kind}/1"


def test_a_shell_completes_commands_and_files() -> None:
    def completed(words: str) -> str:
        asked = {
            "_KERAS_PADSAFE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-m", "keras_padsafe"],
            capture_output=True,
            text=True,
            env={**os.environ, **asked},
        )
        assert done.returncode == 0
        return done.stdout

    assert completed("keras-padsafe ver") == "plain,verify\n"
    for words in ("inspect mod", "verify a.keras b", "audit a.keras --html pa"):
        assert completed(f"keras-padsafe {words}") == f"file,{words.split()[-1]}\n"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_path_is_broken_at_any_width(
    run: Run, model: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = json.loads(run("inspect", model, "--json").stdout)["vocabularies"][0]
    names = {site["path"] for site in inventory["arrays"]}
    names |= {site["key"] for site in inventory["config"]}
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # Takes the output for a terminal's.
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run("inspect", model).stdout)
    assert names <= set(shown.split())
    wide = [line for line in shown.splitlines() if len(line) > width]
    assert [line for line in wide if len(line.split()) > 1] == []


def test_what_is_piped_has_whole_lines(run: Run, model: Path) -> None:
    lines = run("inspect", model).stdout.splitlines()
    lines += run("grow", model, "--rows", "2", "--dry-run").stdout.splitlines()
    assert any(len(line) > 80 for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_a_backend_says_nothing_of_its_own(model: Path) -> None:
    grown = model.with_name("grown.keras")
    words = ("grow", model, "--rows", "2", "-o", grown, "--verify")
    plain = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    assert ends(*words, stdout=subprocess.PIPE, env=plain).stderr == b""
    done = ends("verify", model, grown, stdout=subprocess.PIPE, env=plain)
    assert (done.returncode, done.stderr) == (0, b"")


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


# What each command may not import; NumPy takes as long as all else that reading needs.
@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {*BACKENDS, "numpy"}),
        (["--version"], {*BACKENDS, "numpy"}),
        (["explain", "PS301"], {*BACKENDS, "numpy", "keras_padsafe.surgery"}),
        (["grow", "--help"], {*BACKENDS, "numpy"}),
        (["inspect", "MODEL"], {*BACKENDS, "numpy", "keras_padsafe.surgery.planning"}),
        (["inspect", "MODEL", "--json"], {*BACKENDS, "numpy"}),
        (["plan", "MODEL", "--add", "zebra"], {*BACKENDS}),
        (["grow", "MODEL", "-o", "OUT", "--rows", "3"], {*BACKENDS}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_starts_at_once(arguments: list[str], heavy: set[str], model: Path) -> None:
    places = {"MODEL": str(model), "OUT": str(model.with_name("out.keras"))}
    code = f"""
import sys
from keras_padsafe.cli import main
try:
    main({[places.get(word, word) for word in arguments]!r})
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({heavy} & set(sys.modules)), file=sys.stderr)
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
    name = json.dumps(steering).encode()
    config = re.sub(rb'"rescaling(_\d+)?"', lambda _: name, members["config.json"])
    members["config.json"] = config
    assert b"\\u202e" in members["config.json"]
    evil = models / "evil.keras"
    with zipfile.ZipFile(evil, "w") as new:
        for name, contents in members.items():
            new.writestr(name, contents)
    page = models / "page.html"
    result = run("audit", evil, "--html", page, "--force")
    shown = result.stdout + result.stderr + page.read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e"} & set(shown)
