"""Spare rows cost nothing until a word takes one, and then start as any new row."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import NotProvedError, SurgeryError
from keras_padsafe.facts.spare_words import is_spare, spare_word
from keras_padsafe.surgery import Plan

from .reference import only_once
from .saved import read, same_bits

pytest.importorskip("tensorflow")  # Keras computes lookups with it

WORDS = ["ant", "bee", "cat", "dog", "emu"]
SIZE, DIM, STEPS = len(WORDS) + 1, 4, 3
TABLE, KERNEL, BIAS = (
    "layers/embedding/vars/0",
    "layers/dense/vars/0",
    "layers/dense/vars/1",
)
only_on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="runs a model that takes words"
)
HEAD: dict[str, Any] = {"name": "head"}


def _model(lookup: Any = None, head: Any = None, rows: int = SIZE) -> keras.Model:
    """A model over ids, whose words a lookup layer beside it names."""
    lookup = lookup or layers.StringLookup(vocabulary=WORDS, name="lookup")
    x = keras.Input(
        (STEPS,), dtype="int64" if "Int" in type(lookup).__name__ else "string"
    )
    table = layers.Embedding(rows, DIM, name="words")
    h = table(lookup(x))
    return keras.Model(
        x, h if head is False else (head or layers.Dense(rows, **HEAD))(h)
    )


def _trained(path: Path, **options: Any) -> Path:
    """A file whose rows, biases and slots are all different and none is zero."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model = _model(**options)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    for variable in [*model.weights, *model.optimizer.variables[2:]]:
        if variable.dtype != "string":
            variable.assign(rng.uniform(0.1, 1, variable.shape))
    model.save(path)
    return path


def _words(path: Path) -> list[Any]:
    found = kp.surgery.inspect(path).vocabularies[0].words[0]
    return [None] * found.first_id + [*found.words]


def _softmax_of_head(model: keras.Model, hidden: Any) -> np.ndarray:
    """What the head and a softmax after it, both in its compute dtype, give."""
    head = model.get_layer("head")
    logits = head(ops.cast(hidden, head.compute_dtype))
    return ops.convert_to_numpy(ops.cast(ops.softmax(logits), "float32"))


@only_on_tensorflow
def test_capacity_is_words_of_the_file_that_keras_saves_again(tmp_path: Path) -> None:
    source, target = _trained(tmp_path / "old.keras"), tmp_path / "new.keras"
    report = kp.surgery.grow(source, target, tokens=["fox"], capacity=3)
    assert report.tokens == {"fox": 6}
    again = tmp_path / "again.keras"
    keras.models.load_model(target).save(again)
    for path in (target, again):
        vocabulary = kp.surgery.inspect(path).vocabularies[0]
        assert vocabulary.size == 10
        assert vocabulary.spare_ids == (7, 8, 9)
        assert vocabulary.to_json()["spare_ids"] == [7, 8, 9]
    assert kp.surgery.verify(source, target).verdict == "proved"


@only_once
def test_words_take_spare_rows_first_and_the_rest_goes_to_the_end(
    tmp_path: Path,
) -> None:
    source = _trained(tmp_path / "old.keras")
    room, full, more = (tmp_path / f"{n}.keras" for n in ("room", "full", "more"))
    kp.surgery.grow(source, room, capacity=3)
    report = kp.surgery.grow(room, full, tokens=["fox", "gnu"])
    assert report.tokens == {"fox": 6, "gnu": 7}
    shapes = [{k: v.shape for k, v in read(p).arrays.items()} for p in (room, full)]
    assert shapes[0] == shapes[1]
    assert kp.surgery.inspect(full).vocabularies[0].spare_ids == (8,)
    report = kp.surgery.grow(full, more, tokens=["hen", "ibis", "jay"], capacity=2)
    assert report.tokens == {"hen": 8, "ibis": 9, "jay": 10}
    assert report.plan.spare_ids == (11, 12)
    assert any("1 new words take" in n and "2 more" in n for n in report.plan.notes)


@only_once
@pytest.mark.parametrize("new_rows", ["mean", "normal:4", "covariance:1:5", "zeros"])
def test_spare_rows_take_no_part_in_new_rows(tmp_path: Path, new_rows: str) -> None:
    """Rows, columns, biases and slots are made as without any spare row."""
    source = _trained(tmp_path / "old.keras")
    room, filled, plain = (tmp_path / f"{n}.keras" for n in ("room", "filled", "plain"))
    kp.surgery.grow(source, room, capacity=np.int64(50))
    kp.surgery.refill(room, filled, tokens=["fox"], new_rows=new_rows)
    kp.surgery.grow(source, plain, tokens=["fox"], new_rows=new_rows)
    ours, theirs = read(filled).arrays, read(plain).arrays
    for path, array in theirs.items():
        kept = ours[path][tuple(slice(n) for n in array.shape)]
        assert same_bits(kept, array), path


@only_on_tensorflow
def test_refill_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    source = _trained(tmp_path / "old.keras")
    room, target = tmp_path / "room.keras", tmp_path / "new.keras"
    kp.surgery.grow(source, room, capacity=2)
    report = kp.surgery.refill(room, target, tokens=["fox"], evict=["dog", "bee"])
    assert report.tokens == {"fox": 2}
    assert _words(target)[1:] == [
        "ant", "fox", "cat", "[spare 4]", "emu", "[spare 6]", "[spare 7]",
    ]  # fmt: skip
    before, after = read(room).arrays, read(target).arrays
    still = [0, 1, 3, 5]
    for path, axis in ((TABLE, 0), (KERNEL, 1), (BIAS, 0)):
        slots = [k for k, v in before.items() if k.startswith("optimizer/")
                 and v.shape == before[path].shape]  # fmt: skip
        assert len(slots) == 2
        for name in (path, *slots):
            kept = [np.take(a[name], still, axis) for a in (before, after)]
            assert same_bits(*kept), name
        for name in slots:
            assert not np.take(after[name], [2, 4, 6, 7], axis).any()
    real = before[TABLE][:SIZE].astype("f8").mean(0).astype("f4")
    np.testing.assert_array_equal(after[TABLE][2], real)
    assert after[BIAS][2] == before[BIAS][:SIZE].astype("f8").mean().astype("f4")
    assert not after[TABLE][[4, 6, 7]].any()
    assert not after[KERNEL][:, [4, 6, 7]].any()
    assert same_bits(after["optimizer/vars/0"], before["optimizer/vars/0"])
    certificate = kp.surgery.verify(room, target)
    assert certificate.verdict == "proved"
    assert certificate["probability of spare rows"].value == 0


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "bfloat16", "float16"])
def test_a_spare_row_gets_exactly_nothing(tmp_path: Path, policy: str) -> None:
    """In a softmax, whatever comes in, in every float type; so it wins no argmax."""
    head = layers.Dense(SIZE, dtype=policy, **HEAD)
    source = _trained(tmp_path / "old.keras", head=head)
    target = tmp_path / "new.keras"
    kp.surgery.grow(source, target, capacity=4)
    hidden = np.random.default_rng(1).normal(size=(64, DIM)) * 1000
    shares = _softmax_of_head(keras.models.load_model(target), hidden)
    before = _softmax_of_head(keras.models.load_model(source), hidden)
    assert np.isfinite(shares).all()
    assert (shares[:, SIZE:] == 0).all()
    # A wider product may round the logits, of some thousands, otherwise.
    np.testing.assert_allclose(shares[:, :SIZE], before, rtol=1e-3)


OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_never_moves_a_spare_row(tmp_path: Path, name: str) -> None:
    """But for weight decay, which takes its share of the bias each step."""
    build, steps = OPTIMIZERS[name], 12
    ids = np.random.default_rng(0).integers(1, SIZE, (32, STEPS))
    model = Looked(SIZE)
    model.lookup.set_vocabulary(WORDS)
    model(ids)
    model.compile(build(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ids, ids, epochs=2, verbose=0)
    model = kp.surgery.grow(model, capacity=2).model
    kp.surgery.refill(model, evict=["bee"])  # trained, so it had momentum
    spare = [2, SIZE, SIZE + 1]
    ids = np.where(ids == 2, 3, ids)
    model.fit(ids, ids, epochs=steps, batch_size=32, verbose=0)
    table, kernel, bias = (ops.convert_to_numpy(w) for w in model.weights)
    assert not table[spare].any()
    assert not kernel[:, spare].any()
    optimizer = model.optimizer
    decay = 1 - float(optimizer.learning_rate) * (optimizer.weight_decay or 0)
    np.testing.assert_allclose(bias[spare], -(2.0**15) * decay**steps, rtol=1e-5)
    shares = ops.convert_to_numpy(ops.softmax(model.predict(ids, verbose=0)))
    assert (shares[..., spare] == 0).all()


@keras.saving.register_keras_serializable("tests.spare")
class Looked(keras.Model):
    """A model over ids that holds the lookup layer of its input pipeline."""

    def __init__(self, words: int, tied: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.own = {"words": words, "tied": tied}
        self.lookup = layers.StringLookup(name="lookup")
        self.table = layers.Embedding(words, DIM, name="table")
        self.head = None if tied else layers.Dense(words, name="head")

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        if self.head is not None:
            self.head.build((*shape, DIM))

    def call(self, ids: Any) -> Any:
        h = self.table(ids)
        if self.head is None:
            return ops.matmul(h, ops.transpose(self.table.embeddings))
        return self.head(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too_many": (
        {"tokens": ["fox", "gnu"], "evict": ["bee"]},
        "has room for 1: 0 spare",
    ),
    "nothing": ({}, "expected words to add.*or to evict"),
    "unknown": ({"evict": ["fox"]}, "evict: 1 of 1 are not in vocabulary"),
    "for_unknown_words": ({"evict": [0]}, "id 0.*means padding or an unknown"),
    "both": ({"tokens": ["bee"], "evict": ["bee"]}, "in StringLookup 'lookup' already"),
    "a_spare_word": ({"tokens": ["[spare 3]"]}, "the mark of a spare row"),
    "doubled": ({"tokens": ["fox", "fox"], "evict": ["bee", "ant"]}, "more than once"),
}


@only_once
@pytest.mark.parametrize("case", REFUSED)
def test_refill_refuses(tmp_path: Path, case: str) -> None:
    source, target = _trained(tmp_path / "old.keras"), tmp_path / "new.keras"
    arguments, message = REFUSED[case]
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.refill(source, target, **arguments)
    assert not target.exists()


@only_once
def test_a_number_is_a_word_where_words_are_numbers(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    lookup = layers.IntegerLookup(vocabulary=[3, 5, 7, 9, 11], name="lookup")
    _model(lookup=lookup).save(source)
    with pytest.raises(
        SurgeryError, match=r"evict: 1 of 1 .* \[1\]. Expected: words of"
    ):
        kp.surgery.refill(source, target, evict=[1])
    with pytest.raises(
        SurgeryError, match=r"keep: 1 of 2 .* \[1\]. Expected: words of"
    ):
        kp.surgery.trim(source, target, keep=[5, 1])


@only_once
def test_rows_that_no_word_reaches_are_told(tmp_path: Path) -> None:
    plan = kp.surgery.plan(_trained(tmp_path / "old.keras"), rows=2)
    assert any(f"end with {SIZE - 1}. For ids" in note for note in plan.notes)


@only_on_tensorflow
@pytest.mark.parametrize("mode", ["int", "count"])
def test_spare_rows_are_proved_where_text_is_cut_into_words(
    tmp_path: Path, mode: str
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    length = STEPS if mode == "int" else None
    lookup = layers.TextVectorization(
        output_mode=mode, output_sequence_length=length, vocabulary=WORDS
    )
    taken = layers.Embedding(len(WORDS) + 2, DIM) if length else layers.Dense(DIM)
    text = keras.Input((1,), dtype="string")
    keras.Model(text, taken(lookup(text))).save(source)
    kp.surgery.grow(source, target, capacity=3)
    assert kp.surgery.verify(source, target).verdict == "proved"
    kp.surgery.refill(target, source, tokens=["fox"], overwrite=True)
    assert kp.surgery.verify(target, source).verdict == "proved"


@only_once
def test_refill_takes_arrays_of_words(tmp_path: Path) -> None:
    report = kp.surgery.refill(
        _trained(tmp_path / "old.keras"),
        tmp_path / "new.keras",
        tokens=np.array(["fox", "gnu"]),
        evict=np.array(["bee", "ant"]),
    )
    assert report.tokens == {"fox": 1, "gnu": 2}


GROWTH_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rows": ({"rows": 2}, "Grow twice"),
    "at": ({"tokens": ["fox"], "at": 1}, "Grow twice"),
    "zero": ({"capacity": 0}, "capacity: expected a positive integer"),
    "keep": ({"keep": ["bee"]}, "capacity: `keep` says already"),
    "evict": ({"evict": ["bee"]}, "the table keeps its size"),
}


@only_once
@pytest.mark.parametrize("case", GROWTH_REFUSED)
def test_capacity_goes_beside_words_alone(tmp_path: Path, case: str) -> None:
    arguments, message = GROWTH_REFUSED[case]
    source = _trained(tmp_path / "old.keras")
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.plan(source, **{"capacity": 3, **arguments})


def _tied() -> keras.Model:
    x = keras.Input((STEPS,), dtype="string")
    table = layers.ReversibleEmbedding(SIZE, DIM, name="words")
    lookup = layers.StringLookup(vocabulary=WORDS, name="lookup")
    return keras.Model(x, table(table(lookup(x)), reverse=True))


def _compiled(model: keras.Model, optimizer: str) -> keras.Model:
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


UNPROMISED: dict[str, tuple[Any, str]] = {
    "tied": (_tied, "table 'words' scores the ids by its rows, without a bias"),
    "no_bias": (
        lambda: _model(head=layers.Dense(SIZE, use_bias=False, **HEAD)),
        "dense/vars/0 scores the ids without a bias",
    ),
    "regularized": (
        lambda: _model(head=layers.Dense(SIZE, bias_regularizer="l2", **HEAD)),
        "bias_regularizer of head 'head'",
    ),
    "constrained": (
        lambda: _model(head=layers.Dense(SIZE, bias_constraint="max_norm", **HEAD)),
        "bias_constraint of head 'head'",
    ),
    "optimizer": (
        lambda: _compiled(_model(head=layers.Dense(SIZE, **HEAD)), "ftrl"),
        "Ftrl does not move each bias by its own gradient alone",
    ),
}


@only_once
@pytest.mark.parametrize("case", UNPROMISED)
def test_a_head_that_can_promise_nothing_is_refused(tmp_path: Path, case: str) -> None:
    build, message = UNPROMISED[case]
    source = tmp_path / "old.keras"
    build().save(source)
    for asked in ({"capacity": 3}, {"evict": ["bee"]}):
        with pytest.raises(SurgeryError, match=f"{message}.*Expected: a head with a"):
            kp.surgery.plan(source, **asked)
    kp.surgery.plan(source, evict=["bee"], tokens=["fox"])


@only_once
def test_ids_without_words_have_no_spare_rows(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    keras.Sequential([keras.Input((4,)), layers.Embedding(9, DIM)]).save(source)
    for asked in ({"capacity": 3}, {"evict": [4]}):
        with pytest.raises(
            SurgeryError, match=r"holds no words.*Expected: a StringLook"
        ):
            kp.surgery.plan(source, **asked)


def test_a_tied_head_of_a_class_of_ones_own_fails_the_proof(tmp_path: Path) -> None:
    """Nothing in the file says that the table scores the ids; running it does."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    for tied in (True, False):
        model = Looked(SIZE, tied)
        model.lookup.set_vocabulary(WORDS)
        model(np.zeros((2, STEPS), "int32"))
        model.save(source)
        if tied:
            with pytest.raises(NotProvedError, match="probability of spare rows: they"):
                kp.surgery.grow(source, target, capacity=3)
            assert not target.exists()
    assert kp.surgery.grow(source, target, capacity=3).certificate.passed


LOOKUPS: dict[str, tuple[Any, list[Any], Any]] = {
    "integers": (
        lambda: layers.IntegerLookup(vocabulary=[10, 20, 30, 40, 50], name="lookup"),
        [10, 20, 30, 40, 50],
        60,
    ),
    "text": (
        lambda: layers.TextVectorization(vocabulary=WORDS[:4], name="lookup"),
        WORDS[:4],
        "fox",
    ),
    "several_unknown": (
        lambda: layers.StringLookup(
            vocabulary=WORDS[:2], mask_token="", num_oov_indices=3, name="lookup"
        ),
        WORDS[:2],
        "fox",
    ),
}


@only_once
@pytest.mark.parametrize("case", LOOKUPS)
def test_every_lookup_layer_keeps_the_register(tmp_path: Path, case: str) -> None:
    build, words, new = LOOKUPS[case]
    model = keras.Sequential([layers.Embedding(SIZE, DIM, name="words")])
    x = keras.Input((STEPS,) if case != "text" else (), dtype="int64")
    x = x if case == "integers" else keras.Input(x.shape[1:], dtype="string")
    model = keras.Model(x, layers.Embedding(SIZE, DIM, name="words")(build()(x)))
    room, full, source = (tmp_path / f"{n}.keras" for n in ("room", "full", "old"))
    model.save(source)
    kp.surgery.grow(source, room, capacity=2)
    keras.models.load_model(room).save(room)
    assert kp.surgery.inspect(room).vocabularies[0].spare_ids == (SIZE, SIZE + 1)
    report = kp.surgery.refill(room, full, tokens=[new], evict=[words[1]])
    id_ = SIZE - len(words) + 1
    assert report.tokens == {new: id_}
    lookup = keras.models.load_model(full).get_layer("lookup")
    made = lookup(np.array([new, words[0], words[1]]))
    ids = np.asarray(made).ravel().tolist()
    assert ids[:2] == [id_, id_ - 1]
    assert ids[2] < id_ - 1


@only_once
def test_trim_drops_spare_rows_and_remap_keeps_them(tmp_path: Path) -> None:
    source = _trained(tmp_path / "old.keras")
    room, target = tmp_path / "room.keras", tmp_path / "new.keras"
    kp.surgery.grow(source, room, capacity=2)
    kp.surgery.trim(room, target, keep=["emu", "ant", "[spare 7]"])
    assert _words(target)[1:] == ["ant", "emu", "[spare 7]"]
    order = [0, 7, 2, -1, 4, 1, 6]
    vocabulary = [*_words(room)]
    new = ["[UNK]", "[spare 7]", "bee", "yak", "dog", "ant", "[spare 6]"]
    vocabulary[0] = "[UNK]"
    report = kp.surgery.remap(
        room, target, old_vocabulary=vocabulary, new_vocabulary=new, overwrite=True
    )
    assert report.plan.row_map.ids.tolist() == order
    assert kp.surgery.inspect(target).vocabularies[0].spare_ids == (1, 6)
    before, after = read(room).arrays, read(target).arrays
    assert (after[BIAS][[1, 6]] == -(2.0**15)).all()
    assert after[BIAS][3] == before[BIAS][:SIZE].astype("f8").mean().astype("f4")


@only_once
def test_a_refill_can_be_undone_and_replayed(tmp_path: Path) -> None:
    source = _trained(tmp_path / "old.keras")
    room, target, back = (tmp_path / f"{n}.keras" for n in ("room", "new", "back"))
    kp.surgery.grow(source, room, capacity=2)
    plan = kp.surgery.plan(room, tokens=["fox"], evict=["cat", "dog"])
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json").to_json() == plan.to_json()
    kp.surgery.apply_plan(Plan.load(tmp_path / "plan.json"), room, target)
    kp.surgery.apply_plan(plan.inverse(), target, back)
    assert _words(back) == _words(room)
    before, after = read(room).arrays, read(back).arrays
    others = [0, 1, 2, 5, 6, 7]
    for path, axis in ((TABLE, 0), (KERNEL, 1), (BIAS, 0)):
        kept = [np.take(arrays[path], others, axis) for arrays in (before, after)]
        assert same_bits(*kept), path
    altered = {**plan.to_json(), "spare_ids": [0]}
    with pytest.raises(SurgeryError, match=r"spare_ids is .0.*Expected: new ids"):
        Plan.from_json(altered)


@only_once
@keras.saving.register_keras_serializable("tests.spare")
class Factors(layers.Layer):
    """Rows of factors and a weight for each word, as in a factorisation machine."""

    def __init__(self, words: list[str], **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self.lookup = layers.StringLookup(vocabulary=words)

    def build(self, shape: Any) -> None:
        rows = self.lookup.vocabulary_size()
        self.rows = self.add_weight(shape=(rows, DIM), initializer="normal")
        self.linear = self.add_weight(shape=(rows,), initializer="normal")

    def call(self, x: Any) -> Any:
        weights = ops.expand_dims(ops.take(self.linear, x), -1)
        return ops.take(self.rows, x, axis=0) * weights

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


@only_once
@pytest.mark.parametrize("new_rows", ["mean", [[0.5] * DIM]])
def test_a_weight_of_each_word_that_comes_in_is_no_bias(
    new_rows: Any, tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    x = keras.Input((3,), dtype="int32")
    given = layers.Dense(2)(Factors(["ant", "bee", "cat"])(x))
    keras.Model(x, given).save(source)
    kp.surgery.grow(source, target, tokens=["dog"], capacity=2, new_rows=new_rows)
    old, new = (read(path).arrays["layers/factors/vars/1"] for path in (source, target))
    assert np.allclose(new[4], old.mean())
    assert (new[5:] == 0).all()


def test_one_naming_scheme() -> None:
    for integer in (True, False):
        assert is_spare(spare_word(12, integer=integer))
    assert spare_word(12, integer=False) == "[spare 12]"
    for word in ("spare", "[spare]", "[spare x]", " [spare 1]", -1, 0, 2**40):
        assert not is_spare(word)
