"""Lookup layers learn the new words together with the tables that they feed."""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.sites import WordsSite
from keras_padsafe.surgery.finding.words import check_new_words

from .reference import (
    as_float64,
    assert_old_rows_kept,
    assert_plan_is_exact,
    assert_same_structure,
    save,
)
from .saved import read
from .zoo import DIM, Build

pytest.importorskip("tensorflow")  # Keras computes lookups with it

WORDS = ["ant", "bee", "cat", "dog", "emu", "fox", "gnu"]
NEW_WORDS = ["hen", "ibis", "jay"]
NUMBERS = [10, 20, 30, 40, 50]
NEW_NUMBERS = [60, 70]


def _model(lookup: Any, rows: int, *, steps: int = 4, dtype: str = "string") -> Any:
    x = keras.Input((steps,), dtype=dtype, name="text")
    h = layers.Embedding(rows, DIM, name="words")(lookup(x))
    return keras.Model(x, layers.GlobalAveragePooling1D()(h))


def _string_lookup(**kwargs: Any) -> Build:
    offset = kwargs.get("num_oov_indices", 1) + ("mask_token" in kwargs)

    def build(count: int) -> keras.Model:
        words = (WORDS + NEW_WORDS)[:count]
        lookup = layers.StringLookup(vocabulary=words, name="lookup", **kwargs)
        return _model(lookup, count + offset)

    return build


def _adapted_lookup(count: int) -> keras.Model:
    lookup = layers.StringLookup(name="lookup")
    # Adapting sorts by count, then backwards.
    words = (WORDS + NEW_WORDS)[:count]
    lookup.adapt(np.array([w for i, w in enumerate(words) for _ in range(99 - i)]))
    return _model(lookup, count + 1)


def _set_lookup(count: int) -> keras.Model:
    lookup = layers.StringLookup(name="lookup", num_oov_indices=3, mask_token="[PAD]")
    lookup.set_vocabulary((WORDS + NEW_WORDS)[:count])
    return _model(lookup, count + 4)


def _integer_lookup(count: int) -> keras.Model:
    numbers = (NUMBERS + NEW_NUMBERS)[:count]
    lookup = layers.IntegerLookup(vocabulary=numbers, mask_token=0, name="lookup")
    return _model(lookup, count + 2, dtype="int64")


def _integer_asset(count: int) -> keras.Model:
    lookup = layers.IntegerLookup(name="lookup")
    lookup.set_vocabulary((NUMBERS + NEW_NUMBERS)[:count])
    return _model(lookup, count + 1, dtype="int64")


def _text(**kwargs: Any) -> Build:
    def build(count: int) -> keras.Model:
        words = (WORDS + NEW_WORDS)[:count]
        lookup = layers.TextVectorization(
            output_sequence_length=4, name="lookup", **kwargs
        )
        lookup.set_vocabulary(words)
        return _model(lookup, count + 2, steps=1)

    return build


def _text_with_list(count: int) -> keras.Model:
    lookup = layers.TextVectorization(
        output_sequence_length=4,
        vocabulary=(WORDS + NEW_WORDS)[:count],
        max_tokens=count + 2,
        name="lookup",
    )
    return _model(lookup, count + 2, steps=1)


def _two_tables(count: int) -> keras.Model:
    x = keras.Input((4,), dtype="string", name="text")
    lookup = layers.StringLookup(vocabulary=(WORDS + NEW_WORDS)[:count], name="lookup")
    found = lookup(x)
    wide = layers.Embedding(count + 1, 1, name="wide")(found)
    deep = layers.Embedding(count + 1, DIM, name="words")(found)
    return keras.Model(x, [wide, deep])


LOOKUPS: dict[str, Build] = {
    "list": _string_lookup(),
    "list_without_unknown": _string_lookup(num_oov_indices=0),
    "list_three_unknown": _string_lookup(num_oov_indices=3),
    "list_with_mask": _string_lookup(mask_token=""),
    "list_with_mask_word": _string_lookup(mask_token="[PAD]", num_oov_indices=2),
    "adapted": _adapted_lookup,
    "set": _set_lookup,
    "integers": _integer_lookup,
    "integers_in_asset": _integer_asset,
    "text": _text(),
    "text_capped": _text(max_tokens=50),
    "text_list": _text_with_list,
    "two_tables": _two_tables,
}


@pytest.mark.parametrize("name", LOOKUPS)
def test_words_enter_lookup_and_tables_together(name: str, tmp_path: Path) -> None:
    is_number = name.startswith("integers")
    old_words: list[Any] = list(NUMBERS if is_number else WORDS)
    new_words: list[Any] = list(NEW_NUMBERS if is_number else NEW_WORDS)
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    build = LOOKUPS[name]
    save(build, len(old_words) + len(new_words), larger)
    model = save(build, len(old_words), source)

    report = kp.surgery.grow(source, target, tokens=new_words)

    old, new, reference = read(source), read(target), read(larger)
    assert_same_structure(new, reference)
    assert_plan_is_exact(report.plan, old, reference)
    assert_old_rows_kept(report.plan, old, new)
    grown = keras.models.load_model(target)
    before = {word: id_ for id_, word in enumerate(_lookup(model).get_vocabulary())}
    after = {word: id_ for id_, word in enumerate(_lookup(grown).get_vocabulary())}
    assert {word: after[word] for word in before} == before
    assert {word: after[word] for word in new_words} == report.tokens
    text = _text_of(name, old_words)
    for one, other in zip(_run(model, text), _run(grown, text), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(o).all() for o in _run(grown, _text_of(name, new_words)))


def _lookup(model: keras.Model) -> Any:
    return model.get_layer("lookup")


def _run(model: keras.Model, text: Any) -> list[np.ndarray]:
    """Outputs for strings, which only TensorFlow can feed to a whole model."""
    if keras.backend.backend() == "tensorflow":
        return [as_float64(output) for output in keras.tree.flatten(model(text))]
    found = np.asarray(_lookup(model)(text))
    tables = [one for one in model.layers if isinstance(one, layers.Embedding)]
    return [as_float64(one(found)) for one in tables]


def _text_of(name: str, words: list[Any]) -> Any:
    import tensorflow as tf

    if name.startswith("text"):
        return tf.constant([[" ".join(words)], [f"{words[0]} unknown"]])
    known = [*words, *words][:4]
    if name.startswith("integers"):
        return tf.constant([known], dtype="int64")
    unknown = "unknown" if name != "list_without_unknown" else known[0]
    return tf.constant([known, [unknown, *known[:3]]])


def test_lookup_that_names_the_ids_chosen(tmp_path: Path) -> None:
    """The way back from ids to words learns them too."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"

    def build(count: int) -> keras.Model:
        words = (WORDS + NEW_WORDS)[:count]
        there = layers.StringLookup(vocabulary=words, name="lookup")
        back = layers.StringLookup(vocabulary=words, name="names", invert=True)
        x = keras.Input((4,), dtype="string", name="text")
        h = layers.Embedding(count + 1, DIM, name="words")(there(x))
        logits = layers.Dense(count + 1)(h)
        return keras.Model(x, [logits, back(keras.ops.argmax(logits, axis=-1))])

    save(build, len(WORDS) + len(NEW_WORDS), larger)
    save(build, len(WORDS), source)
    plan = kp.surgery.grow(source, target, tokens=NEW_WORDS).plan
    assert_same_structure(read(target), read(larger))
    assert [change.layer for change in plan.words] == ["lookup", "names"]


def test_two_lookups_of_one_name_learn_the_words(tmp_path: Path) -> None:
    """Each in a model of its own, and of the outer one a third."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"

    def build(count: int) -> keras.Model:
        def lookup() -> keras.Layer:
            words = (WORDS + NEW_WORDS)[:count]
            return layers.StringLookup(vocabulary=words, name="lookup")

        texts = [keras.Input((4,), dtype="string") for _ in range(5)]
        towers = [
            keras.Model(x, lookup()(x), name=f"tower_{x.name}") for x in texts[:2]
        ]
        numbered = [
            make(x) for make, x in zip([*towers, lookup()], texts[2:], strict=True)
        ]
        table = layers.Embedding(count + 1, DIM, name="words")
        return keras.Model(texts[2:], [table(x) for x in numbered])

    save(build, len(WORDS) + len(NEW_WORDS), larger)
    save(build, len(WORDS), source)
    plan = kp.surgery.grow(source, target, tokens=NEW_WORDS).plan
    assert_same_structure(read(target), read(larger))
    names = {change.layer for change in plan.words}
    assert len(names) == 3
    assert "lookup" in names
    assert kp.surgery.Plan.from_json(plan.to_json()) == plan
    if keras.backend.backend() == "tensorflow":  # Only it runs a model of text.
        assert kp.surgery.verify(source, target, plan=plan).verdict == "proved"


def test_list_with_the_special_words_in_it(tmp_path: Path) -> None:
    """`get_vocabulary()` passed back in, as many do."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(count: int) -> keras.Model:
        words = ["", "[UNK]", *(WORDS + NEW_WORDS)[:count]]
        lookup = layers.StringLookup(vocabulary=words, mask_token="", name="lookup")
        return _model(lookup, count + 2)

    save(build, len(WORDS), source)
    report = kp.surgery.grow(source, target, tokens=NEW_WORDS)
    grown = keras.models.load_model(target)
    assert _lookup(grown).get_vocabulary() == ["", "[UNK]", *WORDS, *NEW_WORDS]
    assert report.tokens == {"hen": 9, "ibis": 10, "jay": 11}


def test_spare_rows_are_taken_first(tmp_path: Path) -> None:
    """A table with more rows than words grows only by what is missing."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(rows: int) -> keras.Model:
        lookup = layers.StringLookup(vocabulary=WORDS, name="lookup")
        return _model(lookup, rows)

    save(build, len(WORDS) + 1 + 2, source)
    report = kp.surgery.grow(source, target, tokens=NEW_WORDS)
    table_before = read(source).arrays["layers/embedding/vars/0"]
    table = read(target).arrays["layers/embedding/vars/0"]
    assert table.shape == (11, DIM)
    assert report.tokens == {"hen": 8, "ibis": 9, "jay": 10}
    assert report.new_ids == [8, 9, 10]
    np.testing.assert_array_equal(table[:8], table_before[:8])
    assert any("spare" in note for note in report.plan.notes)


def test_rows_alone_leave_the_words_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_string_lookup(), len(WORDS), source)
    report = kp.surgery.grow(source, target, rows=2)
    assert report.tokens == {}
    grown = keras.models.load_model(target)
    assert _lookup(grown).get_vocabulary() == ["[UNK]", *WORDS]
    assert grown.get_layer("words").input_dim == len(WORDS) + 3


def test_cap_rises_only_when_it_would_bind(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    for cap, expected in ((50, 50), (9, 12)):
        save(_text(max_tokens=cap), len(WORDS), source)
        target = tmp_path / f"{cap}.keras"
        kp.surgery.grow(source, target, tokens=NEW_WORDS)
        grown = keras.models.load_model(target)
        assert _lookup(grown).get_config()["max_tokens"] == expected


def test_cap_that_the_words_have_reached_falls_with_them(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    for cap, expected in ((50, 50), (len(WORDS) + 2, 4)):
        save(_text(max_tokens=cap), len(WORDS), source)
        kp.surgery.trim(source, target, keep=WORDS[:2], overwrite=True)
        trimmed = keras.models.load_model(target)
        assert _lookup(trimmed).get_config()["max_tokens"] == expected


REFUSED = {
    "present": (["hen", "cat"], "are in StringLookup 'lookup' already.*'cat'.*Leave"),
    "doubled": (["hen", "hen"], "given more than once.*'hen'.*Expected: each"),
    "empty": ([""], "is empty.*Leave it out"),
    "line_break": (["a\nb"], "line break.*Expected: a word that fits on one line"),
    "exotic_line_break": (["a\u2028b"], "line break"),
    "next_line": (["a\x85b"], "line break"),
    "surrogate": (["\ud800"], "UTF-8"),
    "unknown_word": (["[UNK]"], "already|unknown word"),
    "not_text": ([3], "is not a string"),
    "no_word": ([], "at least one"),
    "bare_string": ("hen", "list of words"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_words_that_cannot_be_kept_are_refused(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_string_lookup(), len(WORDS), source)
    tokens, message = REFUSED[name]
    with pytest.raises(SurgeryError, match=f"(?s){message}"):
        kp.surgery.grow(source, target, tokens=tokens)
    assert not target.exists()


def test_odd_words_come_back_exactly(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    odd = ["  two words ", "é", "e\u0301", "日本", '"quoted"', "a\tb", "🙂", "x" * 9999]
    save(_adapted_lookup, len(WORDS), source)
    kp.surgery.grow(source, target, tokens=odd)
    grown = keras.models.load_model(target)
    assert _lookup(grown).get_vocabulary()[-len(odd) :] == odd


INTEGERS = {
    "too_large": (2**70, "does not fit into 64 bits"),
    "unknown_word": (-1, "writes padding or an unknown word"),
    "padding": (0, "writes padding or an unknown word"),
    "text": ("7", "is not an integer"),
    "bool": (True, "is not a string or an integer"),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_that_cannot_be_kept_are_refused(name: str, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    lookup = layers.IntegerLookup(vocabulary=NUMBERS, mask_token=0, name="lookup")
    save(lambda rows: _model(lookup, rows, dtype="int64"), len(NUMBERS) + 2, source)
    token, message = INTEGERS[name]
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.plan(source, tokens=[token])
    new: Any = np.int64(60)
    assert kp.surgery.plan(source, tokens=[new]).tokens == {60: 7}


def test_row_map_that_doubles_a_word(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_string_lookup(), len(WORDS), source)
    with pytest.raises(
        SurgeryError,
        match=r"(?s)old id 2 goes to new ids \[2, 3\], and StringLookup 'lookup' has "
        r"its word 'bee' once.*Expected: each id",
    ):
        kp.surgery.plan(source, row_map=[0, 1, 2, 2])


def test_many_words_take_little_time() -> None:
    """Each look-up of a word takes the same time however many there are."""
    words = tuple(f"w{number}" for number in range(20_000))
    specials = ("[UNK]",)
    site = WordsSite(
        *("l", None, (), 1, ""),
        class_name="StringLookup",
        words=words,
        specials=specials,
    )
    started = time.process_time()
    check_new_words([f"new{number}" for number in range(20_000)], site)
    assert time.process_time() - started < 2
