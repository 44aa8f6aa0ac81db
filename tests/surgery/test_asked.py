"""Models that Keras is asked about: what follows is bound, what moves is refused."""

import re
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError, SurgeryError

from .reference import only_once, run_python
from .saved import digest, read
from .zoo import ADDED, DIM, SIZE, ids

pytestmark = pytest.mark.usefixtures("quick_compile")


class Configured(layers.Layer):
    """Keeps what it was made with, and gives it back as its configuration."""

    def __init__(self, own: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.own = own

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


@keras.saving.register_keras_serializable("tests.asked")
class Remainders(Configured):
    """Ids of any size, brought into range by the number of rows."""

    def __init__(self, rows: int, **options: Any) -> None:
        super().__init__({"rows": rows}, **options)
        self.table = layers.Embedding(rows, DIM)

    def call(self, x: Any) -> Any:
        return self.table(ops.mod(x, self.own["rows"]))


@keras.saving.register_keras_serializable("tests.asked")
class Remainderless(Configured):
    """A layer of one's own that counts no ids."""

    def __init__(self, units: int = DIM, **options: Any) -> None:
        super().__init__({"units": units}, **options)
        self.dense = layers.Dense(units)

    def call(self, x: Any) -> Any:
        return self.dense(x)


@keras.saving.register_keras_serializable("tests.asked")
class OwnScores(Configured):
    """A score for each id: a matrix of one's own, or a Dense and another layer."""

    def __init__(self, ids: int, turned: bool, **options: Any) -> None:
        super().__init__({"ids": ids, "turned": turned}, **options)
        self.inner = None if turned else layers.Dense(ids)
        self.gate = None if turned else layers.Dense(1)

    def build(self, shape: Any) -> None:
        size = self.own["ids"]
        self.bias = self.add_weight(shape=(size,), name="bias")
        if self.inner is None or self.gate is None:
            self.rows = self.add_weight(shape=(size, shape[-1]), name="rows")
        else:
            self.inner.build(shape)
            self.gate.build(shape)

    def call(self, x: Any) -> Any:
        if self.inner is None or self.gate is None:
            return ops.matmul(x, ops.transpose(self.rows)) + self.bias
        return self.inner(x) * self.gate(x) + self.bias


@keras.saving.register_keras_serializable("tests.asked")
class InParts(Configured):
    """Scores of some ids by one matrix and of others by another, or the best of two."""

    def __init__(self, ids: int, best: bool, **options: Any) -> None:
        super().__init__({"ids": ids, "best": best}, **options)
        self.first = layers.Dense(2 * ids if best else 3)
        self.rest = None if best else layers.Dense(ids - 3)

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        if self.rest is not None:
            self.rest.build(shape)

    def call(self, x: Any) -> Any:
        scores = self.first(x)
        if self.rest is not None:
            return ops.concatenate([scores, self.rest(x)], -1)
        both = (*ops.shape(x)[:-1], 2, self.own["ids"])
        return ops.max(ops.reshape(scores, both), axis=-2)


@keras.saving.register_keras_serializable("tests.asked")
class TwoTables(keras.Model):
    """Ids enter by one table and are scored by another, which none picks a row of."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__(**options)
        self.ids = ids
        self.table = layers.Embedding(ids, DIM)
        self.scores = self.add_weight(shape=(ids, DIM), name="scores")

    def call(self, x: Any) -> Any:
        return ops.matmul(self.table(x), ops.transpose(self.scores))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ids": self.ids}


@keras.saving.register_keras_serializable("tests.asked")
class Unbuilt(keras.Model):
    """Says that it is built before its layers are."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__(**options)
        self.ids = ids
        self.table = layers.Embedding(ids, DIM)

    def build(self, shape: Any) -> None:
        self.built = True

    def call(self, x: Any) -> Any:
        return self.table(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ids": self.ids}


@keras.saving.register_keras_serializable("tests.asked")
class UnknownLast(Configured):
    """One row more than its number says, for unknown ids."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__({"words": words}, **options)
        self.table = layers.Embedding(words + 1, DIM)

    def call(self, x: Any) -> Any:
        words = self.own["words"]
        known = ops.logical_and(x >= 0, x < words)
        return self.table(ops.where(known, x, words))


@keras.saving.register_keras_serializable("tests.asked")
class Specials(Configured):
    """A table whose rows two numbers count together."""

    def __init__(self, words: int, special: int, **options: Any) -> None:
        super().__init__({"words": words, "special": special}, **options)
        self.table = layers.Embedding(words + special, DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


@keras.saving.register_keras_serializable("tests.asked")
class Listed(Configured):
    """A table with as many rows as its configuration lists words."""

    def __init__(self, words: list[str], spare: int = 0, **options: Any) -> None:
        super().__init__({"words": list(words), "spare": spare}, **options)
        self.table = layers.Embedding(len(words) + bool(spare), DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


@keras.saving.register_keras_serializable("tests.asked")
class Indexed(Configured):
    """A table for the words of a dictionary: their ids, or the words of the ids."""

    def __init__(self, index: dict[str, Any], **options: Any) -> None:
        super().__init__({"index": dict(index)}, **options)
        ids = [*index.values()] if "w1" in index else [int(id_) for id_ in index]
        self.table = layers.Embedding(max(ids) + 1, DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


@keras.saving.register_keras_serializable("tests.asked")
class Short(Configured):
    """A table, and a head that scores all ids but the first two."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__({"words": words}, **options)
        self.table = layers.Embedding(words, DIM)
        self.head = layers.Dense(words - 2)

    def call(self, x: Any) -> Any:
        return self.head(self.table(x))


@keras.saving.register_keras_serializable("tests.asked")
class Tagger(keras.Model):
    """A table, a hidden layer, and a head whose units a number of its own counts."""

    def __init__(self, words: int, tags: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.own = {"words": words, "tags": tags, "width": width}
        self.table = layers.Embedding(words, DIM)
        self.hidden = layers.Dense(width)
        self.head = layers.Dense(tags)

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(self.table(x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


@keras.saving.register_keras_serializable("tests.asked")
class Recommender(keras.Model):
    """Users and movies, with tables of one size."""

    def __init__(self, users: int, movies: int, **options: Any) -> None:
        super().__init__(**options)
        self.sizes = {"users": users, "movies": movies}
        self.user_table = layers.Embedding(users, DIM)
        self.movie_table = layers.Embedding(movies, DIM)

    def call(self, x: Any) -> Any:
        return ops.sum(self.user_table(x[:, 0]) * self.movie_table(x[:, 1]), -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.sizes}


def saved(layer: layers.Layer, path: Path) -> Path:
    x = ids()
    keras.Model(x, layer(x)).save(path)
    return path


def grow(source: Path, **options: Any) -> kp.surgery.Report:
    return kp.surgery.grow(source, source.with_name("new.keras"), **options)


@pytest.mark.parametrize("layer", [Remainders, UnknownLast])
def test_a_number_that_moves_old_answers_is_refused(layer: Any, tmp_path: Path) -> None:
    source = saved(layer(SIZE), tmp_path / "old.keras")
    before = digest(source)
    with pytest.raises(NotProvedError, match="into its range") as caught:
        grow(source, rows=ADDED)
    assert caught.value.certificate.verdict == "wrong"
    assert [path.name for path in tmp_path.iterdir()] == ["old.keras"]
    assert digest(source) == before


def test_a_file_that_is_wrong_is_kept_if_that_is_asked(tmp_path: Path) -> None:
    source = saved(Remainders(SIZE), tmp_path / "old.keras")
    report = grow(source, rows=ADDED, proof=False)
    assert report.certificate is None
    assert (tmp_path / "new.keras").exists()


def test_of_two_numbers_that_count_the_user_says_which(tmp_path: Path) -> None:
    source = saved(Specials(SIZE, 2, name="table"), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=r"(?s)each of several numbers.*--also"):
        grow(source, rows=ADDED)
    place = "layers/specials/table/vars/0:0:words"
    report = grow(source, rows=ADDED, also=place)
    assert report.certificate is not None
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert (config["words"], config["special"]) == (SIZE + ADDED, 2)


def test_a_list_that_is_counted_takes_words_only(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(SIZE)]
    source = saved(Listed(words), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match="--add WORD"):
        grow(source, rows=ADDED)
    assert grow(source, tokens=["zebra"]).tokens == {"zebra": SIZE}
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["words"] == [*words, "zebra"]


def test_words_without_known_ids_are_not_numbered(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(SIZE)]
    source = saved(Listed(words, spare=1), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match="the ids of these words are not known"):
        grow(source, tokens=["zebra"])


def test_a_head_with_fewer_units_grows_and_is_not_moved(tmp_path: Path) -> None:
    source = saved(Short(SIZE), tmp_path / "old.keras")
    report = grow(source, rows=ADDED)
    shapes = {change.path: change.new_shape for change in report.plan.arrays}
    assert shapes["layers/short/head/vars/1"] == (SIZE - 2 + ADDED,)
    with pytest.raises(
        SurgeryError, match="does not say which entry belongs to which id"
    ):
        kp.surgery.plan(source, keep=[0, 3, 5])
    back = tmp_path / "back.keras"
    kp.surgery.apply_plan(report.plan.inverse(), tmp_path / "new.keras", back)
    before, after = read(source).arrays, read(back).arrays
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_units_that_another_number_counts_are_asked_about(tmp_path: Path) -> None:
    model = Tagger(SIZE, SIZE, SIZE)
    model(np.zeros((1, 3), "int32"))
    model.save(tmp_path / "old.keras")
    asks = "array head/vars/0 .* counted by config.tags"
    with pytest.raises(AmbiguousVocabularyError, match=asks) as asked:
        grow(tmp_path / "old.keras", rows=2)
    assert "width" not in str(asked.value)
    report = grow(tmp_path / "old.keras", rows=2, also=["head/vars/0:1:tags"])
    assert _shapes(report)["head/vars/0"] == (SIZE, SIZE + 2)
    assert _shapes(report)["head/vars/1"] == (SIZE + 2,)
    left = grow(tmp_path / "old.keras", rows=2, leave="head/vars/0", overwrite=True)
    assert "head/vars/0" not in _shapes(left)


@pytest.mark.parametrize("turned", [True, False], ids=["rows", "columns"])
def test_a_head_of_ones_own_grows_as_its_question_says(
    turned: bool, tmp_path: Path
) -> None:
    x = ids()
    h = layers.GlobalAveragePooling1D()(layers.Embedding(SIZE, DIM)(x))
    head = OwnScores(SIZE, turned, name="scores")
    keras.Model(x, head(h)).save(tmp_path / "old.keras")
    with pytest.raises(
        AmbiguousVocabularyError, match="they may be scores of the ids"
    ) as asked:
        grow(tmp_path / "old.keras", rows=ADDED)
    assert str(asked.value).count("Add --also") == 1
    also = re.findall(r"--also (\S+)", str(asked.value))
    report = grow(tmp_path / "old.keras", rows=ADDED, also=also)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    wide = {s for s in _shapes(report).values() if SIZE + ADDED in s}
    assert len(wide) >= 2


def test_scores_in_parts_are_asked_about(tmp_path: Path) -> None:
    table, head = layers.Embedding(SIZE, DIM), InParts(SIZE, False, name="head")
    source = saved(keras.Sequential([table, head]), tmp_path / "old.keras")
    with pytest.raises(
        AmbiguousVocabularyError, match=rf"{SIZE - 3} units.*ids, which is {SIZE}, and"
    ) as asked:
        grow(source, rows=ADDED)
    also = re.findall(r"--also (\S+)", str(asked.value))
    report = grow(source, rows=ADDED, also=also)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    grown = keras.saving.load_model(source.with_name("new.keras"))
    assert grown.output_shape[-1] == SIZE + ADDED


@keras.saving.register_keras_serializable("tests.asked")
class Summed(Configured):
    """A table with rows for words and for buckets, and the number of its last id."""

    def __init__(self, sizes: dict[str, int], **options: Any) -> None:
        super().__init__({"sizes": dict(sizes)}, **options)
        self.table = layers.Embedding(sum(sizes.values()), DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_a_number_is_named_as_it_is_printed(tmp_path: Path) -> None:
    sizes = {"words": SIZE - 2, "hash.buckets": 2}
    source = saved(Summed(sizes, name="own"), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match="follows each of several numbers") as it:
        grow(source, rows=ADDED)
    claims = re.findall(r"--also ([^\s,]+)", str(it.value))
    assert [claim.rpartition(".")[2] for claim in claims[-2:]] == ["words", "buckets"]
    with pytest.raises(AmbiguousVocabularyError, match="follows each of several"):
        grow(source, rows=ADDED, also=[claims[-1].rpartition(":")[0]])
    grow(source, rows=ADDED, also=[claims[-1]])
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["sizes"] == {**sizes, "hash.buckets": 2 + ADDED}


@keras.saving.register_keras_serializable("tests.asked")
class Ending(Configured):
    """A table that ends with the id of an end."""

    def __init__(self, own: dict[str, Any], **options: Any) -> None:
        super().__init__(own, **options)
        last = own["ids"]["end"] if "ids" in own else own["end"]
        if own.get("heads", 6) != 6:
            raise ValueError("6 heads, or none")
        self.table = layers.Embedding(last + 1, DIM)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ending":
        own = {
            key: config.pop(key)
            for key in ("ids", "end", "begin", "few", "heads", "seed")
            if key in config
        }
        return cls(own, **config)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_a_number_that_may_name_the_last_id_is_told(tmp_path: Path) -> None:
    source = saved(Ending({"end": SIZE - 1}), tmp_path / "old.keras")
    report = grow(source, rows=ADDED)
    assert any("end=12 counts the ids" in note for note in report.plan.notes)
    other = saved(Ending({"ids": {"pad": 0, "end": SIZE - 1}}), tmp_path / "two.keras")
    with pytest.raises(AmbiguousVocabularyError, match="or names one of them"):
        kp.surgery.plan(other, rows=ADDED)


def test_numbers_that_may_name_ids_do_not_move_unasked(tmp_path: Path) -> None:
    own = Ending({"end": SIZE - 1, "begin": 5, "few": [4, 6]}, name="own")
    source = saved(own, tmp_path / "old.keras")
    kp.surgery.plan(source, rows=1)
    with pytest.raises(AmbiguousVocabularyError, match="may name them") as asked:
        kp.surgery.plan(source, rows=1, at=5)
    flags = re.findall(r"--also (\S+)", str(asked.value))
    assert flags == ["own::begin:id", "own::few:id"]
    kp.surgery.plan(source, rows=1, at=5, leave=["own::begin", "own::few"])
    heads = Ending({"end": SIZE - 1, "few": [5], "heads": 6, "seed": 7}, name="own")
    other = saved(heads, tmp_path / "heads.keras")
    with pytest.raises(AmbiguousVocabularyError, match="may name them") as asked:
        kp.surgery.plan(other, rows=1, at=0)  # It takes no more heads.
    assert re.findall(r"--also (\S+)", str(asked.value)) == ["own::few:id"]
    plan = kp.surgery.plan(source, rows=1, at=5, also=flags)
    moved = {c.path[-1]: c.new for c in plan.config if c.path[-1] in ("begin", 1)}
    assert moved == {"begin": 6, 1: 7}


@keras.saving.register_keras_serializable("tests.asked")
class Beside(Configured):
    """A table, and words that it does not follow."""

    def __init__(self, rows: int, index: dict[str, int], **options: Any) -> None:
        super().__init__({"rows": rows, "index": dict(index)}, **options)
        self.table = layers.Embedding(rows, DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_words_of_ones_own_that_stay_are_asked_about(tmp_path: Path) -> None:
    index = {f"w{number}": number for number in range(SIZE)}
    source = saved(Beside(SIZE, index), tmp_path / "old.keras")
    for change in ({"rows": 1}, {"rows": 1, "at": 3}, {"keep": [1]}):
        with pytest.raises(AmbiguousVocabularyError, match="--also beside::index"):
            kp.surgery.plan(source, **change)
        kp.surgery.plan(source, leave="beside::index", **change)


def test_an_index_with_a_gap_is_asked_about(tmp_path: Path) -> None:
    index = {"w0": 0, "w1": 1, "w2": SIZE - 3}
    with_gap = Ending({"ids": {**index, "end": SIZE - 1}})
    source = saved(with_gap, tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="or names one of them"):
        grow(source, rows=ADDED)


@keras.saving.register_keras_serializable("tests.asked")
class Twice(Configured):
    """Words and ids in two dictionaries, each of which counts something."""

    def __init__(self, ids: dict[str, int], words: dict[str, str], **options: Any):
        super().__init__({"ids": dict(ids), "words": dict(words)}, **options)
        self.table = layers.Embedding(len(ids), DIM)
        self.head = layers.Dense(len(words))

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        self.head.build((*shape, DIM))

    def call(self, x: Any) -> Any:
        return self.head(self.table(x))


def test_two_dictionaries_of_one_class_make_a_plan_that_can_be_read(
    tmp_path: Path,
) -> None:
    by_word = {f"w{number}": number for number in range(SIZE)}
    by_id = {str(id_): word for word, id_ in by_word.items()}
    source = saved(Twice(by_word, by_id, name="own"), tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError) as asked:
        grow(source, tokens=["new"])
    also = re.findall(r"--also (\S+)", str(asked.value))
    report = grow(source, tokens=["new"], also=also)
    assert kp.surgery.Plan.from_json(report.plan.to_json()).words == report.plan.words
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["ids"] == {**by_word, "new": SIZE}
    assert config["words"] == {**by_id, str(SIZE): "new"}


@keras.saving.register_keras_serializable("tests.asked")
class Looked(Configured):
    """Words that a lookup of its own numbers otherwise than their dictionary."""

    def __init__(self, rows: int, index: dict[str, int], **options: Any) -> None:
        own = {"rows": rows, "index": dict(index), "build_config": "fast"}
        options.pop("build_config", None)
        super().__init__(own, **options)
        self.lookup = layers.StringLookup(vocabulary=list(index))
        self.table = layers.Embedding(rows, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_an_index_that_a_lookup_numbers_otherwise_stays(tmp_path: Path) -> None:
    index = {f"w{number}": number for number in range(SIZE - 1)}
    source = saved(Looked(SIZE, index), tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="--leave looked::index"):
        grow(source, tokens=["new"])
    assert grow(source, tokens=["new"], leave="looked::index").plan.words == ()


@keras.saving.register_keras_serializable("tests.asked")
class Adapted(layers.Layer):
    """Keeps its size where Keras keeps what a layer was built with."""

    def adapt(self, rows: int) -> "Adapted":
        self.rows, self.built = rows, True
        self.table = self.add_weight(shape=(rows, DIM), initializer="uniform")
        return self

    def get_build_config(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.adapt(config["rows"])

    def call(self, x: Any) -> Any:
        return ops.take(self.table, x, axis=0)


def test_a_number_in_a_build_config_can_count(tmp_path: Path) -> None:
    source = saved(Adapted(name="own").adapt(SIZE), tmp_path / "old.keras")
    report = grow(source, rows=ADDED)
    assert list(_shapes(report).values()) == [(SIZE + ADDED, DIM)]
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"


@keras.saving.register_keras_serializable("tests.asked")
class Seen(Configured):
    """A table, and a count for each id."""

    def __init__(self, rows: int, **options: Any) -> None:
        super().__init__({"rows": rows}, **options)
        self.table = layers.Embedding(rows, DIM)
        shape = {"shape": (rows,), "dtype": "int32", "initializer": "zeros"}
        self.seen = self.add_weight(**shape, trainable=False)

    def call(self, x: Any) -> Any:
        return self.table(x)


def test_whole_numbers_for_each_id_are_not_called_quantised(tmp_path: Path) -> None:
    source = saved(Seen(SIZE), tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="value of type int32 for each"):
        grow(source, rows=ADDED)
    target = tmp_path / "new.keras"
    kp.surgery.trim(source, target, keep=[0, 4])  # No id is new.
    assert {a.shape[0] for a in read(target).arrays.values()} == {2}


@keras.saving.register_keras_serializable("tests.asked")
class Captions(keras.Model):
    """Scores of words, and of nothing; there is no table."""

    def __init__(self, words: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.words, self.head = list(words), layers.Dense(len(words) + 1)

    def build(self, shape: Any) -> None:
        self.head.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


def test_a_claimed_head_that_follows_a_list_of_words_is_told(tmp_path: Path) -> None:
    model = Captions([f"w{number}" for number in range(SIZE)])
    model.build((None, 5, DIM))
    model.save(tmp_path / "old.keras")
    told = "ids of these words are not known"
    with pytest.raises(AmbiguousVocabularyError, match=told):
        grow(tmp_path / "old.keras", rows=ADDED, also=["head:1"])


@keras.saving.register_keras_serializable("tests.asked")
class Nodes(Configured):
    """Scores by the nodes of a tree, which are one fewer than its leaves."""

    def __init__(self, leaves: int, **options: Any) -> None:
        super().__init__({"leaves": leaves}, **options)

    def build(self, shape: Any) -> None:
        self.nodes = self.add_weight(shape=(self.own["leaves"] - 1, shape[-1]))

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.nodes))


def test_rows_that_score_the_ids_are_asked_about(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Embedding(SIZE, DIM), Nodes(SIZE, name="nodes")])
    source = saved(model, tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="12 entries along axis 0") as it:
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, also=re.findall(r"--also (\S+)", str(it.value)))
    assert (SIZE + ADDED - 1, DIM) in _shapes(report).values()
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"


def test_scores_that_are_the_best_of_several_cannot_grow(tmp_path: Path) -> None:
    table, head = layers.Embedding(SIZE, DIM), InParts(SIZE, True, name="head")
    source = saved(keras.Sequential([table, head]), tmp_path / "old.keras")
    asks = rf"{2 * SIZE} units.*ids, 2 for each.*it cannot be grown in the file"
    with pytest.raises(AmbiguousVocabularyError, match=asks) as asked:
        grow(source, rows=ADDED)
    leave = re.findall(r"--leave (\S+)", str(asked.value))
    assert "head/first/vars/0" not in " ".join(
        _shapes(grow(source, rows=ADDED, leave=leave))
    )


def test_a_wrapper_that_keeps_a_table_twice_grows_both(tmp_path: Path) -> None:
    wrapper = layers.SpectralNormalization(layers.Embedding(SIZE, DIM))
    source = saved(wrapper, tmp_path / "old.keras")
    report = grow(source, rows=ADDED, new_rows="normal:1")
    assert list(_shapes(report).values()) == [(SIZE + ADDED, DIM)] * 2
    assert not any("softmax" in note for note in report.plan.notes)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"


def test_towers_of_one_size_are_not_asked_about_each_other(tmp_path: Path) -> None:
    towers = []
    for name in ("one", "two"):
        x = keras.Input((None,), dtype="int32", name=name)
        h = Remainderless(name=f"own_{name}")(layers.Embedding(SIZE, DIM)(x))
        towers.append((x, layers.Dense(SIZE, name=f"head_{name}")(h)))
    inputs, outputs = zip(*towers, strict=True)
    keras.Model(inputs, outputs).save(tmp_path / "old.keras")
    names = [v.name for v in kp.surgery.inspect(tmp_path / "old.keras").vocabularies]
    assert len(names) == 2
    report = grow(tmp_path / "old.keras", rows=ADDED, vocabulary=names[0])
    assert len([s for s in _shapes(report).values() if SIZE + ADDED in s]) == 3


def test_a_list_of_axes_in_a_loss_is_no_list_of_weights(tmp_path: Path) -> None:
    x = ids()
    model = keras.Model(x, layers.Dense(3)(layers.Embedding(3, DIM)(x)))
    model.compile("sgd", keras.losses.Dice(axis=[0, 1, 2]))
    model.save(tmp_path / "old.keras")
    grow(tmp_path / "old.keras", rows=ADDED)


@pytest.mark.parametrize("judge", ["loss", "metric"])
def test_weights_of_classes_are_asked_about(judge: str, tmp_path: Path) -> None:
    x, weights = ids(), [0.5] * SIZE
    model = keras.Model(x, layers.Dense(SIZE)(layers.Embedding(SIZE, DIM)(x)))
    if judge == "loss":
        model.compile("sgd", keras.losses.CategoricalFocalCrossentropy(alpha=weights))
    else:
        kind = {"multi_label": True, "num_labels": SIZE, "label_weights": weights}
        model.compile("sgd", "mse", metrics=[keras.metrics.AUC(**kind)])
    model.save(tmp_path / "old.keras")
    asks = "(alpha|label_weights), which may have an entry for each id"
    with pytest.raises(AmbiguousVocabularyError, match=asks) as asked:
        grow(tmp_path / "old.keras", rows=ADDED)
    leave = re.findall(r"--leave (\S+)", str(asked.value))
    grow(tmp_path / "old.keras", rows=ADDED, leave=leave)


@keras.saving.register_keras_serializable("tests.asked")
class Banned(Configured):
    """Adds a number to each of as many scores as it was made for."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__({"count": count}, **options)

    def call(self, x: Any) -> Any:
        return x + ops.zeros((self.own["count"],))


BY_WORD = {f"w{number}": number for number in range(1, SIZE)}
BY_ID = {str(id_): word for word, id_ in BY_WORD.items()}


@pytest.mark.parametrize(
    ("index", "more"), [(BY_WORD, {"new": SIZE}), (BY_ID, {str(SIZE): "new"})]
)
def test_a_dictionary_of_words_and_ids_takes_in_new_ones(
    index: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    source = saved(Indexed(index, name="own"), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match="Expected: new words"):
        grow(source, rows=ADDED)
    report = grow(source, tokens=["new"])
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["index"] == index | more


def test_a_class_that_is_left_alone_is_built_all_the_same(tmp_path: Path) -> None:
    model = keras.Sequential(
        [layers.Embedding(SIZE, DIM), layers.Dense(SIZE, name="d")]
    )
    model.add(Banned(SIZE, name="banned"))
    source = saved(model, tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="cannot build the model with"):
        grow(source, rows=ADDED, also=["d:1"], leave=["banned"])


def test_a_class_that_is_left_alone_and_unknown_leaves_the_file_unproved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential([layers.Embedding(SIZE, DIM), Banned(DIM, name="banned")])
    source = saved(model, tmp_path / "old.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "tests.asked>Banned")
    with pytest.raises(AmbiguousVocabularyError, match="--leave banned"):
        grow(source, rows=ADDED)
    with pytest.raises(NotProvedError, match="Banned"):
        grow(source, rows=ADDED, leave=["banned"])
    assert grow(source, rows=ADDED, leave=["banned"], proof=False).certificate is None


@keras.saving.register_keras_serializable("tests.asked")
class AtMost(keras.constraints.Constraint):
    """Holds a number for each unit."""

    def __init__(self, most: list[float]) -> None:
        self.most = most

    def __call__(self, w: Any) -> Any:
        return ops.minimum(w, ops.convert_to_tensor(self.most))

    def get_config(self) -> dict[str, Any]:
        return {"most": self.most}


def test_a_layer_that_is_left_leaves_its_constraint_too(tmp_path: Path) -> None:
    tags = layers.Dense(SIZE, name="tags", kernel_constraint=AtMost([2.0] * SIZE))
    model = keras.Sequential([layers.Embedding(SIZE, DIM), tags])
    source = saved(model, tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="AtMost 'AtMost' holds"):
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, leave=["tags"])
    assert len(_shapes(report)) == 1


def test_a_claim_on_arrays_of_several_sizes_is_refused(tmp_path: Path) -> None:
    x = keras.Input((None, SIZE))
    h = layers.LSTM(DIM, name="reader")(layers.LayerNormalization()(x))
    keras.Model(x, h).save(tmp_path / "old.keras")
    told = rf"'reader:0' means arrays of several sizes: .*vars/0 with {SIZE}, .*Pass"
    with pytest.raises(SurgeryError, match=told):
        grow(tmp_path / "old.keras", rows=ADDED, also="reader:0")


def test_no_key_is_asked_for_where_none_counts_the_axis(tmp_path: Path) -> None:
    x = keras.Input((None, SIZE))
    h = layers.LayerNormalization()(x)
    h = layers.LSTM(DIM, return_sequences=True, name="reader")(h)
    keras.Model(x, layers.Dense(SIZE, name="head")(h)).save(tmp_path / "old.keras")
    also = ["layers/lstm/cell/vars/0:0", "head:1"]
    with pytest.raises(AmbiguousVocabularyError, match="grow it in Keras") as asked:
        grow(tmp_path / "old.keras", rows=ADDED, also=also, ask=True)
    assert "KEY" not in str(asked.value)


def test_no_id_has_to_enter_a_table_of_scores(tmp_path: Path) -> None:
    model = TwoTables(SIZE)
    model(np.zeros((1, 3), "int32"))
    model.save(tmp_path / "old.keras")
    report = grow(tmp_path / "old.keras", rows=ADDED)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    assert _shapes(report)["vars/0"] == (SIZE + ADDED, DIM)


def test_layers_that_keras_does_not_build_are_named(tmp_path: Path) -> None:
    model = Unbuilt(SIZE)
    model(np.zeros((1, 3), "int32"))
    model.save(tmp_path / "old.keras")
    told = "without array .*loses its values.*build their layer"
    with pytest.raises(SurgeryError, match=told) as asked:
        grow(tmp_path / "old.keras", rows=ADDED)
    path = re.findall(r"array (\S+):", str(asked.value))[0]
    with pytest.raises(SurgeryError, match=told):
        grow(tmp_path / "old.keras", rows=ADDED, also=f"{path}:0")


@keras.saving.register_keras_serializable("tests.asked")
class InCategories(Configured):
    """A row for each id, and one for its category, which a list has for each."""

    def __init__(self, of: list[float], items: int, kinds: int, **options: Any) -> None:
        super().__init__({"of": of, "items": items, "kinds": kinds}, **options)
        self.each = layers.Embedding(items, DIM)
        self.shared = layers.Embedding(kinds, DIM)

    def build(self, shape: Any) -> None:
        self.each.build(None)
        self.shared.build(None)
        self.built = True

    def call(self, x: Any) -> Any:
        of = [self.own["of"][item] for item in range(self.own["items"])]
        return self.each(x) + self.shared(ops.take(np.array(of, "int32"), x))


def test_a_table_is_not_meant_because_another_cannot_be_counted(tmp_path: Path) -> None:
    of = [float(item % 4) for item in range(SIZE)]
    source = saved(InCategories(of, SIZE, 4, name="both"), tmp_path / "old.keras")
    near = rf"(?s)What comes close:.*\({SIZE}, .*With a larger .*items, Keras says"
    for vocabulary in (None, "items"):
        with pytest.raises(SurgeryError, match=near):
            grow(source, rows=1, vocabulary=vocabulary)


def test_pairs_of_words_and_ids_take_in_new_ones(tmp_path: Path) -> None:
    pairs = [[f"w{number}", number] for number in range(SIZE)]
    source = saved(Paired(pairs, name="paired"), tmp_path / "old.keras")
    inside = "layers/paired/table/vars/0:0:config.layers[1].config.pairs[12][1]"
    with pytest.raises(SurgeryError, match="no configuration key"):
        grow(source, tokens=["new"], also=inside)
    grow(source, tokens=["new"])
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["pairs"] == [*pairs, ["new", SIZE]]


@keras.saving.register_keras_serializable("tests.asked")
class Paired(Configured):
    """A table with a row for each pair of a word and its id."""

    def __init__(self, pairs: list[Any], **options: Any) -> None:
        super().__init__({"pairs": pairs}, **options)
        self.table = layers.Embedding(1 + max(id_ for _, id_ in pairs), DIM)

    def call(self, x: Any) -> Any:
        return self.table(x)


@keras.saving.register_keras_serializable("tests.asked")
class Weighed(keras.losses.Loss):
    """Has a number of ids among its settings."""

    def __init__(self, settings: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean((y_true - y_pred) * ops.ones(self.settings["sizes"][0]), -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "settings": self.settings}


def test_numbers_within_the_settings_of_a_loss_are_asked_about(tmp_path: Path) -> None:
    x = ids()
    model = keras.Model(x, layers.Dense(SIZE)(layers.Embedding(SIZE, DIM)(x)))
    model.compile("sgd", Weighed({"sizes": [SIZE, 4]}))
    model.save(tmp_path / "old.keras")
    asks = rf"settings.sizes\[0\]={SIZE}, which may count the ids. Only training runs"
    with pytest.raises(AmbiguousVocabularyError, match=asks):
        grow(tmp_path / "old.keras", rows=ADDED)


@keras.saving.register_keras_serializable("tests.asked")
class InClasses(Configured):
    """Scores of as many ids as there are classes times words in each."""

    def __init__(self, classes: int, each: int, **options: Any) -> None:
        super().__init__({"classes": classes, "each": each}, **options)
        self.among = layers.Dense(classes)
        self.within = layers.Dense(each)

    def build(self, shape: Any) -> None:
        self.among.build(shape)
        self.within.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        both = self.among(x)[..., None] + self.within(x)[..., None, :]
        return ops.reshape(both, (-1, *x.shape[1:-1], both.shape[-1] * both.shape[-2]))


def test_scores_that_no_number_counts_alone_are_asked_about(tmp_path: Path) -> None:
    head = InClasses(3, 4, name="scores")
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(12, DIM), head])
    model.add(layers.Softmax())
    source = saved(model, tmp_path / "old.keras")
    asks = "'scores' gives 12 numbers to an output .*--leave scores .* if they are not"
    with pytest.raises(AmbiguousVocabularyError, match=asks):
        grow(source, rows=ADDED)
    assert len(_shapes(grow(source, rows=ADDED, leave=["scores"]))) == 1


def test_scores_that_a_reshape_puts_together_are_asked_about(tmp_path: Path) -> None:
    x = ids()
    h = layers.Embedding(12, DIM)(x)
    among = layers.Reshape((-1, 3, 1))(layers.Dense(3)(h))
    within = layers.Reshape((-1, 1, 4))(layers.Dense(4)(h))
    both = layers.Reshape((-1, 12), name="put")(layers.Multiply()([among, within]))
    keras.Model(x, both).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="'put' gives 12 numbers"):
        grow(tmp_path / "old.keras", rows=ADDED)
    grow(tmp_path / "old.keras", rows=ADDED, leave=["put"])


def test_what_passes_on_units_that_are_left_is_not_asked_about(tmp_path: Path) -> None:
    x = ids()
    h = layers.Flatten()(layers.Embedding(SIZE, DIM)(x))
    wide = layers.Dense(2 * SIZE, name="wide")(h)
    keras.Model(x, layers.Reshape((2, SIZE))(wide)).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match=r"Reshape 'reshape.* gives"):
        grow(tmp_path / "old.keras", rows=ADDED)
    grow(tmp_path / "old.keras", rows=ADDED, leave=["wide"])


def test_thresholds_of_a_metric_are_no_numbers_of_ids(tmp_path: Path) -> None:
    x, levels = ids(), [number / SIZE for number in range(SIZE)]
    model = keras.Model(x, layers.Dense(1)(layers.Embedding(SIZE, DIM)(x)))
    model.compile("sgd", "mse", metrics=[keras.metrics.Precision(thresholds=levels)])
    model.save(tmp_path / "old.keras")
    grow(tmp_path / "old.keras", rows=ADDED)


def test_a_model_that_holds_its_table_has_no_empty_name(tmp_path: Path) -> None:
    model = Recommender(SIZE, SIZE + 1)
    model(np.zeros((1, 2), "int32"))
    model.save(tmp_path / "old.keras")
    found = kp.surgery.inspect(tmp_path / "old.keras").vocabularies
    names = [name for vocabulary in found for name in vocabulary.layers]
    assert all(names)
    assert model.name not in names


def _shapes(report: kp.surgery.Report) -> dict[str, tuple[int, ...]]:
    return {change.path: change.new_shape for change in report.plan.arrays}


def test_tables_of_one_size_are_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    model = Recommender(SIZE, SIZE)
    model.compile("adam", "mse")
    model.fit(np.ones((2, 2), "int32"), np.ones(2), verbose=0)
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match=r"user_table.*movie_table"):
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, vocabulary="movies")
    assert report.certificate is not None
    new = keras.models.load_model(tmp_path / "new.keras")
    assert new.movie_table.input_dim == SIZE + ADDED
    assert new.user_table.input_dim == SIZE
    slots = [c.path for c in report.plan.arrays if c.path.startswith("optimizer")]
    assert len(slots) == 2


def test_bins_in_front_of_a_table_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    x = keras.Input((5,))
    bins = layers.Discretization([0.0, 1.0], name="bins")(x)
    keras.Model(x, layers.Embedding(3, DIM)(bins)).save(source)
    with pytest.raises(AmbiguousVocabularyError, match=r"(?s)bin numbers.*--leave"):
        grow(source, rows=ADDED)


def test_ids_that_losses_and_metrics_name_move_along(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    x = ids()
    h = layers.Embedding(SIZE, DIM)(x)
    model = keras.Model(x, layers.Dense(SIZE, name="head")(h))
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=7)
    metric = keras.metrics.IoU(SIZE, target_class_ids=[3, 7])
    model.compile("sgd", loss, metrics=[metric])
    model.save(source)
    kp.surgery.trim(source, tmp_path / "new.keras", keep=[0, 3, 7])
    compiled = read(tmp_path / "new.keras").config["compile_config"]
    assert compiled["loss"]["config"]["ignore_class"] == 2
    assert compiled["metrics"][0]["config"]["target_class_ids"] == [1, 2]
    assert compiled["metrics"][0]["config"]["num_classes"] == 3


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_recurrent_units_as_many_as_ids_are_asked(layer: Any, tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    x = ids()
    h = layers.Embedding(SIZE, DIM)(x)
    keras.Model(x, layer(SIZE, return_sequences=True)(h)).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="may be scores of the ids"):
        grow(source, rows=ADDED)


def test_ids_changed_on_the_way_are_proved_without_a_class_of_ones_own(
    tmp_path: Path,
) -> None:
    source = tmp_path / "old.keras"
    x = ids()
    keras.Model(x, layers.Embedding(SIZE, DIM)(ops.mod(x, SIZE))).save(source)
    with pytest.raises(AmbiguousVocabularyError, match=f"={SIZE}, as many as") as asked:
        grow(source, rows=ADDED)
    flag = str(asked.value).split("--also ")[1].split()[0]
    for said in ({"also": flag}, {"leave": flag}):
        with pytest.raises(NotProvedError):
            grow(source, rows=ADDED, **said)


def test_other_threads_keep_their_values(tmp_path: Path) -> None:
    source = saved(Short(SIZE), tmp_path / "old.keras")
    running, wrong = True, []

    def train() -> None:
        variable = keras.Variable(np.zeros(2, "float32"))
        while running:
            variable.assign(np.ones(2, "float32"))
            made = keras.Variable(np.ones(2, "float32"))
            for each in (variable, made):
                if not (keras.ops.convert_to_numpy(each) == 1).all():
                    wrong.append(each)

    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(5):
        kp.surgery.inspect(source)
    running = False
    thread.join()
    assert not wrong


@only_once
def test_a_plan_is_the_same_in_every_process(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    model = Recommender(SIZE, SIZE)
    model(np.ones((2, 2), "int32"))
    model.save(source)
    script = """
        import sys
        from tests.surgery import test_asked
        import keras_padsafe as kp
        found = kp.surgery.inspect(sys.argv[1]).vocabularies
        print([(v.name, v.layers, [a.path for a in v.arrays]) for v in found])
    """
    root = Path(__file__).parents[2]
    assert len({run_python(script, source, folder=root) for _ in range(3)}) == 1


@keras.saving.register_keras_serializable("tests.asked")
class Triple(Configured):
    """Tables of two kinds of things, of columns of one input."""

    def __init__(self, things: int, relations: int, **options: Any) -> None:
        super().__init__({"things": things, "relations": relations}, **options)

    def build(self, shape: Any) -> None:
        self.thing = self.add_weight(shape=(self.own["things"], DIM), name="t")
        self.relation = self.add_weight(shape=(self.own["relations"], DIM), name="r")

    def call(self, x: Any) -> Any:
        relation = ops.take(self.relation, x[:, 1], axis=0)
        return ops.take(self.thing, x[:, 0], axis=0) * relation


def test_tables_of_columns_are_told_apart_though_of_one_size(tmp_path: Path) -> None:
    x = keras.Input((2,), dtype="int32")
    keras.Model(x, Triple(SIZE, SIZE, name="triple")(x)).save(tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=r"2 vocabularies.*'triple\.relations'"):
        grow(tmp_path / "old.keras", rows=ADDED)
    report = grow(tmp_path / "old.keras", rows=ADDED, vocabulary="triple.things")
    assert _shapes(report) == {"layers/triple/vars/0": (SIZE + ADDED, DIM)}


def test_numbers_that_repeat_are_no_words(tmp_path: Path) -> None:
    counts = [1 + number % 4 for number in range(SIZE)]
    source = saved(Listed(counts), tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match="no vocabulary was found"):
        grow(source, rows=ADDED)


@keras.saving.register_keras_serializable("tests.asked")
class Features(Configured):
    """A table for each feature, counted by a dictionary of sizes."""

    def __init__(self, sizes: dict[str, int], **options: Any) -> None:
        super().__init__({"sizes": dict(sizes)}, **options)
        self.tables = [layers.Embedding(n + 1, DIM, name=k) for k, n in sizes.items()]

    def build(self, shape: Any) -> None:
        for table in self.tables:
            table.build(shape)

    def call(self, x: Any) -> Any:
        parts = [table(x[:, n]) for n, table in enumerate(self.tables)]
        return ops.concatenate(parts, axis=-1)


def test_a_claim_that_says_what_counts_leaves_a_table_its_own_ids(
    tmp_path: Path,
) -> None:
    x = keras.Input((2,), dtype="int32")
    layer = Features({"user": SIZE, "movie": SIZE}, name="features")
    keras.Model(x, layer(x)).save(source := tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match="or names one") as asked:
        grow(source, rows=ADDED, vocabulary="user")
    (claim,) = re.findall(r"--also (\S+)", str(asked.value))
    report = grow(source, rows=ADDED, vocabulary="user", also=claim)
    assert len(_shapes(report)) == 1
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["sizes"] == {"user": SIZE + ADDED, "movie": SIZE}
