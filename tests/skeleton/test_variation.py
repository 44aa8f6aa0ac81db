"""What follows a number is what differs between two models that Keras builds."""

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

from keras_padsafe.skeleton import build, look_inside, variation

from ..surgery.saved import read

pytestmark = pytest.mark.usefixtures("quick_compile")


@keras.saving.register_keras_serializable(package="tests.skeleton")
class Scorer(layers.Layer):
    """Tables and heads of several sizes that one number counts."""

    def __init__(self, words: int, rounds: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words, self.rounds = words, rounds
        rows = -(-words // 8) * 8 if rounds else words + 1
        self.table = layers.Embedding(rows, 3)
        self.places = layers.Embedding(words, 3)
        self.head = layers.Dense(words - 2)

    def call(self, ids: Any) -> Any:
        places = self.places(ops.arange(ops.shape(ids)[-1]))
        return self.head(self.table(ids) + places)

    def get_config(self) -> dict[str, Any]:
        own = {"words": self.words, "rounds": self.rounds}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tests.skeleton")
class Bare(layers.Layer):
    """Two tables without an Embedding, one of them on its side."""

    def __init__(self, words: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words

    def build(self, shape: Any) -> None:
        self.upright = self.add_weight(shape=(self.words, 3), name="upright")
        self.lying = self.add_weight(shape=(3, self.words), name="lying")

    def call(self, ids: Any) -> Any:
        turned = ops.transpose(ops.take(self.lying, ops.reshape(ids, (-1,)), axis=1))
        return ops.take(self.upright, ids, axis=0) + ops.reshape(turned, (-1, 4, 3))

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape, 3)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


def config_of(layer: layers.Layer, path: Path) -> dict[str, Any]:
    x = keras.Input((4,), dtype="int32")
    keras.Model(x, layer(x)).save(path)
    return read(path).config


NUMBER = ("config", "layers", 1, "config", "words")


def test_everything_that_follows_grows_by_as_much(tmp_path: Path) -> None:
    config = config_of(Scorer(11, name="scorer"), tmp_path / "old.keras")
    found = variation(config, build(config), [NUMBER])
    larger = config_of(Scorer(18, name="scorer"), tmp_path / "new.keras")
    base, expected = build(config).shapes, build(larger).shapes
    assert set(found.axes) == {path for path in base if base[path] != expected[path]}
    assert set(found.axes) == {
        "layers/scorer/table/vars/0",
        "layers/scorer/places/vars/0",
        "layers/scorer/head/vars/0",
        "layers/scorer/head/vars/1",
    }
    assert found.axes["layers/scorer/head/vars/0"] == 1
    assert NUMBER in found.config
    assert not found.odd
    assert found.outputs == {0: 3}


def test_what_grows_by_another_amount_is_odd(tmp_path: Path) -> None:
    config = config_of(Scorer(11, rounds=True, name="scorer"), tmp_path / "old.keras")
    found = variation(config, build(config), [NUMBER])
    assert found.odd == {"layers/scorer/table/vars/0": ((16, 3), (24, 3))}


def test_ids_made_inside_are_told_from_those_of_the_batch(tmp_path: Path) -> None:
    config = config_of(Scorer(11, name="scorer"), tmp_path / "old.keras")
    inside = look_inside(build(config))
    assert set(inside.tables) == {
        "layers/scorer/table/vars/0",
        "layers/scorer/places/vars/0",
    }
    assert inside.positions == {"layers/scorer/places/vars/0"}
    assert inside.names["layers/scorer/table"] == "table"


def test_tables_without_an_embedding_are_seen(tmp_path: Path) -> None:
    config = config_of(Bare(11, name="bare"), tmp_path / "old.keras")
    inside = look_inside(build(config))
    assert inside.tables == {"layers/bare/vars/0": 0, "layers/bare/vars/1": 1}
    assert not inside.positions


def test_a_list_of_words_is_a_number_too(tmp_path: Path) -> None:
    words = ["a", "b", "c"]
    x = keras.Input((2,), dtype="int32")
    lookup = layers.IntegerLookup(vocabulary=[5, 6, 7], name="lookup")
    keras.Model(x, layers.Embedding(4, 2)(lookup(x))).save(tmp_path / "old.keras")
    config = read(tmp_path / "old.keras").config
    base = build(config)
    place = ("config", "layers", 1, "config", "vocabulary")
    assert base.counters == {"layers/integer_lookup": 4}
    found = variation(config, base, [place], by=len(words))
    assert found.counters == {"layers/integer_lookup"}
    assert not found.axes
