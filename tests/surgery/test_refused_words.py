"""Words that do not fit the file are refused, with what is wrong and what to do."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError

from .reference import only_once
from .zoo import DIM

pytestmark = only_once
WORDS = ["ant", "bee", "cat"]


def _saved(path: Path, *lookups: Any, rows: int = 4, kind: str = "string") -> Path:
    words = keras.Input((3,), dtype=kind)
    embed = layers.Embedding(rows, DIM, name="words")
    outputs = [layers.Dense(2)(embed(lookup(words))) for lookup in lookups]
    keras.Model(words, outputs).save(path)
    return path


def _lookup(words: Any = WORDS, **options: Any) -> Any:
    return layers.StringLookup(vocabulary=words, name="lookup", **options)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ([], WORDS, "old_vocabulary: expected a list of words; received none"),
        (["[UNK]", *WORDS], [], "new_vocabulary: expected a list of words"),
        (["[UNK]", *WORDS], ["[UNK]", "bee", "bee"], "stand in it more than once"),
        (["[UNK]", *WORDS, "dog"], ["[UNK]"], "received 5 words. Expected: at most 4"),
        (["[UNK]", "ant"], ["[UNK]"], "received 2 words, and vocabulary 'words' has 4"),
        (["[UNK]", *WORDS[::-1]], ["[UNK]"], "2 words have other ids in the file"),
    ],
)
def test_lists_that_do_not_fit(
    old: list[str], new: list[str], why: str, tmp_path: Path
) -> None:
    source = _saved(tmp_path / "old.keras", _lookup())
    with pytest.raises(SurgeryError, match=why):
        kp.surgery.plan(source, old_vocabulary=old, new_vocabulary=new)


def test_lookups_that_give_the_next_word_other_ids(tmp_path: Path) -> None:
    lookups = _lookup(), layers.StringLookup(vocabulary=WORDS[:2], name="other")
    source = _saved(tmp_path / "old.keras", *lookups)
    with pytest.raises(SurgeryError, match="disagree on the next free id"):
        kp.surgery.plan(source, tokens=["dog"])


def test_a_lookup_that_gives_ids_without_a_row(tmp_path: Path) -> None:
    source = _saved(tmp_path / "old.keras", _lookup(), rows=3)
    with pytest.raises(SurgeryError, match="gives ids up to 3, and the table has 3"):
        kp.surgery.plan(source, tokens=["dog"])


def test_words_that_came_from_a_file_are_in_the_model(tmp_path: Path) -> None:
    (listed := tmp_path / "words.txt").write_text("\n".join(WORDS))
    source = _saved(tmp_path / "old.keras", _lookup(str(listed)))
    (vocabulary,) = kp.surgery.inspect(source).vocabularies
    assert vocabulary.words[0].words == ("[UNK]", *WORDS)


def _with_asset(source: Path, contents: bytes) -> None:
    with zipfile.ZipFile(source) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [one for one in kept if one.endswith("vocabulary.txt")]
    with zipfile.ZipFile(source, "w") as archive:
        for one, old in kept.items():
            archive.writestr(one, contents if one == name else old)


@pytest.mark.parametrize(
    ("kind", "contents", "why"),
    [
        ("string", b"[UNK]\nant\xff", "its word file is not UTF-8"),
        ("int64", b"-1\n7\nten", "its word file holds 'ten'. Expected: one integer"),
    ],
)
def test_a_word_file_that_is_damaged(
    kind: str, contents: bytes, why: str, tmp_path: Path
) -> None:
    is_text = kind == "string"
    lookup: Any = (layers.StringLookup if is_text else layers.IntegerLookup)()
    lookup.set_vocabulary(WORDS if is_text else [7, 8, 9])
    source = _saved(tmp_path / "old.keras", lookup, kind=kind)
    _with_asset(source, contents)
    with pytest.raises(SurgeryError, match=why):
        kp.surgery.inspect(source)


def test_empty_lines_at_the_end_are_no_words(tmp_path: Path) -> None:
    lookup = layers.StringLookup()
    lookup.set_vocabulary(WORDS)
    source = _saved(tmp_path / "old.keras", lookup)
    _with_asset(source, b"[UNK]\nant\nbee\ncat\n\n\n")
    (vocabulary,) = kp.surgery.inspect(source).vocabularies
    assert vocabulary.words[0].words == ("[UNK]", *WORDS)
