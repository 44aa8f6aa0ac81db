"""`grow`: what is written, what is said, and what is refused."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keras_padsafe import surgery

from .conftest import Run


def test_writes_what_the_api_writes(run: Run, model: Path) -> None:
    ours, theirs = model.with_name("ours.keras"), model.with_name("theirs.keras")
    result = run("grow", model, "-o", ours, "--add", "zebra", "--json")
    report = surgery.grow(model, theirs, tokens=["zebra"])
    assert result.exit_code == 0
    assert ours.read_bytes() == theirs.read_bytes()
    document = json.loads(result.stdout)
    assert document.pop("seconds") >= 0
    expected = json.loads(json.dumps(report.to_json()))
    assert document == {
        "format": "keras_padsafe.report/1",
        "source": str(model),
        "target": str(ours),
        "verdict": None,
        "certificate": None,
        "plan": expected["plan"],
    }
    assert result.stderr == ""


def test_says_the_new_ids_and_what_to_run_next(run: Run, model: Path) -> None:
    out = model.with_name("grown model.keras")
    result = run("grow", model, "-o", out, "--add", "zebra", env={"COLUMNS": "300"})
    assert "zebra = 50" in result.stdout
    assert f"keras-padsafe verify {model} '{out}'" in result.stdout


def test_a_padding_token_in_one_command(run: Run, model: Path) -> None:
    out, ids = model.with_name("padded.keras"), model.with_name("ids.csv")
    words = ("--add", "[PAD]", "--at", "0", "--pad", "--map", ids)
    result = run("grow", model, "-o", out, *words)
    assert result.exit_code == 0, result.stderr
    shown = " ".join(result.stdout.split())
    assert "0 to 49 1 to 50" in shown
    assert "[PAD] = 0" in shown
    assert "PROVED" in shown
    assert ids.read_text().splitlines()[:3] == [
        "old_id,new_id,word",
        ",0,[PAD]",
        "0,1,",
    ]
    whole = model.read_bytes()
    again = run("grow", model, "-o", out, "--force", *words[:-1], model)
    assert (again.exit_code, model.read_bytes()) == (2, whole)
    assert "exists already" in run("grow", model, "-o", "x.keras", *words).stderr


def test_no_model_is_left_without_its_table_of_ids(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, folder = model.with_name("out.keras"), tmp_path / "full"
    folder.mkdir()
    usage = shutil.disk_usage

    def full(path: Path) -> Any:
        return usage(path)._replace(free=0 if Path(path) == folder else 1 << 40)

    monkeypatch.setattr(shutil, "disk_usage", full)
    result = run("grow", model, "-o", out, "--rows", 2, "--map", folder / "ids.csv")
    assert result.exit_code == 2
    assert "ids.csv: it could not be written" in result.stderr
    assert not out.exists()
    monkeypatch.undo()
    out.mkdir()
    result = run("grow", model, "-o", out, "--rows", 2, "--map", folder / "ids.csv")
    assert (result.exit_code, [*folder.iterdir()]) == (2, [])


def test_dry_run_writes_nothing(run: Run, model: Path) -> None:
    out = model.with_name("out.keras")
    words = ["--rows", 3, "--dry-run", "--json"]
    with_output = run("grow", model, "-o", out, *words)
    assert with_output.stdout == run("grow", model, *words).stdout
    assert with_output.stdout == run("plan", model, "--rows", 3, "--json").stdout
    assert list(model.parent.iterdir()) == [model]


def test_carries_out_a_saved_plan(run: Run, model: Path) -> None:
    plan, out = model.with_name("plan.json"), model.with_name("out.keras")
    run("plan", model, "--add", "zebra", "--save", plan)
    assert run("grow", model, "-o", out, "--plan", plan).exit_code == 0
    direct = model.with_name("direct.keras")
    run("grow", model, "-o", direct, "--add", "zebra")
    assert out.read_bytes() == direct.read_bytes()


def test_undoes_a_saved_plan(run: Run, model: Path) -> None:
    plan, out, back = (
        model.with_name(n) for n in ("plan.json", "out.keras", "back.keras")
    )
    run("plan", model, "--add", "zebra", "--save", plan)
    run("grow", model, "-o", out, "--plan", plan)
    assert run("grow", out, "-o", back, "--plan", plan, "--undo").exit_code == 0
    assert surgery.inspect(back).vocabularies == surgery.inspect(model).vocabularies
    alone = run("grow", out, "-o", back, "--undo", "--rows", 1)
    assert "--undo says what to do with a saved plan" in alone.stderr


def test_words_of_a_file(run: Run, model: Path) -> None:
    file = model.with_name("words.txt")
    file.write_bytes("\ufeffzebra\r\nΩμέγα\r\n\r\ntwo words\r\n".encode())
    words = ["--add", "okapi", "--add-file", file, "--dry-run", "--json"]
    plan = json.loads(run("grow", model, *words).stdout)
    assert [word for word, _ in plan["tokens"]] == [
        "okapi",
        "zebra",
        "Ωμέγα",
        "two words",
    ]
    file.write_bytes(b"\xff\xfe")
    result = run("grow", model, *words)
    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


def test_words_of_stdin(run: Run, model: Path) -> None:
    result = run(
        "grow", model, "--add-file", "-", "--dry-run", "--json", input="zebra\n"
    )
    assert json.loads(result.stdout)["tokens"] == [["zebra", 50]]


def test_force_writes_over(run: Run, model: Path) -> None:
    out = model.with_name("out.keras")
    out.write_text("old")
    assert run("grow", model, "-o", out, "--rows", 3, "--force").exit_code == 0
    assert surgery.inspect(out).vocabularies[0].size == 53


def test_numbers_for_an_integer_lookup(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    import keras

    lookup = keras.layers.IntegerLookup(vocabulary=[10, 20, 30])
    table = keras.layers.Embedding(lookup.vocabulary_size(), 4, name="codes")
    numbers = keras.Input((6,), dtype="int64")
    path = tmp_path / "integers.keras"
    keras.Model(numbers, table(lookup(numbers))).save(path)
    plan = json.loads(run("plan", path, "--add", "40", "--json").stdout)
    assert plan["tokens"] == [[40, 4]]
    for spelled in ("forty", "4_0", "\u0663"):
        assert "not an integer" in run("plan", path, "--add", spelled).stderr


def test_a_word_that_is_there_already(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    import keras

    lookup = keras.layers.StringLookup(vocabulary=["cat", "dog"])
    table = keras.layers.Embedding(lookup.vocabulary_size(), 4)
    words = keras.Input((6,), dtype="string")
    path = tmp_path / "words.keras"
    keras.Model(words, table(lookup(words))).save(path)
    result = run("grow", path, "-o", tmp_path / "out.keras", "--add", "dog")
    assert result.exit_code == 2
    assert "already" in result.stderr
    assert list(tmp_path.iterdir()) == [path]


def _not_an_archive(path: Path) -> None:
    path.write_text("this is no model")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _without_config(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        kept = {n: archive.read(n) for n in archive.namelist() if n != "config.json"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in kept.items():
            archive.writestr(name, contents)


def _legacy_h5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_group("model_weights")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_not_an_archive, "not a Keras 3 model"),
        (_truncated, "Fetch or copy the file again|save it again"),
        (_without_config, "config.json is missing"),
        (_legacy_h5, "legacy HDF5 format"),
        (os.remove, "cannot be read"),
    ],
)
def test_a_bad_file_is_refused(
    run: Run, model: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(model)
    _assert_refused(run, model, ["--rows", 3], message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--rows N, or words, --add WORD"),
        (["--rows", 3, "--add", "zebra"], "--rows N, or words, --add WORD"),
        (["--rows", 0], "positive integer"),
        (["--rows", -1], "positive integer"),
        (["--rows", 3, "--multiple-of", 0], "positive integer"),
        (["--add", "zebra", "--add", "zebra"], "more than once"),
        (["--add", ""], "empty"),
        (["--rows", 3, "--vocabulary", "nobody"], "nobody"),
        (["--rows", 3, "--new-rows", "nonsense"], "not understood"),
        (["--rows", 3, "--new-rows", "absent.npy"], "no rows could be read"),
        (["--rows", 3, "--also", "nonsense"], "LAYER:AXIS"),
        (["--rows", 3, "--leave", "nobody"], "nobody"),
        (["--rows", 3, "--optimizer", "perhaps"], "--optimizer"),
        (["--add-file", "absent.txt"], "absent.txt"),
        (["--plan", "absent.json"], "absent.json"),
        (["--plan", "absent.json", "--rows", 3], "--plan already says"),
        (["--plan", "absent.json", "--ask"], "--plan already says"),
        (["--plan", "absent.json", "--dry-run"], "--dry-run"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_a_bad_request_is_refused(
    run: Run, model: Path, words: list[Any], message: str
) -> None:
    _assert_refused(run, model, words, message)


def test_several_vocabularies_want_a_name(run: Run, models: Path, model: Path) -> None:
    shutil.copy(models / "two.keras", model)
    _assert_refused(run, model, ["--rows", 3], "--vocabulary NAME")


def test_the_unexplained_has_to_be_settled(run: Run, models: Path, model: Path) -> None:
    shutil.copy(models / "odd.keras", model)
    _assert_refused(run, model, ["--rows", 3], "--also prior:0")


def test_targets_that_cannot_be(run: Run, model: Path) -> None:
    there = model.with_name("there.keras")
    there.write_text("mine")
    for out, message in (
        (there, "--force"),
        (model, "this is the source itself"),
        (model.with_name("out.h5"), "must end with .keras"),
        (model.parent / "absent" / "out.keras", "folder does not exist"),
    ):
        _assert_refused(run, model, ["--rows", 3], message, out)


def test_needs_an_output(run: Run, model: Path) -> None:
    result = run("grow", model, "--rows", 3)
    assert result.exit_code == 2
    assert "--dry-run" in result.stderr


def test_a_full_disk(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(model.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    _assert_refused(run, model, ["--rows", 3], "Free some space")


def test_a_read_only_folder(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: the tests may run as root, whom no permission stops."""
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    _assert_refused(run, model, ["--rows", 3], "cannot be written to")


def _assert_refused(
    run: Run, model: Path, words: list[Any], message: str, out: Path | None = None
) -> None:
    """Exit code 2, a message on stderr alone, every file as it was."""
    import re

    def contents() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in model.parent.iterdir() if p.is_file()}

    before = contents()
    result = run("grow", model, "-o", out or model.with_name("out.keras"), *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert contents() == before


def test_columns_of_an_encoding(run: Run, tmp_path: Path) -> None:
    import keras

    ids = keras.Input((4,), dtype="int32")
    columns = keras.layers.CategoryEncoding(50, "multi_hot", name="codes")(ids)
    keras.Model(ids, keras.layers.Dense(2)(columns)).save(tmp_path / "codes.keras")
    out = tmp_path / "out.keras"
    options = ("--rows", 3, "--new-rows", "zeros", "--verify")
    result = run("grow", tmp_path / "codes.keras", "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    assert surgery.inspect(out).vocabularies[0].size == 53
    assert "encoding kernel" in run("inspect", out, env={"COLUMNS": "200"}).stdout
