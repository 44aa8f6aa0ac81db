"""Words whose ids are changed on their way to a table, and rows without a word."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError, SurgeryError

from .reference import assert_old_rows_kept, assert_same_structure, save
from .saved import read
from .test_words import NEW_WORDS, WORDS
from .zoo import DIM

pytest.importorskip("tensorflow")  # Keras computes lookups with it
pytestmark = pytest.mark.usefixtures("quick_compile")

FLAG = "subtract::config.layers[2].inbound_nodes[0].args[0]"
PLUS = len(WORDS) + 2  # ids: 0 for padding, 1 for unknown words
by_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Keras runs text on TensorFlow"
)


def _model(count: int, change: Any, rows: int, **more: Any) -> keras.Model:
    x = keras.Input((4,), dtype="string", name="text")
    lookup = layers.StringLookup(vocabulary=(WORDS + NEW_WORDS)[:count], name="lookup")
    h = layers.Embedding(rows, DIM, name="words", **more)(change(lookup(x)))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(h)))


def _plus_one(count: int) -> keras.Model:
    return _model(count, lambda ids: ids + 1, count + 2, mask_zero=True)


def _backwards(count: int) -> keras.Model:
    return _model(count, lambda ids: 20 - ids, 21)


def test_words_grow_where_a_number_is_added_to_their_ids(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_plus_one, len(WORDS), source)
    save(_plus_one, len(WORDS) + 3, tmp_path / "larger.keras")
    report = kp.surgery.grow(source, target, tokens=NEW_WORDS[:3], proof=False)
    assert report.tokens == {word: PLUS + n for n, word in enumerate(NEW_WORDS[:3])}
    assert_same_structure(read(target), read(tmp_path / "larger.keras"))
    assert_old_rows_kept(report.plan, read(source), read(target))


@by_tensorflow
@pytest.mark.parametrize("how", ["grow", "trim"])
def test_their_change_is_proved(how: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_plus_one, len(WORDS), source)
    change = {"tokens": NEW_WORDS} if how == "grow" else {"keep": WORDS[2:]}
    report = getattr(kp.surgery, how)(source, target, **change)
    assert report.certificate is not None
    assert report.certificate.passed
    old, new = (keras.models.load_model(path) for path in (source, target))
    text = ops.convert_to_tensor([WORDS[2:6]])
    before, after = (ops.convert_to_numpy(model(text)) for model in (old, new))
    np.testing.assert_allclose(before, after, rtol=1e-6)


def test_the_row_of_unknown_words_is_theirs(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_plus_one, len(WORDS), source)
    kp.surgery.grow(
        source, target, tokens=NEW_WORDS[:1], new_rows="unknown", proof=False
    )
    rows = read(target).arrays["layers/embedding/vars/0"]
    assert np.array_equal(rows[PLUS], rows[1])
    with pytest.raises(SurgeryError, match="id 1 would move"):
        kp.surgery.remap(source, target, row_map=[0, 2, 1, *range(3, PLUS)])


def test_words_whose_ids_change_otherwise_are_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_backwards, len(WORDS), source)
    with pytest.raises(SurgeryError, match="StringLookup 'lookup' makes ids that are"):
        kp.surgery.grow(source, target, tokens=NEW_WORDS, leave=FLAG)
    with pytest.raises(SurgeryError, match="words would still be given them"):
        kp.surgery.trim(source, target, keep=[3, 4], leave=FLAG)


def _by_another(path: Path) -> Path:
    """Unknown words get the row of the first word, whichever that is."""
    x = keras.Input((3,), dtype="string")
    known = layers.StringLookup(vocabulary=WORDS, name="lookup")(x)
    ids = ops.maximum(known + 1, 2)
    keras.Model(x, layers.Embedding(PLUS, DIM, name="words")(ids)).save(path)
    return path


@by_tensorflow
def test_unknown_words_are_run_too(tmp_path: Path) -> None:
    source, target = _by_another(tmp_path / "old.keras"), tmp_path / "new.keras"
    with pytest.raises(NotProvedError, match="old ids keep their outputs") as caught:
        kp.surgery.trim(source, target, keep=WORDS[1:])
    assert caught.value.certificate.verdict == "wrong"


def _with_start(rows: int) -> keras.Model:
    x = keras.Input((4,), dtype="string", name="text")
    start = keras.Input((1,), dtype="int64", name="start")
    lookup = layers.StringLookup(vocabulary=WORDS, name="lookup")
    ids = layers.Concatenate()([start, lookup(x)])
    h = layers.Embedding(rows, DIM, name="words")(ids)
    return keras.Model([x, start], layers.GlobalAveragePooling1D()(h))


def test_rows_that_another_input_may_reach_are_not_spare(tmp_path: Path) -> None:
    source, end = tmp_path / "old.keras", len(WORDS) + 1
    save(_with_start, end + 1, source)
    with pytest.raises(AmbiguousVocabularyError, match=r"input 'start'.*--leave start"):
        kp.surgery.grow(source, tmp_path / "a.keras", tokens=NEW_WORDS[:1])
    taken = kp.surgery.plan(source, tokens=NEW_WORDS[:1], leave="start")
    assert taken.new_size == end + 1
    before = kp.surgery.plan(source, tokens=NEW_WORDS[:1], at=end)
    assert before.row_map.ids.tolist() == [*range(end), -1, end]


@by_tensorflow
def test_text_and_ids_for_one_table_are_proved(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_with_start, len(WORDS) + 1, source)
    report = kp.surgery.grow(source, target, tokens=NEW_WORDS[:1], proof=True)
    assert report.certificate is not None
    assert report.certificate.passed
