"""`trim` and `remap` through the command line, against the API."""

from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

import keras_padsafe as kp
from keras_padsafe.archive import open_archive
from keras_padsafe.cli import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    ids = keras.Input((4,), dtype="int32")
    keras.Sequential([ids, keras.layers.Embedding(6, 3, mask_zero=True)]).save(path)
    return path


def table(path: Path) -> list[list[float]]:
    with open_archive(path) as archive:
        return archive.arrays["layers/embedding/vars/0"].read().tolist()


def run(*words: str | Path) -> int:
    return CliRunner().invoke(main, [str(word) for word in words]).exit_code


def test_trim_keeps_the_ids_of_the_file(model: Path, tmp_path: Path) -> None:
    keep, out = tmp_path / "keep.txt", tmp_path / "out.keras"
    keep.write_text("5\n2\n")
    assert run("trim", model, "-o", out, "--keep-file", keep) == 0
    before = table(model)
    assert table(out) == [before[0], before[2], before[5]]
    assert kp.surgery.verify(model, out).passed


def test_remap_moves_rows_with_their_words(model: Path, tmp_path: Path) -> None:
    old, new, out = (tmp_path / name for name in ("old.txt", "new.txt", "out.keras"))
    old.write_text("\na\nb\nc\nd\ne\n")
    new.write_text("\ne\nd\nz\na\n")
    options = ("--old-vocabulary", old, "--new-vocabulary", new, "--new-rows", "zeros")
    assert run("remap", model, "-o", out, *options) == 0
    before = table(model)
    assert table(out) == [before[0], before[5], before[4], [0.0] * 3, before[1]]
    assert kp.surgery.verify(model, out).passed


@pytest.mark.parametrize("words", ["a\n", "17\n", ""])
def test_trim_refuses_what_is_not_there(
    model: Path, tmp_path: Path, words: str
) -> None:
    keep, out = tmp_path / "keep.txt", tmp_path / "out.keras"
    keep.write_text(words)
    assert run("trim", model, "-o", out, "--keep-file", keep) == 2
    assert not out.exists()


def test_remap_refuses_to_move_padding(model: Path, tmp_path: Path) -> None:
    old, new, out = (tmp_path / name for name in ("old.txt", "new.txt", "out.keras"))
    old.write_text("\na\nb\nc\nd\ne\n")
    new.write_text("a\n\nb\n")
    options = ("--old-vocabulary", old, "--new-vocabulary", new)
    result = CliRunner().invoke(
        main, ["remap", str(model), "-o", str(out), *map(str, options)]
    )
    assert result.exit_code == 2
    assert "padding" in result.output
    assert not out.exists()
