"""Words of lookups that a class holds beside its tables."""

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError

from .reference import only_once
from .saved import read
from .test_asked import Configured, grow
from .zoo import DIM, SIZE

pytestmark = [only_once, pytest.mark.usefixtures("quick_compile")]
USERS, ITEMS = ["ann", "bob"], ["ant", "bee", "cat"]


def _tower(words: list[str]) -> keras.Sequential:
    lookup = layers.StringLookup(vocabulary=words)
    return keras.Sequential([lookup, layers.Embedding(len(words) + 1, DIM)])


@keras.saving.register_keras_serializable("tests.held")
class Towers(keras.Model):
    """In each tower a lookup, and the table behind it."""

    def __init__(self, users: list[str], items: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.own = {"users": users, "items": items}
        self.user, self.item = _tower(users), _tower(items)

    def call(self, inputs: Any) -> Any:
        user, item = inputs
        return ops.sum(self.user(user) * self.item(item), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


@pytest.mark.parametrize("key", ["users", "items"])
def test_a_lookup_feeds_the_table_behind_it(key: str, tmp_path: Path) -> None:
    source, model = tmp_path / "old.keras", Towers(USERS, ITEMS)
    model([ops.convert_to_tensor([["ann"]]), ops.convert_to_tensor([["bee"]])])
    model.save(source)
    report = grow(source, tokens=["new"], vocabulary=key)
    assert report.certificate is not None
    assert report.certificate.passed
    config = read(tmp_path / "new.keras").config["config"]
    before = {"users": USERS, "items": ITEMS}
    assert {one: config[one] for one in before} == {
        **before,
        key: [*before[key], "new"],
    }


@keras.saving.register_keras_serializable("tests.held")
class OfText(keras.Model):
    """Takes text in."""

    def __init__(self, words: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self.vectorize = layers.TextVectorization(
            vocabulary=words, output_sequence_length=4
        )
        self.table = layers.Embedding(len(words) + 2, DIM)

    def call(self, text: Any) -> Any:
        return self.table(self.vectorize(text))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


def test_the_ids_of_text_are_no_positions(tmp_path: Path) -> None:
    model = OfText(ITEMS)
    model(ops.convert_to_tensor(["ant bee"]))
    model.save(tmp_path / "old.keras")
    grow(tmp_path / "old.keras", tokens=["new"])  # and no vocabulary is asked for
    assert read(tmp_path / "new.keras").config["config"]["words"] == [*ITEMS, "new"]


@keras.saving.register_keras_serializable("tests.held")
class Several(Configured):
    """Two lookups, one of which makes the ids."""

    def __init__(
        self, rows: int, words: list[str], others: list[str], **options: Any
    ) -> None:
        super().__init__({"rows": rows, "words": words, "others": others}, **options)
        self.first = layers.StringLookup(vocabulary=words)
        self.second = layers.StringLookup(vocabulary=others)
        self.table = layers.Embedding(rows, DIM)

    def call(self, x: Any) -> Any:
        return (
            self.table(self.first(x)) + ops.cast(self.second(x), "float32")[..., None]
        )


def test_of_several_lookups_none_is_taken(tmp_path: Path) -> None:
    source, x = tmp_path / "old.keras", keras.Input((3,), dtype="string")
    keras.Model(x, Several(SIZE, USERS, ITEMS)(x)).save(source)
    (vocabulary,) = kp.surgery.inspect(source).vocabularies
    assert vocabulary.words == ()
    assert any(
        "does not say which of them makes the ids" in n for n in vocabulary.notes
    )


@keras.saving.register_keras_serializable("tests.held")
class Hashed(Configured):
    """Bins of words, and a table of them."""

    def __init__(self, bins: int, **options: Any) -> None:
        super().__init__({"bins": bins}, **options)
        self.hash = layers.Hashing(bins)
        self.table = layers.Embedding(bins, DIM)

    def call(self, x: Any) -> Any:
        return self.table(self.hash(x))


def test_a_hash_in_front_of_a_table_is_refused(tmp_path: Path) -> None:
    source, x = tmp_path / "old.keras", keras.Input((3,), dtype="string")
    keras.Model(x, Hashed(SIZE)(x)).save(source)
    with pytest.raises(
        AmbiguousVocabularyError, match="No word ever reaches a new row"
    ):
        grow(source, rows=2)
