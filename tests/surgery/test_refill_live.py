"""A live model takes new words in and goes on; nothing is traced again or lost."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError

from .saved import same_bits

pytest.importorskip("tensorflow")  # Keras computes lookups with it

BACKEND = keras.backend.backend()
DIM = 8


@keras.saving.register_keras_serializable("tests.refill")
class Tower(keras.Model):
    """A table, and the lookup layer that an input pipeline uses."""

    def __init__(self, rows: int, **options: Any) -> None:
        super().__init__(**options)
        self.rows = rows
        self.lookup = layers.StringLookup(name="lookup")
        # It is used outside of `call`. Else Keras would compile nothing for JAX.
        self.lookup.supports_jit = True
        self.table = layers.Embedding(rows, DIM, name="table")

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, ids: Any) -> Any:
        return self.table(ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rows": self.rows}


@keras.saving.register_keras_serializable("tests.refill")
class TwoTowers(keras.Model):
    """How much each user likes an item."""

    def __init__(self, users: Any, items: Any, **options: Any) -> None:
        super().__init__(**options)
        self.users, self.items = users, items

    def build(self, shape: Any) -> None:
        for tower in (self.users, self.items):
            tower.build((None,))

    def call(self, ids: Any) -> Any:
        users, items = self.users(ids[:, 0]), self.items(ids[:, 1])
        return ops.sum(users * items, axis=-1)

    def get_config(self) -> dict[str, Any]:
        towers = {"users": self.users, "items": self.items}
        made = {k: keras.saving.serialize_keras_object(v) for k, v in towers.items()}
        return {**super().get_config(), **made}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> "TwoTowers":
        towers = {
            key: keras.saving.deserialize_keras_object(config.pop(key))
            for key in ("users", "items")
        }
        return cls(**towers, **config)

    def ids(self, users: list[str], items: list[str]) -> np.ndarray:
        """What the input pipeline makes of words."""
        columns = (self.users.lookup(users), self.items.lookup(items))
        return np.stack([np.asarray(column) for column in columns], -1)


TRACED: list[int] = []


@keras.saving.register_keras_serializable("tests.refill")
def counted_loss(wanted: Any, given: Any) -> Any:
    TRACED.append(1)  # Compiled, it is called by Python only when it is traced.
    return ops.mean(ops.square(wanted - given))


def _towers(users: list[str], items: list[str]) -> TwoTowers:
    keras.utils.set_random_seed(1)
    towers = []
    for name, words in (("users", users), ("items", items)):
        towers.append(Tower(len(words) + 1, name=name))
        towers[-1].lookup.set_vocabulary(words)
    model = TwoTowers(*towers)
    model.build((None, 2))
    return model


def _values(variables: list[Any]) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def _seen(day: int) -> tuple[list[str], list[str]]:
    """Who comes and what is there: on each day one is gone, and one is new.

    Who was there on day 0 comes back on day 4.
    """
    users = [f"user{n}" for n in range(day, day + 6)]
    items = [f"item{n}" for n in range(2 * day, 2 * day + 8)]
    return ([*users, "user0"], items) if day == 4 else (users, items)


def test_five_days_of_new_users_and_items() -> None:
    users, items = _seen(0)
    model = _towers(users, items)
    names = {"users": "users/table", "items": "items/table"}
    for name in names.values():
        model = kp.surgery.grow(model, vocabulary=name, capacity=2).model
    model.compile("adam", counted_loss)
    TRACED.clear()
    rng, steps, traces, ids_of = np.random.default_rng(0), 0, 0, dict[str, int]()
    for day in range(5):
        came = dict(zip(names, _seen(day), strict=True))
        if day:
            before = _values([*model.weights, *model.optimizer.variables])
            objects = [id(v) for v in [*model.weights, *model.optimizer.variables]]
            pairs = [(u, i) for u in users for i in items]
            stay = [p for p in pairs if p[0] in came["users"] and p[1] in came["items"]]
            answers = _answers(model, stay)
            for name, vocabulary in names.items():
                old = {"users": users, "items": items}[name]
                new = [word for word in came[name] if word not in old]
                gone = [word for word in old if word not in came[name]]
                report = kp.surgery.refill(
                    model,
                    vocabulary=vocabulary,
                    tokens=new,
                    evict=gone,
                    proof=None if day == 1 else False,
                )
                assert report.model is model
                assert day > 1 or report.certificate.verdict == "proved"
                assert list(report.tokens) == new
                lookup = getattr(model, name).lookup
                assert not np.asarray(lookup(gone)).any()  # unknown from now on
                assert np.asarray(lookup(new)).tolist() == [*report.tokens.values()]
                table = ops.convert_to_numpy(getattr(model, name).table.embeddings)
                ids_of |= {word: report.tokens[word] for word in new}
                real = np.setdiff1d(np.arange(len(table)), report.plan.old_spare_ids)
                weight = before[_place(model, name)][real].astype("f8").mean(0)
                for id_ in report.tokens.values():
                    np.testing.assert_array_equal(table[id_], weight.astype("f4"))
            # Bit for bit, whatever the backend does with a larger batch.
            np.testing.assert_array_equal(_answers(model, stay), answers)
            after = [*model.weights, *model.optimizer.variables]
            assert objects == [id(variable) for variable in after]
            _check_only_new_rows_moved(model, before, [*came.values()])
        users, items = came["users"], came["items"]
        batch = model.ids(
            rng.choice(users, 64).tolist(), rng.choice(items, 64).tolist()
        )
        assert batch.min() > 0
        model.fit(batch, np.ones(64, "float32"), batch_size=32, verbose=0)
        steps += 2
        assert int(model.optimizer.iterations) == steps
        traces = traces or len(TRACED)
        assert BACKEND == "torch" or len(TRACED) == traces
    assert "user0" in ids_of  # It came back, to a new row.


def _place(model: TwoTowers, name: str) -> int:
    table = getattr(model, name).table.embeddings
    return next(n for n, v in enumerate(model.weights) if v is table)


def _answers(model: TwoTowers, pairs: list[tuple[str, str]]) -> np.ndarray:
    users, items = zip(*pairs, strict=True)
    return model.predict(model.ids([*users], [*items]), verbose=0)


def _check_only_new_rows_moved(
    model: TwoTowers, before: list[np.ndarray], came: list[list[str]]
) -> None:
    """Rows and slots of words that stay, and of unknown ones, are the same bits."""
    sizes = [len(getattr(model, n).lookup.get_vocabulary()) for n in ("users", "items")]
    for was, now in zip(
        before, _values([*model.weights, *model.optimizer.variables]), strict=True
    ):
        moved = (was != now).reshape(len(was) if was.ndim else 1, -1).any(-1)
        assert moved.sum() <= (7 if was.shape[:1] == (sizes[0],) else 6)
        assert was.ndim or same_bits(was, now)
        assert not moved[0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="words within a compiled model")
def test_compiled_functions_and_pipelines_see_the_new_words() -> None:
    """`set_vocabulary` alone changes nothing in them, and is not saved."""
    import tensorflow as tf

    words = ["ant", "bee", "cat"]
    lookup = layers.StringLookup(vocabulary=words, name="lookup")
    back = layers.StringLookup(vocabulary=words, invert=True, name="back")
    x = keras.Input((2,), dtype="string")
    ids = lookup(x)
    logits = layers.Dense(4, name="head")(layers.Embedding(4, DIM, name="words")(ids))
    model = keras.Model(x, [logits, back(ops.argmax(logits, -1))])
    model = kp.surgery.grow(model, capacity=1).model
    lookup = model.get_layer("lookup")
    text = tf.constant([["bee", "dog"]])
    dataset = tf.data.Dataset.from_tensor_slices(["ant", "dog"]).map(lookup)
    model.predict(text, verbose=0)
    function = model.predict_function
    kp.surgery.refill(model, tokens=["dog"], evict=["ant"])
    assert list(dataset.as_numpy_iterator()) == [0, 1]
    logits, likely = model.predict(text, verbose=0)
    assert model.predict_function is function
    expected = model.get_layer("head")(model.get_layer("words")(np.array([[2, 1]])))
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    known = ["[UNK]", "dog", "bee", "cat", "[spare 4]"]
    assert likely.tolist() == [[known[n].encode() for n in logits[0].argmax(-1)]]
    assert lookup.get_vocabulary() == known
    again = keras.models.clone_model(model).get_layer("lookup")
    assert again.get_vocabulary() == known


def test_a_refused_refill_leaves_the_model_as_it_was() -> None:
    model = _towers(["ant"], ["bee", "cat"])
    model.compile("adam", "mse")
    before = _values(model.weights)
    for options, message in (
        ({"tokens": ["dog", "emu", "fox"]}, "has room for 0"),
        ({"evict": ["bee"], "optimizer": "drop"}, "keeps its optimizer"),
    ):
        with pytest.raises(SurgeryError, match=message):
            kp.surgery.refill(model, vocabulary="items/table", **options)
    with pytest.raises(SurgeryError, match=r"changed in place.*Expected: no target"):
        kp.surgery.refill(model, "new.keras", vocabulary="items/table", evict=["bee"])
    assert model.items.lookup.get_vocabulary() == ["[UNK]", "bee", "cat"]
    for was, now in zip(before, _values(model.weights), strict=True):
        assert same_bits(was, now)


@keras.saving.register_keras_serializable("tests.refill")
class Listing(keras.Model):
    """A class that saves its words itself, whatever its lookup layer knows."""

    def __init__(self, words: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self.lookup = layers.StringLookup(vocabulary=list(words), name="lookup")
        self.table = layers.Embedding(len(words) + 1, DIM, name="table")

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, ids: Any) -> Any:
        return self.table(ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


def test_words_that_would_be_lost_on_the_next_save_are_refused() -> None:
    model = Listing(["ant", "bee"])
    model.build((None, 3))
    with pytest.raises(
        SurgeryError, match=r"cannot be changed in a live model.*refill"
    ):
        kp.surgery.refill(model, evict=["bee"], tokens=["cat"])
    assert model.lookup.get_vocabulary() == ["[UNK]", "ant", "bee"]
