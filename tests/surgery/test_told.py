"""What a user is told: names that he knows, what stays, and what stands in the way."""

import re
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

from keras_padsafe import surgery
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError, SurgeryError

from .test_asked import Configured, grow, saved
from .zoo import ADDED, DIM, SIZE, ids, table

pytestmark = pytest.mark.usefixtures("quick_compile")
register = keras.saving.register_keras_serializable("tests.told")


@register
class Fused(Configured):
    """Two features in one table, as two arguments."""

    def __init__(self, sizes: list[int], **options: Any) -> None:
        super().__init__({"sizes": sizes}, **options)

    def build(self, *shapes: Any) -> None:
        rows = sum(self.own["sizes"])
        self.table = self.add_weight(shape=(rows, DIM), name="table")

    def call(self, one: Any, other: Any) -> Any:
        behind = ops.take(self.table, other + self.own["sizes"][0], axis=0)
        return ops.take(self.table, one, axis=0) * behind


def test_a_layer_of_several_arguments_shows_its_table(tmp_path: Path) -> None:
    one, other = ids("one"), ids("other")
    source = tmp_path / "old.keras"
    keras.Model([one, other], Fused([SIZE, 4])(one, other)).save(source)
    with pytest.raises(SurgeryError, match="follows each of several numbers") as asked:
        grow(source, rows=ADDED)
    claims = re.findall(r"--also (\S+sizes\[0\])", str(asked.value))
    report = grow(source, rows=ADDED, at=SIZE, also=claims)
    assert report.certificate is not None
    assert report.certificate.passed


@register
class InSteps(Configured):
    """A row for some numbers in a row."""

    def __init__(self, rows: int, each: int, **options: Any) -> None:
        super().__init__({"rows": rows, "each": each}, **options)
        self.table = layers.Embedding(rows, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(ops.clip(x // self.own["each"], 0, 12))


@pytest.mark.parametrize(
    ("each", "why"), [(100, "none of the ids"), (2, "computes ids from input")]
)
def test_computed_ids_that_were_not_seen_to_move_prove_nothing(
    each: int, why: str, tmp_path: Path
) -> None:
    source = saved(InSteps(SIZE, each), tmp_path / "old.keras")
    swapped = [0, 1, 2, 9, 4, 5, 6, 7, 8, 3, *range(10, SIZE)]
    with pytest.raises(NotProvedError, match=why) as caught:
        surgery.remap(source, tmp_path / "new.keras", row_map=swapped)
    assert caught.value.certificate.verdict == "not proved"


@register
class Pairs(Configured):
    """Two rows for each id."""

    def __init__(self, sizes: list[int], **options: Any) -> None:
        super().__init__({"sizes": sizes}, **options)

    def build(self, shape: Any) -> None:
        rows = 2 * self.own["sizes"][0]
        self.table = self.add_weight(shape=(rows, DIM), name="table")

    def call(self, x: Any) -> Any:
        first = ops.take(self.table, 2 * x, axis=0)
        return first + ops.take(self.table, 2 * x + 1, axis=0)


def test_a_table_that_cannot_grow_leaves_no_other_unnamed(tmp_path: Path) -> None:
    x = ids()
    places = layers.Embedding(8, DIM, name="places")(ops.cumsum(ops.ones_like(x), 1))
    keras.Model(x, Pairs([SIZE, 4])(x) + places).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="not by one entry for each id"):
        grow(tmp_path / "old.keras", rows=1)


@register
class Scored(Configured):
    """A table and scores, each of a layer with a name of the user's own."""

    def __init__(self, count: int, places: int = 0, **options: Any) -> None:
        super().__init__({"count": count, "places": places}, **options)
        self.table = layers.Embedding(count, DIM, name="my_table")
        self.scores = layers.Dense(count, name="my_scores")
        self.extra = [layers.Dense(DIM) for _ in range(max(0, count - SIZE))]
        self.extra = self.extra if places else []

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        for layer in (self.scores, *self.extra):
            layer.build((None, DIM))

    def call(self, x: Any) -> Any:
        return self.scores(self.table(x))


@pytest.mark.parametrize("name", ["scores", "my_scores", "my_table", "table"])
def test_a_vocabulary_goes_by_the_names_of_layers_inside(
    name: str, tmp_path: Path
) -> None:
    source = saved(Scored(SIZE, name="scored"), tmp_path / "old.keras")
    assert surgery.plan(source, rows=1, vocabulary=name).new_size == SIZE + 1


def test_other_arrays_of_a_larger_model_are_told_once(tmp_path: Path) -> None:
    source = saved(Scored(SIZE, places=1), tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="so do 13 more") as told:
        grow(source, rows=1)
    assert "changes from nothing to" in str(told.value)
    assert str(told.value).count("\n") == 1


def test_a_table_as_large_that_stays_is_told(tmp_path: Path) -> None:
    x, near = ids("x"), ids("near")
    centre, around = table(SIZE, "centre")(x), table(SIZE, "around")(near)
    keras.Model([x, near], layers.Dot(2)([centre, around])).save(tmp_path / "old.keras")
    plan = surgery.plan(tmp_path / "old.keras", rows=1, vocabulary="centre")
    (note,) = (note for note in plan.notes if "'around' has 13 ids too" in note)
    claim = re.findall(r"--also (\S+) ", note)
    both = surgery.plan(tmp_path / "old.keras", rows=1, vocabulary="centre", also=claim)
    assert len([array for array in both.arrays if array.axis == 0]) == 2


def test_what_keeps_columns_from_growing_is_named(tmp_path: Path) -> None:
    x = keras.Input((1,), dtype="int32")
    wide = layers.CategoryEncoding(SIZE, "multi_hot")(x)
    wide = layers.BatchNormalization(name="wide_norm")(wide)
    deep = layers.Flatten()(layers.Embedding(SIZE, DIM)(x))
    y = layers.Dense(1)(layers.Concatenate()([wide, deep]))
    keras.Model(x, y).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="'wide_norm' takes in"):
        grow(tmp_path / "old.keras", rows=1)


@register
class Buckets(Configured):
    """Words, and behind them bins for all others."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__({"words": words}, **options)

    def build(self, shape: Any) -> None:
        rows = self.own["words"] + 7
        self.table = self.add_weight(shape=(rows, DIM), name="table")

    def call(self, x: Any) -> Any:
        bins = self.own["words"] + x % 7
        return ops.take(self.table, x, axis=0) + ops.take(self.table, bins, axis=0)


def test_rows_for_something_else_behind_a_number_are_told(tmp_path: Path) -> None:
    source = saved(Buckets(SIZE), tmp_path / "old.keras")
    with pytest.raises(NotProvedError, match=rf"number says {SIZE}.*--at {SIZE}\)"):
        grow(source, rows=ADDED)


@register
class NoShape(keras.Model):
    """Is built without a shape."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count
        self.table = layers.Embedding(count, DIM)

    def build(self, shape: Any = None) -> None:
        self.table.build(None)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.table(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def test_a_model_that_does_not_say_its_inputs_is_not_proved(tmp_path: Path) -> None:
    model = NoShape(SIZE)
    model.build()
    model.save(tmp_path / "old.keras")
    with pytest.raises(NotProvedError, match="with which shapes it was built"):
        grow(tmp_path / "old.keras", rows=1)


@register
class Scaled(Configured):
    """A factor for each score, as a column."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__({"words": words}, **options)

    def build(self, shape: Any) -> None:
        self.factor = self.add_weight(shape=(self.own["words"], 1), name="factor")

    def call(self, x: Any) -> Any:
        return x * ops.reshape(self.factor, (-1,))


def test_a_factor_of_scores_can_be_said(tmp_path: Path) -> None:
    scores = layers.Dense(SIZE, name="head")(table(SIZE)(x := ids()))
    keras.Model(x, Scaled(SIZE, name="scaled")(scores)).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError) as asked:
        grow(tmp_path / "old.keras", rows=ADDED)
    claims = re.findall(r"--also (\S+)", str(asked.value))
    assert claims
    report = grow(tmp_path / "old.keras", rows=ADDED, also=claims)
    assert report.certificate is not None
    assert report.certificate.passed
