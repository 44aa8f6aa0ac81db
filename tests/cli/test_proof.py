"""The proof of a new file: when it runs, what it says, and what is kept."""

import json
import shutil
from pathlib import Path

import pytest

from keras_padsafe import surgery

from .conftest import IMPORT, Run, in_new_process

WIDE = {"COLUMNS": "300"}


@pytest.fixture
def own(models: Path, tmp_path: Path) -> Path:
    """A model of which Keras must be asked, alone in a folder."""
    return Path(shutil.copy(models / "own.keras", tmp_path / "model.keras"))


@pytest.fixture
def wrong(models: Path, tmp_path: Path) -> Path:
    """A model whose answers depend on the number of ids, alone in a folder."""
    return Path(shutil.copy(models / "wrong.keras", tmp_path / "model.keras"))


def test_a_class_of_the_user_is_grown_and_proved(own: Path) -> None:
    """In a new process, where nothing has registered the class yet."""
    out = own.with_name("out.keras")
    words = ["grow", own, "-o", out, "--rows", 2]
    alone = in_new_process(*words)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "--import MODULE" in alone.stderr
    assert not out.exists()
    done = in_new_process(*words, *IMPORT, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "proved"
    assert document["certificate"]["target"] == str(out)
    assert "tests.cli.custom is imported" in done.stderr
    assert surgery.inspect(out).vocabularies[0].size == 52


def test_the_screen_says_proved(run: Run, own: Path) -> None:
    out = own.with_name("out.keras")
    shown = run("grow", own, "-o", out, "--rows", 2, env=WIDE).stdout
    assert "old ids keep their outputs" in shown
    assert "\nPROVED, on Keras with " in shown
    assert "Next: prove it" not in shown


@pytest.mark.parametrize("command", ["grow", "trim", "remap"])
def test_a_wrong_file_is_not_kept(run: Run, wrong: Path, command: str) -> None:
    result = run(command, wrong, "-o", wrong.with_name("out.keras"), *_change(command))
    assert result.exit_code == 1
    assert result.stdout.endswith("WRONG\n")
    assert "old ids keep their outputs" in result.stdout
    assert "out.keras: the new file is wrong, so it was not kept." in result.stderr
    assert not wrong.with_name("out.keras").exists()


def test_the_certificate_of_a_wrong_file(run: Run, wrong: Path) -> None:
    out = wrong.with_name("out.keras")
    result = run("grow", wrong, "-o", out, "--rows", 2, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["format"] == "keras_padsafe.certificate/1"
    assert document["verdict"] == "wrong"
    assert document["target"] == str(out)
    assert list(wrong.parent.iterdir()) == [wrong]


@pytest.mark.parametrize("command", ["grow", "trim", "remap"])
def test_no_proof_keeps_the_file(run: Run, wrong: Path, command: str) -> None:
    out = wrong.with_name("out.keras")
    words = [command, wrong, "-o", out, *_change(command), "--no-proof"]
    result = run(*words, *IMPORT, env=WIDE)
    assert result.exit_code == 0
    assert "\nnot proved: --no-proof\n" in result.stdout
    assert f"keras-padsafe verify {wrong} {out} {' '.join(IMPORT)}\n" in result.stdout
    assert out.exists()
    document = json.loads(run(*words, "--force", "--json").stdout)
    assert (document["verdict"], document["certificate"]) == (None, None)


@pytest.mark.parametrize("command", ["grow", "trim", "remap"])
def test_verify_proves_a_model_of_known_classes(
    run: Run, model: Path, command: str
) -> None:
    out = model.with_name("out.keras")
    words = [command, model, "-o", out, *_change(command), "--verify", "--json"]
    result = run(*words)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] == "proved"


def test_what_cannot_be_looked_at_is_not_kept(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.keras"
    words = ["grow", models / "doubled.keras", "-o", out, "--rows", 2]
    done = in_new_process(*words, "--verify")
    assert done.returncode == 1
    assert done.stdout.endswith("NOT PROVED\n")
    assert "add --no-proof to keep" in done.stderr
    assert not out.exists()


def test_a_backend_that_is_not_installed(model: Path) -> None:
    """Only where Keras is needed."""
    words = ["grow", model, "-o", model.with_name("out.keras"), "--rows", 2]
    for needs in (["--verify"], list(IMPORT)):
        done = in_new_process(*words, *needs, KERAS_BACKEND="theano")
        assert (done.returncode, done.stdout) == (2, "")
        assert "KERAS_BACKEND=theano: that backend is not installed" in done.stderr
        assert list(model.parent.iterdir()) == [model]
    assert in_new_process(*words, KERAS_BACKEND="theano").returncode == 0


def test_the_next_command_names_the_import(
    run: Run, models: Path, tmp_path: Path
) -> None:
    path, out = models / "doubled.keras", tmp_path / "out.keras"
    words = ["grow", path, "-o", out, "--rows", 2]
    verify = f"  keras-padsafe verify {path} {out} --import"
    assert f"{verify} MODULE\n" in run(*words, env=WIDE).stdout
    helped = run(*words, "--force", *IMPORT, env=WIDE).stdout
    assert f"{verify} {IMPORT[1]}\n" in helped


def test_a_saved_plan_is_proved_too(run: Run, own: Path) -> None:
    plan, out = own.with_name("plan.json"), own.with_name("out.keras")
    shown = run("plan", own, "--rows", 2, "--save", plan, env=WIDE).stdout
    assert "only after both models were run" in shown
    result = run("grow", own, "-o", out, "--plan", plan, *IMPORT, "--json")
    assert json.loads(result.stdout)["verdict"] == "proved"


@pytest.mark.parametrize("command", ["grow", "trim", "remap"])
def test_a_dry_run_writes_nothing(run: Run, model: Path, command: str) -> None:
    words = [command, model, *_change(command)]
    result = run(*words, "--dry-run", "--json")
    assert json.loads(result.stdout)["format"] == "keras_padsafe.plan/1"
    assert list(model.parent.iterdir()) == [model]
    without = run(*words)
    assert (without.exit_code, without.stdout) == (2, "")
    assert "--dry-run" in without.stderr


@pytest.mark.parametrize("command", ["grow", "trim", "remap"])
def test_contradicting_flags(run: Run, model: Path, command: str) -> None:
    out = model.with_name("out.keras")
    words = [command, model, "-o", out, *_change(command), "--verify", "--no-proof"]
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "contradict" in result.stderr
    assert not out.exists()


@pytest.fixture(autouse=True)
def word_lists(tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Files of ids and words, in the folder of work."""
    folder = tmp_path_factory.mktemp("lists")
    words = [f"word{number}" for number in range(50)]
    (folder / "keep.txt").write_text("3\n7\n9\n")
    (folder / "old.txt").write_text("\n".join(words))
    (folder / "new.txt").write_text("\n".join([*words[::-1], "zebra"]))
    monkeypatch.chdir(folder)


def _change(command: str) -> list[str]:
    return {
        "grow": ["--rows", "2"],
        "trim": ["--keep-file", "keep.txt"],
        "remap": ["--old-vocabulary", "old.txt", "--new-vocabulary", "new.txt"],
    }[command]
