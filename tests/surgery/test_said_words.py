"""Words that a class lists for itself, as to decode ids: they follow once said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import (
    AmbiguousVocabularyError,
    NotProvedError,
    SurgeryError,
)

from .reference import only_once
from .saved import read
from .test_asked import Configured, grow
from .zoo import ADDED, DIM, SIZE, ids, table

pytestmark = [only_once, pytest.mark.usefixtures("quick_compile")]
WORDS = [f"w{number}" for number in range(SIZE)]
Form = Callable[[list[str]], Any]
FORMS: dict[str, Form] = {
    "list": list,
    "by word": lambda words: {word: id_ for id_, word in enumerate(words)},
    "by id": lambda words: {str(id_): word for id_, word in enumerate(words)},
    "pairs": lambda words: [[word, id_] for id_, word in enumerate(words)],
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@keras.saving.register_keras_serializable("tests.said")
class Decoder(Configured):
    """Can spell ids; changes no tensor."""

    def __init__(self, itos: Any, **options: Any) -> None:
        super().__init__({"itos": itos}, **options)

    def call(self, x: Any) -> Any:
        return x


@keras.saving.register_keras_serializable("tests.said")
class Named(keras.losses.Loss):
    """Knows the words that it judges."""

    def __init__(self, words: list[Any], name: str = "named") -> None:
        super().__init__(name=name)
        self.words = words

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"words": self.words, "name": self.name}


def _saved(itos: Any, folder: Path, **compiled: Any) -> Path:
    x = ids()
    hidden = Decoder(itos, name="decoder")(table(SIZE)(x))
    model = keras.Model(x, layers.Dense(SIZE)(hidden))
    if compiled:
        model.compile("sgd", **compiled)
    model.save(folder / "old.keras")
    return folder / "old.keras"


def _listed(path: Path) -> Any:
    return read(path).config["config"]["layers"][2]["config"]["itos"]


@forms
def test_new_words_join_the_list(form: Form, tmp_path: Path) -> None:
    source = _saved(form(WORDS), tmp_path)
    flag = "decoder::itos"
    with pytest.raises(AmbiguousVocabularyError, match=f"Add --also {flag}") as asked:
        grow(source, rows=1)
    assert f"--leave {flag}" in str(asked.value)
    for at in (None, 3):
        report = grow(source, tokens=["new"], at=at, also=flag, overwrite=True)
        assert report.certificate is not None
        assert report.certificate.passed
        where = SIZE if at is None else at
        grown = [*WORDS[:where], "new", *WORDS[where:]]
        assert _listed(tmp_path / "new.keras") == form(grown)
        kp.surgery.apply_plan(
            report.plan.inverse(),
            tmp_path / "new.keras",
            tmp_path / "back.keras",
            overwrite=True,
        )
        assert read(tmp_path / "back.keras").config == read(source).config


@forms
def test_words_that_go_leave_the_list(form: Form, tmp_path: Path) -> None:
    source, kept = _saved(form(WORDS), tmp_path), [0, 2, 5]
    target = tmp_path / "new.keras"
    kp.surgery.trim(source, target, keep=kept, also="decoder::itos")
    assert _listed(target) == form([WORDS[id_] for id_ in kept])


def test_each_new_row_needs_a_word(tmp_path: Path) -> None:
    source = _saved(WORDS, tmp_path)
    with pytest.raises(SurgeryError, match=r"as many rows as .*itos lists words"):
        grow(source, rows=ADDED, also="decoder::itos")


def test_entries_of_a_loss_are_not_asked_about_one_by_one(tmp_path: Path) -> None:
    source = _saved("", tmp_path, loss=Named([str(n % 3) for n in range(SIZE)]))
    grow(source, rows=1, at=0, also='named::words="1"')
    numbers = [n % 3 for n in range(SIZE)]
    source = _saved("", tmp_path, loss=Named(numbers))
    report = grow(source, rows=1, at=0, also="named::words=7", overwrite=True)
    target, back = tmp_path / "new.keras", tmp_path / "back.keras"
    loss = read(target).config["compile_config"]["loss"]
    assert loss["config"]["words"] == [7, *numbers]
    kp.surgery.apply_plan(report.plan.inverse(), target, back)
    assert read(back).config == read(source).config


def test_words_of_a_loss_follow(tmp_path: Path) -> None:
    source = _saved(1, tmp_path, loss=Named(WORDS))
    with pytest.raises(AmbiguousVocabularyError, match="Add --also named::words"):
        grow(source, rows=1)
    grow(source, tokens=["new"], also="named::words")
    loss = read(tmp_path / "new.keras").config["compile_config"]["loss"]
    assert loss["config"]["words"] == [*WORDS, "new"]


@pytest.mark.parametrize(
    ("listed", "flag"),
    [
        (WORDS[1:], "decoder::itos"),  # A word that is missing may be any.
        ({word: id_ for id_, word in enumerate(WORDS[:-1])}, "decoder::itos"),
        ({"b": 0.5, **dict.fromkeys(WORDS[1:], 1)}, "decoder::itos=0.5"),
        (WORDS, "decoder::itos:id"),
    ],
)
def test_a_list_of_something_else_is_refused(
    listed: Any, flag: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SurgeryError, match=r"itos lists \d+ entries\. Found.*: an|ids,"
    ):
        grow(_saved(listed, tmp_path), tokens=["new"], also=flag)


@pytest.mark.parametrize(
    ("old", "said", "new"),
    [
        ([0.25] * SIZE, "0.5", 0.5),
        ([0.25] * SIZE, "1", 1),
        (["noun"] * SIZE, "verb", "verb"),
        ([True] * SIZE, "false", False),
        ([[1, 2]] * SIZE, "[3, 4]", [3, 4]),
    ],
)
@pytest.mark.parametrize("by_id", [False, True])
def test_an_entry_for_each_id_moves_and_grows(
    old: list[Any], said: str, new: Any, by_id: bool, tmp_path: Path
) -> None:
    def form(entries: list[Any]) -> Any:
        return {str(n): one for n, one in enumerate(entries)} if by_id else entries

    old = [new, *old[1:]]  # To tell the first entry from the others.
    source = _saved(form(old), tmp_path)
    with pytest.raises(AmbiguousVocabularyError, match="decoder::itos=ENTRY"):
        grow(source, rows=1)
    report = grow(source, rows=1, at=0, also=f"decoder::itos={said}")
    assert _listed(tmp_path / "new.keras") == form([new, *old])
    kp.surgery.apply_plan(
        kp.surgery.Plan.from_json(report.plan.to_json()).inverse(),
        tmp_path / "new.keras",
        tmp_path / "back.keras",
    )
    assert read(tmp_path / "back.keras").config == read(source).config
    target = tmp_path / "trimmed.keras"
    kp.surgery.trim(source, target, keep=[0, 3], also="decoder::itos")
    assert _listed(target) == form([old[0], old[3]])


@pytest.mark.parametrize(
    ("old", "said"),
    [
        *((0.25, said) for said in ("", "=verb", "=NaN", "=1e999", "=null", "=true")),
        (0.25, f"={'9' * 400}"),
        (0.25, f"={'[' * 100_000}"),
        ([1, 2], "=[1, 2, 3]"),
        ("noun", '="\\ud800"'),
        ({"a": 1}, "={}"),
    ],
)
def test_an_entry_of_another_kind_is_refused(
    old: Any, said: str, tmp_path: Path
) -> None:
    source = _saved([old] * SIZE, tmp_path)
    with pytest.raises(SurgeryError, match=r"has an entry for each .*: one like it"):
        grow(source, rows=1, also=f"decoder::itos{said}")


@pytest.mark.parametrize("more", ["itos", "itos[3]:id", "config.layers[2].config.itos"])
@pytest.mark.parametrize("first", [True, False])
def test_a_list_is_named_once(more: str, first: bool, tmp_path: Path) -> None:
    flags = ["decoder::itos=5", f"decoder::{more}"]
    with pytest.raises(SurgeryError, match="both say something of"):
        grow(_saved([3] * SIZE, tmp_path), rows=1, also=flags if first else flags[::-1])


@pytest.mark.parametrize("training", [False, True])
def test_an_array_that_a_class_holds_is_asked_about(
    training: bool, tmp_path: Path
) -> None:
    array: Any = np.arange(SIZE, dtype="float32")
    compiled = {"loss": Named(array)} if training else {}
    source = _saved("" if training else array, tmp_path, **compiled)
    flag = "named::words" if training else "decoder::itos"
    with pytest.raises(AmbiguousVocabularyError, match="an entry for each") as asked:
        grow(source, rows=1)
    assert f"Add --leave {flag} " in str(asked.value)
    assert "--also" not in str(asked.value)
    kp.surgery.plan(source, rows=1, leave=flag)


def test_numbers_that_move_with_their_ids_are_told(tmp_path: Path) -> None:
    source, said = _saved([*range(SIZE)], tmp_path), "decoder::itos=0"
    moved = kp.surgery.plan(source, rows=1, at=0, also=said)
    assert any("If they are ids themselves" in note for note in moved.notes)
    notes = kp.surgery.plan(source, rows=1, also=said).notes
    assert not any("If they are ids themselves" in note for note in notes)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("listed", [[3, 5] * 500, {"b": 0, "a": 1, "d": 2, "c": 3}])
def test_ids_in_a_list_move_together(
    listed: Any, training: bool, tmp_path: Path
) -> None:
    compiled = {"loss": Named(listed)} if training else {}
    source = _saved("" if training else listed, tmp_path, **compiled)
    flag = "named::words" if training else "decoder::itos"
    kp.surgery.plan(source, rows=1)
    with pytest.raises(AmbiguousVocabularyError, match="may name them") as asked:
        kp.surgery.plan(source, rows=1, at=0)
    assert str(asked.value).count("--also") == 1
    assert f"--also {flag}:id" in str(asked.value)
    kp.surgery.plan(source, rows=1, at=0, leave=flag)
    kp.surgery.grow(
        source, tmp_path / "new.keras", rows=1, at=0, also=f"{flag}:id", proof=False
    )
    config = read(tmp_path / "new.keras").config
    new = config["compile_config"]["loss"]["config"]["words"] if training else None
    new = new or _listed(tmp_path / "new.keras")
    if isinstance(listed, dict):
        assert new == {word: id_ + 1 for word, id_ in listed.items()}
    else:
        assert new == [id_ + 1 for id_ in listed]


def test_a_few_numbers_in_an_array_are_left(tmp_path: Path) -> None:
    source = _saved(np.array([3, 5]), tmp_path)
    kp.surgery.plan(source, rows=1, at=0)


@keras.saving.register_keras_serializable("tests.said")
class Nameless(Named):
    """Says nothing but a number."""

    def __init__(self, words: int, name: str = "named") -> None:
        super().__init__([], name=name)
        self.stop = words

    def get_config(self) -> dict[str, Any]:
        return {"words": self.stop}


def test_a_number_alone_in_a_loss_is_asked_about(tmp_path: Path) -> None:
    source = _saved("", tmp_path, loss=Nameless(0))
    with pytest.raises(AmbiguousVocabularyError, match="--also Nameless::words:id"):
        kp.surgery.plan(source, rows=1, at=0)


def test_sizes_in_a_list_are_no_ids(tmp_path: Path) -> None:
    source = _saved([3, 5, SIZE + 20], tmp_path)
    kp.surgery.plan(source, rows=1, at=0)


def test_an_entry_belongs_to_a_list(tmp_path: Path) -> None:
    source = _saved(SIZE, tmp_path)
    with pytest.raises(SurgeryError, match=r"and no list\. Expected: decoder::i"):
        grow(source, rows=1, also="decoder::itos=5")


def test_a_trim_of_entries_is_undone(tmp_path: Path) -> None:
    listed = [n % 5 for n in range(SIZE)]
    source, small = _saved(listed, tmp_path), tmp_path / "small.keras"
    flag = "decoder::itos"
    plan = kp.surgery.trim(source, small, keep=[0, 3, 9], also=flag).plan
    undo = kp.surgery.Plan.from_json(plan.inverse().to_json())
    kp.surgery.trim(
        source, again := tmp_path / "again.keras", keep=[0, 3, 9], also=flag
    )
    kp.surgery.apply_plan(undo, again, tmp_path / "back.keras")
    assert _listed(tmp_path / "back.keras") == listed
    kp.surgery.trim(
        source, other := tmp_path / "other.keras", keep=[1, 3, 9], also=flag
    )
    with pytest.raises(SurgeryError, match=r"itos"):
        kp.surgery.apply_plan(undo, other, tmp_path / "wrong.keras")


@keras.saving.register_keras_serializable("tests.said")
class Kinds(Configured):
    """The kind of each id has a vector."""

    def __init__(self, kinds: list[int], **options: Any) -> None:
        super().__init__({"kinds": kinds}, **options)
        self.table = layers.Embedding(3, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        kinds = keras.ops.convert_to_tensor(self.own["kinds"])
        return self.table(keras.ops.take(kinds, x))


def test_a_list_that_ids_pick_from_is_proved(tmp_path: Path) -> None:
    kinds, x = [n % 3 for n in range(SIZE)], ids()
    both = layers.Concatenate()([table(SIZE)(x), Kinds(kinds, name="kind")(x)])
    keras.Model(x, both).save(tmp_path / "old.keras")
    flags: dict[str, Any] = {"vocabulary": "words", "overwrite": True}
    report = grow(tmp_path / "old.keras", rows=2, also="kind::kinds=1", **flags)
    assert report.certificate is not None
    assert report.certificate.passed
    with pytest.raises(NotProvedError) as caught:
        grow(tmp_path / "old.keras", rows=2, leave="kind::kinds", **flags)
    assert caught.value.certificate.verdict != "proved"


@keras.saving.register_keras_serializable("tests.said")
class Counted(Configured):
    """A table with a row for each number of a list."""

    def __init__(self, counts: list[int], **options: Any) -> None:
        super().__init__({"counts": counts}, **options)
        self.table = layers.Embedding(len(counts), DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_numbers_that_a_table_has_rows_for_are_no_words_once_it_is_said(
    tmp_path: Path,
) -> None:
    counts, x = [*range(SIZE, 0, -1)], ids()
    keras.Model(x, Counted(counts, name="own")(x)).save(tmp_path / "old.keras")
    grow(tmp_path / "old.keras", rows=2, also="own::counts=3")
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["counts"] == [*counts, 3, 3]


@keras.saving.register_keras_serializable("tests.said")
class Spelling(Configured):
    """A lookup with its words, which it lists for itself once more."""

    def __init__(self, words: list[str], itos: list[str], **options: Any) -> None:
        super().__init__({"words": words, "itos": itos}, **options)
        self.lookup = layers.StringLookup(vocabulary=words)
        self.table = layers.Embedding(len(words) + 1, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(self.lookup(x))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings go in")
def test_a_lookup_beside_the_list_follows_too(tmp_path: Path) -> None:
    x = keras.Input((3,), dtype="string")
    words = ["ant", "bee"]
    layer = Spelling(words, ["[UNK]", *words], name="spelling")
    keras.Model(x, layer(x)).save(tmp_path / "old.keras")
    report = grow(tmp_path / "old.keras", tokens=["cat"], also="spelling::itos")
    assert report.certificate is not None
    assert report.certificate.passed
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["words"] == ["ant", "bee", "cat"]
    assert config["itos"] == ["[UNK]", "ant", "bee", "cat"]


def test_a_layer_that_is_left_alone_still_asks_for_its_words(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousVocabularyError, match="--leave decoder::itos"):
        grow(_saved(WORDS, tmp_path), rows=1, leave="decoder")
