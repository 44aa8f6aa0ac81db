"""Tables inside subclassed models and layers, by names, claims and rules."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts import rules

from .reference import (
    as_float64,
    assert_old_outputs,
    assert_old_rows_kept,
    assert_plan_is_exact,
    assert_same_structure,
    only_once,
    save,
)
from .saved import read
from .zoo import ADDED, DIM, GROWN, SIZE, STEPS, ids

pytestmark = pytest.mark.usefixtures("quick_compile")


@keras.saving.register_keras_serializable(package="tests")
class TokenAndPosition(layers.Layer):
    """The layer of keras.io's text examples, with its configuration."""

    def __init__(self, maxlen: int, vocab_size: int, embed_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.maxlen, self.vocab_size, self.embed_dim = maxlen, vocab_size, embed_dim
        self.token_emb = layers.Embedding(vocab_size, embed_dim)
        self.pos_emb = layers.Embedding(maxlen, embed_dim)

    def build(self, input_shape: Any) -> None:
        self.token_emb.build(input_shape)
        self.pos_emb.build((None,))
        self.built = True

    def call(self, x: Any) -> Any:
        positions = ops.arange(0, ops.shape(x)[-1])
        return self.token_emb(x) + self.pos_emb(positions)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.embed_dim)

    def get_config(self) -> dict[str, Any]:
        own = {
            "maxlen": self.maxlen,
            "vocab_size": self.vocab_size,
            "embed_dim": self.embed_dim,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tests")
class Block(layers.Layer):
    """A transformer block."""

    def __init__(self, dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.dim = dim
        self.att = layers.MultiHeadAttention(2, 2)
        self.ffn = keras.Sequential([layers.Dense(6), layers.Dense(dim)])
        self.norm = layers.LayerNormalization()

    def build(self, input_shape: Any) -> None:
        self.att.build(input_shape, input_shape)
        self.ffn.build(input_shape)
        self.norm.build(input_shape)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.norm(x + self.ffn(x + self.att(x, x, use_causal_mask=True)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim}


@keras.saving.register_keras_serializable(package="tests")
class MiniGpt(keras.Model):
    """A subclassed language model of which config.json tells the sizes only."""

    def __init__(self, vocab_size: int, maxlen: int = STEPS, **kwargs: Any):
        super().__init__(**kwargs)
        self.vocab_size, self.maxlen = vocab_size, maxlen
        self.embed = TokenAndPosition(maxlen, vocab_size, DIM)
        self.blocks = [Block(DIM), Block(DIM)]
        self.head = layers.Dense(vocab_size)

    def call(self, x: Any) -> Any:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        own = {"vocab_size": self.vocab_size, "maxlen": self.maxlen}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tests")
class BareTable(layers.Layer):
    """A table made with `add_weight`, of which nothing in the file says what it is."""

    def __init__(self, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.count = count

    def build(self, input_shape: Any) -> None:
        self.rows = self.add_weight(shape=(self.count, DIM), name="rows")
        self.built = True

    def call(self, x: Any) -> Any:
        return ops.take(self.rows, x, axis=0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, DIM)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


def _functional(size: int, maxlen: int = STEPS) -> keras.Model:
    x = ids("ids", maxlen)
    h = TokenAndPosition(maxlen, size, DIM, name="embed")(x)
    return keras.Model(x, layers.Dense(size)(Block(DIM, name="block")(h)))


def _functional_equal(size: int) -> keras.Model:
    return _functional(size, SIZE)


def _subclassed(size: int, maxlen: int = STEPS) -> keras.Model:
    model = MiniGpt(size, maxlen, name="gpt")
    model(np.zeros((1, maxlen), "int32"))
    return model


def _subclassed_equal(size: int) -> keras.Model:
    return _subclassed(size, SIZE)


def _bare(size: int) -> keras.Model:
    x = ids()
    return keras.Model(x, layers.Dense(2)(BareTable(size, name="bare")(x)))


def _bare_beside_known(size: int) -> keras.Model:
    x = ids()
    known = layers.Embedding(size, DIM, name="words")(x)
    return keras.Model(x, layers.Add()([known, BareTable(size, name="bare")(x)]))


def _check(
    build: Callable[[int], keras.Model], folder: Path, steps: int, **options: Any
) -> None:
    source, target = folder / "old.keras", folder / "new.keras"
    larger = folder / "larger.keras"
    save(build, GROWN, larger)
    model = save(build, SIZE, source, seed=2)
    x = np.random.default_rng(0).integers(0, SIZE, (3, steps)).astype("int32")
    before = model(x)
    plan = kp.surgery.grow(source, target, rows=ADDED, **options).plan
    old, new, reference = read(source), read(target), read(larger)
    assert_same_structure(new, reference)
    assert_plan_is_exact(plan, old, reference)
    assert_old_rows_kept(plan, old, new)
    grown = keras.models.load_model(target)
    assert_old_outputs(before, grown(x), exact=False)
    assert np.isfinite(as_float64(grown(np.full_like(x, GROWN - 1)))).all()


def test_layer_of_ones_own_in_a_functional_model(tmp_path: Path) -> None:
    _check(_functional, tmp_path, STEPS)


def test_as_many_positions_as_ids(tmp_path: Path) -> None:
    _check(_functional_equal, tmp_path, SIZE)


def test_subclassed_language_model(tmp_path: Path) -> None:
    _check(_subclassed, tmp_path, STEPS)


def test_subclassed_with_as_many_positions(tmp_path: Path) -> None:
    _check(_subclassed_equal, tmp_path, SIZE)


def test_table_without_an_embedding(tmp_path: Path) -> None:
    _check(_bare, tmp_path, STEPS)


def test_table_without_an_embedding_beside_a_known_one(tmp_path: Path) -> None:
    _check(_bare_beside_known, tmp_path, STEPS)


@pytest.fixture
def own_rule() -> Iterator[None]:
    kp.surgery.register_rule(
        "tests>BareTable", kp.surgery.Rule(size_key="count", arrays={"vars/0": 0})
    )
    yield
    del rules._RULES["tests>BareTable"]


@pytest.mark.usefixtures("own_rule")
def test_rule_for_a_class_of_ones_own(tmp_path: Path) -> None:
    _check(_bare_beside_known, tmp_path, STEPS)


def test_rules_of_keras_itself_stand() -> None:
    with pytest.raises(SurgeryError, match=r"class of Keras itself.*registered name"):
        kp.surgery.register_rule("keras>Dense", kp.surgery.Rule("units", {}))


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("bare", r"LAYER:AXIS"),
        ("bare:x", r"LAYER:AXIS"),
        (
            "nowhere:0",
            r"no layer or array is called 'nowhere'.*Layers with arrays: bar",
        ),
    ],
)
def test_claim_that_fits_nothing(also: str, message: str, tmp_path: Path) -> None:
    source = tmp_path / "bare.keras"
    save(_bare, SIZE, source)
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.grow(source, tmp_path / "no.keras", rows=ADDED, also=[also])


@keras.saving.register_keras_serializable(package="tests")
class TwoTables(keras.layers.Layer):
    """Two tables of one size, and nothing that says which counts what."""

    def __init__(self, vocab_size: int, item_count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocab_size, self.item_count = vocab_size, item_count
        self.first_embedding = layers.Embedding(vocab_size, DIM)
        self.second_embedding = layers.Embedding(item_count, DIM)

    def build(self, shape: Any) -> None:
        self.first_embedding.build(shape)
        self.second_embedding.build(shape)

    def call(self, x: Any) -> Any:
        return self.first_embedding(x) + self.second_embedding(x)

    def get_config(self) -> dict[str, Any]:
        sizes = {"vocab_size": self.vocab_size, "item_count": self.item_count}
        return {**super().get_config(), **sizes}


def test_two_tables_that_the_same_ids_index(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    def build(size: int) -> keras.Model:
        x = ids()
        return keras.Model(x, TwoTables(size, size, name="both")(x))

    save(build, SIZE, source)
    plan = kp.surgery.plan(source, rows=1)
    both = "layers/two_tables/{}_embedding/vars/0"
    assert {change.path for change in plan.arrays} == {
        both.format("first"),
        both.format("second"),
    }


def test_table_that_contradicts_its_configuration(tmp_path: Path) -> None:
    source, folder = tmp_path / "old.keras", tmp_path / "folder"
    save(lambda size: keras.Sequential([ids(), layers.Embedding(size, 4)]), 5, source)
    with zipfile.ZipFile(source) as archive:
        archive.extractall(folder)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(
        text.replace('"input_dim": 5', '"input_dim": 6')
    )
    with pytest.raises(
        SurgeryError,
        match=r"(?s)no vocabulary.*layer 'embedding' of class keras>Embedding: array "
        r"layers/embedding/vars/0 of shape \(5, 4\) contradicts input_dim=6",
    ):
        kp.surgery.plan(folder, rows=1)


def _two_towers(size: int) -> keras.Model:
    def tower(ids: int, name: str) -> keras.Model:
        table = layers.Embedding(ids, DIM, name="embedding")
        return keras.Sequential([table, layers.GlobalAveragePooling1D()], name=name)

    users, items = tower(size, "users"), tower(size + 1, "items")
    inputs = [keras.Input((STEPS,), dtype="int32") for _ in range(2)]
    return keras.Model(
        inputs, layers.Dot(-1)([users(inputs[0]), items(inputs[1])]), name="towers"
    )


def test_tables_of_one_name_are_called_by_their_towers(tmp_path: Path) -> None:
    source = tmp_path / "towers.keras"
    save(_two_towers, SIZE, source)
    found = kp.surgery.inspect(source).vocabularies
    assert [one.name for one in found] == ["users/embedding", "items/embedding"]
    # A plan that was made when they went by their groups still finds them.
    plan = kp.surgery.plan(
        source, rows=1, vocabulary="layers/sequential/layers/embedding"
    )
    assert (plan.vocabulary, plan.new_size) == ("users/embedding", SIZE + 1)


def _story_and_question(size: int) -> keras.Model:
    story, question = ids("story"), ids("question")
    first = layers.Embedding(size, DIM, mask_zero=True, name="first")(story)
    second = layers.Embedding(size, DIM, mask_zero=True, name="second")(question)
    return keras.Model([story, question], layers.Dot(2)([first, second]))


@only_once
def test_a_known_table_that_is_said_to_belong_brings_its_number(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_story_and_question, SIZE, source)
    kp.surgery.grow(source, target, rows=ADDED, also="second:0")
    save(_story_and_question, SIZE + ADDED, wanted := tmp_path / "larger.keras")
    assert_same_structure(read(target), read(wanted))


@only_once
def test_a_said_kernel_brings_its_input_and_no_table_of_its_size(
    tmp_path: Path,
) -> None:
    items, user = keras.Input((SIZE,), name="items"), ids("user", 1)
    taken = layers.Dense(DIM, name="taken")(items)
    table = layers.Flatten()(layers.Embedding(SIZE, DIM, name="users")(user))
    scores = layers.Dense(SIZE, name="scores")(layers.Add()([taken, table]))
    keras.Model([items, user], scores).save(source := tmp_path / "old.keras")
    also, target = ["taken:0", "scores:1"], tmp_path / "new.keras"
    kp.surgery.grow(source, target, rows=ADDED, vocabulary="items", also=also)
    new = keras.models.load_model(target)
    assert new.input_shape[0] == (None, SIZE + ADDED)
    assert new.output_shape == (None, SIZE + ADDED)
    assert new.get_layer("users").input_dim == SIZE
