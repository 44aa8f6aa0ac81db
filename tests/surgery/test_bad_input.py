"""Whatever is wrong is said clearly, and nothing is written."""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError

from .reference import only_once, save
from .saved import digest, read
from .zoo import ADDED, SIZE, ids, table, two_equal_vocabularies

pytestmark = only_once


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "model.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        return keras.Model(x, layers.Dense(size)(table(size)(x)))

    save(build, SIZE, path)
    return path


@pytest.fixture
def source(model_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(model_file, tmp_path / "old.keras"))


def _assert_refused(source: Path, target: Path, message: str, **options: Any) -> None:
    folder = {path: path.is_file() and digest(path) for path in target.parent.iterdir()}
    with pytest.raises(PadsafeError, match=f"(?s){message}"):
        kp.surgery.grow(source, target, **{"rows": ADDED, **options})
    assert folder == {
        path: path.is_file() and digest(path) for path in target.parent.iterdir()
    }


def _text(path: Path) -> None:
    path.write_text("this is no model")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _without(member: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            kept = {n: archive.read(n) for n in archive.namelist() if n != member}
        with zipfile.ZipFile(path, "w") as archive:
            for name, contents in kept.items():
                archive.writestr(name, contents)

    return damage


def _flipped(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("model.weights.h5").header_offset
    contents = bytearray(path.read_bytes())
    contents[offset + 3000] ^= 0xFF
    path.write_bytes(bytes(contents))


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (_text, r"old\.keras.*(not|no)"),
    "empty": (_empty, r"old\.keras"),
    "truncated": (_truncated, r"old\.keras"),
    "no_config": (_without("config.json"), r"config\.json"),
    "no_weights": (_without("model.weights.h5"), r"model\.weights\.h5"),
    "flipped_byte": (_flipped, r"old\.keras"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file(name: str, source: Path, tmp_path: Path) -> None:
    damage, message = DAMAGED[name]
    damage(source)
    _assert_refused(source, tmp_path / "new.keras", message)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PadsafeError, match=r"nowhere\.keras"):
        kp.surgery.grow(tmp_path / "nowhere.keras", tmp_path / "new.keras", rows=1)


def test_legacy_h5(tmp_path: Path) -> None:
    source = tmp_path / "old.h5"
    keras.Sequential([ids(), table(SIZE)]).save(source)
    _assert_refused(source, tmp_path / "new.keras", r"old\.h5")


def test_weights_alone(tmp_path: Path) -> None:
    source = tmp_path / "old.weights.h5"
    keras.Sequential([ids(), table(SIZE)]).save_weights(source)
    _assert_refused(
        source, tmp_path / "new.keras", r"weights only.*config\.json.*model\.save"
    )


def test_target_that_exists(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    target.write_text("precious")
    _assert_refused(source, target, r"new\.keras.*exists already.*overwrit")
    kp.surgery.grow(source, target, rows=ADDED, overwrite=True)
    keras.models.load_model(target)


def test_target_is_the_source(source: Path) -> None:
    _assert_refused(source, source, "source itself", overwrite=True)
    link = source.with_name("link.keras")
    os.link(source, link)
    _assert_refused(source, link, "source itself", overwrite=True)


def test_target_of_another_name(source: Path, tmp_path: Path) -> None:
    _assert_refused(source, tmp_path / "new.h5", r"must end with \.keras")


def test_target_in_no_folder(source: Path, tmp_path: Path) -> None:
    with pytest.raises(PadsafeError, match=r"folder does not exist"):
        kp.surgery.grow(source, tmp_path / "no" / "new.keras", rows=1)


def test_no_target(source: Path) -> None:
    with pytest.raises(PadsafeError, match=r"target: expected the"):
        kp.surgery.grow(source, rows=1)


def test_what_is_no_model() -> None:
    with pytest.raises(PadsafeError, match=r"or a Keras model; received dict"):
        kp.surgery.grow({}, rows=1)


def test_folder_that_cannot_be_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said as the system says it: the superuser, who runs many tests, may write."""
    opened = os.open

    def locked(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", locked)
    _assert_refused(source, tmp_path / "new.keras", "new\\.keras.*(?i:permission)")


def test_full_disk(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    monkeypatch.setattr(os, "pwrite", no_space)
    target = tmp_path / "new.keras"
    before = digest(source)
    with pytest.raises((PadsafeError, OSError), match=r"(?i)space") as caught:
        kp.surgery.grow(source, target, rows=1)
    assert isinstance(caught.value, PadsafeError)
    assert [path.name for path in tmp_path.iterdir()] == ["old.keras"]
    assert digest(source) == before


@pytest.mark.parametrize("rows", [0, -1, 1.5, True, "3"])
def test_rows_that_are_no_count(rows: Any, source: Path, tmp_path: Path) -> None:
    _assert_refused(
        source,
        tmp_path / "new.keras",
        f"rows: expected a positive integer; received {rows!r}",
        rows=rows,
    )


@pytest.mark.parametrize("step", [0, -8, 2.0])
def test_multiple_that_is_no_count(step: Any, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    _assert_refused(source, target, "multiple_of: expected", multiple_of=step)


def test_neither_rows_nor_tokens(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    _assert_refused(source, target, "rows.*tokens.*received", rows=None)
    _assert_refused(source, target, "rows.*tokens.*received", tokens=["a"])


def test_unknown_vocabulary(source: Path, tmp_path: Path) -> None:
    _assert_refused(
        source,
        tmp_path / "new.keras",
        r"no vocabulary goes by the name 'verbs'. Found: 'words' \(13 ids\)",
        vocabulary="verbs",
    )


def test_ambiguous_vocabulary(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(two_equal_vocabularies, SIZE, source)
    _assert_refused(
        source, tmp_path / "new.keras", r"2 vocabularies.*vocabulary=NAME.*--vocabulary"
    )


def test_unknown_word_for_the_optimizer(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    _assert_refused(
        source, target, "optimizer: expected 'keep' or 'drop'", optimizer="reset"
    )


def test_doubled_words_without_a_lookup(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    _assert_refused(source, target, "more than once", rows=None, tokens=["a", "a"])


def test_unzipped_folder_grows_too(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unzipped"
    with zipfile.ZipFile(source) as archive:
        archive.extractall(folder)
    kp.surgery.grow(folder, tmp_path / "new.keras", rows=ADDED)
    kp.surgery.grow(source, tmp_path / "same.keras", rows=ADDED)
    one, two = read(tmp_path / "new.keras"), read(tmp_path / "same.keras")
    assert one.config == two.config
    assert all((one.arrays[p] == two.arrays[p]).all() for p in two.arrays)
