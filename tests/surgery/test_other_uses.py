"""What reads ids beside a table, or in place of one: it grows, or it is asked about."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import surgery
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError

from .saved import read
from .test_asked import Configured, grow
from .zoo import DIM, SIZE, ids

pytestmark = pytest.mark.usefixtures("quick_compile")
register = keras.saving.register_keras_serializable("tests.readers")
Reader = Callable[[Any], Any]


@pytest.mark.parametrize("leave", [None, "wide"])
def test_columns_of_the_same_words_are_asked_about(
    leave: str | None, tmp_path: Path
) -> None:
    words, text = ["a", "b", "c"], keras.Input((1,), dtype="string")
    wide = layers.StringLookup(vocabulary=words, output_mode="multi_hot", name="wide")
    deep = layers.StringLookup(vocabulary=words, name="deep")
    normed = layers.BatchNormalization()(wide(text))
    rows = layers.Flatten()(layers.Embedding(4, DIM)(deep(text)))
    keras.Model(text, [normed, rows]).save(source := tmp_path / "old.keras")
    if leave is None:
        with pytest.raises(AmbiguousVocabularyError, match="'wide' makes columns of"):
            kp.surgery.plan(source, tokens=["d"])
    else:
        assert kp.surgery.plan(source, tokens=["d"], leave=[leave]).new_size == 5


class Counted(Configured):
    """Knows how many ids there are."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__({"count": count}, **options)
        self.count = count


@register
class OneHot(Counted):
    """Columns, as a user makes them; the name is one of Keras's own."""

    def call(self, x: Any) -> Any:
        return ops.one_hot(x, self.count)


@register
class Compared(Counted):
    """Columns by comparison."""

    def call(self, x: Any) -> Any:
        return ops.cast(ops.equal(x[..., None], ops.arange(self.count)), "float32")


@register
class Projected(Counted):
    """A table that is no `Embedding`, and is not looked up."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(self.count, DIM), name="table")

    def call(self, x: Any) -> Any:
        return ops.matmul(ops.one_hot(x, self.count), self.table)


@register
class Fixed(layers.Layer):
    """Columns that no number counts."""

    def call(self, x: Any) -> Any:
        return ops.cast(ops.equal(x[..., None], ops.arange(SIZE)), "float32")


@register
class Share(Counted):
    """The id as a number."""

    def call(self, x: Any) -> Any:
        return ops.cast(x, "float32")[..., None] / self.count


@register
class Marked(Configured):
    """Tells one id from all others."""

    def __init__(self, sep: int, **options: Any) -> None:
        super().__init__({"sep": sep}, **options)

    def call(self, x: Any) -> Any:
        return ops.cast(x[..., None] == self.own["sep"], "float32")


@register
class Parity(layers.Layer):
    """Two kinds of ids."""

    def call(self, x: Any) -> Any:
        return ops.cast(x % 2, "float32")[..., None]


@register
class Inside(keras.Model):
    """A table, and columns that another number counts, in one class."""

    def __init__(self, words: int, columns: int, **options: Any) -> None:
        super().__init__(**options)
        self.own = {"words": words, "columns": columns}
        self.table = layers.Embedding(words, DIM)
        self.deep, self.wide = layers.Dense(3), layers.Dense(3)

    def call(self, x: Any) -> Any:
        columns = ops.cast(
            ops.equal(x[..., None], ops.arange(self.own["columns"])), "float32"
        )
        return self.deep(self.table(x)) + self.wide(columns)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


def saved(folder: Path, *readers: Reader, table: bool = True) -> Path:
    x = ids()
    read = [reader(x) for reader in readers]
    parts = [layers.Embedding(SIZE, DIM, name="words")(x), *read] if table else read
    h = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    keras.Model(x, layers.Dense(3)(h)).save(folder / "old.keras")
    return folder / "old.keras"


def alone(path: Path, rows: np.ndarray) -> np.ndarray:
    """What a saved model makes of each id."""
    model: Any = keras.models.load_model(path)
    batch = np.repeat(rows[:, None], model.input_shape[1], axis=1).astype("int32")
    return np.asarray(ops.convert_to_numpy(model(batch)))


@pytest.mark.parametrize("table", [True, False], ids=["beside", "alone"])
@pytest.mark.parametrize("reader", [OneHot, Compared, Projected])
def test_what_makes_something_of_each_id_grows(
    reader: Any, table: bool, tmp_path: Path
) -> None:
    if reader is Projected and not table:
        pytest.skip("the same as a table of one's own, in test_tables")
    source = saved(tmp_path, reader(SIZE, name="reader"), table=table)
    report = grow(source, rows=2, new_rows="normal")
    assert report.certificate is not None
    target, old = tmp_path / "new.keras", np.arange(SIZE)
    np.testing.assert_allclose(alone(source, old), alone(target, old), atol=1e-5)
    model: Any = keras.models.load_model(target)
    assert model.get_layer("reader").count == SIZE + 2
    new = ops.convert_to_numpy(model.get_layer("reader")(np.arange(SIZE + 2)))
    assert len(np.unique(new.round(6), axis=0)) == SIZE + 2


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("reader", [Fixed(), Share(SIZE)], ids=["fixed", "share"])
def test_what_does_not_grow_is_asked_about(
    reader: Any, rows: int, tmp_path: Path
) -> None:
    source = saved(tmp_path, reader)
    if isinstance(reader, Share):
        with pytest.raises(AmbiguousVocabularyError, match=f"leave='{reader.name}::c"):
            grow(source, rows=rows)
        grow(source, rows=rows, leave=[reader.name, f"{reader.name}::count"])
        return
    with pytest.raises(NotProvedError, match=f"leave='{reader.name}'") as caught:
        grow(source, rows=rows)
    assert caught.value.certificate.verdict == "not proved"
    report = grow(source, rows=rows, leave=reader.name)
    assert report.certificate is not None
    assert kp.surgery.verify(source, tmp_path / "new.keras").verdict == "proved"


def test_one_that_is_left_hides_no_other(tmp_path: Path) -> None:
    source = saved(tmp_path, Fixed(name="first"), Fixed(name="second"))
    with pytest.raises(NotProvedError, match="leave='second'"):
        grow(source, rows=2, leave="first")


def test_columns_inside_a_class_are_seen(tmp_path: Path) -> None:
    model = Inside(SIZE, SIZE)
    model(np.zeros((1, 3), "int32"))
    model.save(tmp_path / "old.keras")
    asks = "13 entries along axis 0, counted by config.columns"
    with pytest.raises(AmbiguousVocabularyError, match=asks) as asked:
        grow(tmp_path / "old.keras", rows=1)
    claims = re.findall(r"--also (\S+)", str(asked.value))
    assert grow(tmp_path / "old.keras", rows=1, also=claims).certificate is not None
    leave = re.findall(r"--leave (\S+)", str(asked.value))
    with pytest.raises(NotProvedError, match="code of the model's own"):
        grow(tmp_path / "old.keras", rows=1, leave=leave, overwrite=True)


@pytest.mark.parametrize(
    "reader",
    [Marked(3, name="marked"), Parity(), lambda x: ops.expand_dims(ops.less(x, 5), -1)],
)
def test_what_treats_new_ids_as_old_ones_is_no_reason_to_ask(
    reader: Any, tmp_path: Path
) -> None:
    source = saved(tmp_path, lambda x: ops.cast(reader(x), "float32"))
    assert grow(source, rows=1).certificate is not None
    leave = "marked::sep" if isinstance(reader, Marked) else ()
    with pytest.raises(NotProvedError, match="differ by"):
        grow(source, rows=1, at=0, leave=leave, overwrite=True)


def test_an_array_that_an_operation_holds_is_asked_about(tmp_path: Path) -> None:
    x, table = ids(), layers.Embedding(SIZE, DIM, name="words")
    h = layers.Dense(DIM)(table(x))
    scores = ops.matmul(h, ops.transpose(ops.convert_to_tensor(table.embeddings)))
    keras.Model(x, scores).save(tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError, match=r"(?s)holds an array.*--leave"):
        grow(tmp_path / "old.keras", rows=2)


@register
class Loss(keras.losses.Loss):
    """Knows how many ids there are."""

    def __init__(self, count: int, name: str = "mine", **options: Any) -> None:
        super().__init__(name=name)
        self.count = count

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean((ops.one_hot(y_true, self.count) - y_pred) ** 2)

    def get_config(self) -> dict[str, Any]:
        return {"count": self.count, "name": self.name}


def test_a_number_that_training_alone_uses_is_asked_about(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    x = ids()
    h = layers.Embedding(SIZE, DIM)(x)
    model = keras.Model(x, layers.Dense(SIZE)(h))
    model.compile("sgd", Loss(SIZE))
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match=r"loss\.config\.count=\d+"):
        grow(source, rows=2)
    assert grow(source, rows=2, leave="mine").plan.new_size == SIZE + 2


@register
class Held(keras.Model):
    """A language model of one's own, of whose outputs no graph tells."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size
        self.table = layers.Embedding(size, DIM)
        self.head = layers.Dense(size)

    def call(self, x: Any) -> Any:
        return self.head(self.table(x))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def _held(path: Path, loss: Any, metrics: list[Any]) -> Path:
    model = Held(SIZE)
    model.compile("sgd", loss, metrics=metrics)
    model(ops.zeros((2, 5), "int32"))
    model.save(path)
    return path


def test_an_id_that_a_loss_may_name_does_not_move_unasked(tmp_path: Path) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=7, name="ce")
    source, target = _held(tmp_path / "old.keras", loss, []), tmp_path / "new.keras"
    assert grow(source, rows=2).plan.new_size == SIZE + 2
    with pytest.raises(AmbiguousVocabularyError, match="ignore_class=7"):
        surgery.trim(source, target, keep=[0, 3, 7], overwrite=True)
    with pytest.raises(AmbiguousVocabularyError, match="--leave ce::ignore_class"):
        grow(source, rows=2, at=7, overwrite=True)
    surgery.trim(source, target, keep=[0, 3, 7], leave="ce", overwrite=True)
    said = "ce::ignore_class:id"
    plan = surgery.plan(source, keep=[0, 3, 7], also=said)
    assert [c.new for c in plan.config if c.path[-1] == "ignore_class"] == [2]


def test_a_metric_of_an_output_that_is_not_known_is_asked_about(tmp_path: Path) -> None:
    metric = keras.metrics.MeanIoU(SIZE, name="iou")
    source = _held(tmp_path / "old.keras", "mse", [metric])
    with pytest.raises(AmbiguousVocabularyError, match=rf"num_classes={SIZE}"):
        grow(source, rows=2)
    grow(source, rows=2, leave="iou")


@pytest.mark.parametrize("count", [SIZE - 1, SIZE + 1])
def test_a_number_near_that_training_alone_uses_is_asked_about(
    count: int, tmp_path: Path
) -> None:
    source = _held(tmp_path / "old.keras", Loss(count), [])
    with pytest.raises(AmbiguousVocabularyError, match=f"count={count}"):
        grow(source, rows=2)


@pytest.mark.parametrize("nested", [False, True])
def test_losses_go_by_the_names_of_outputs(nested: bool, tmp_path: Path) -> None:
    scores = keras.Sequential([layers.Dense(SIZE)], name="scores")
    x, head = ids(), scores if nested else layers.Dense(SIZE)
    outputs: Any = head(layers.Embedding(SIZE, DIM)(x))
    beside = layers.Dense(2, name="beside")(outputs)
    outputs = [outputs, beside] if nested else {"scores": outputs, "beside": beside}
    model = keras.Model(x, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=7)
    model.compile("sgd", {"scores": loss, "beside": "mse"})
    model.save(tmp_path / "old.keras")
    target = tmp_path / "new.keras"
    leave = [layer.name for layer in model.layers if layer.name == "beside"]
    surgery.trim(tmp_path / "old.keras", target, keep=[0, 3, 7], leave=leave)
    config = read(target).config["compile_config"]["loss"]["scores"]["config"]
    assert config["ignore_class"] == 2


@register
class Pointer(Counted):
    """Raises the score of each id that comes in."""

    def call(self, scores: Any, x: Any) -> Any:
        return scores + ops.one_hot(x, self.count)


def test_a_number_without_which_nothing_larger_is_built_follows(tmp_path: Path) -> None:
    x = ids()
    scores = layers.Dense(SIZE, name="head")(layers.Embedding(SIZE, DIM)(x))
    keras.Model(x, Pointer(SIZE, name="pointer")(scores, x)).save(
        tmp_path / "old.keras"
    )
    report = grow(tmp_path / "old.keras", rows=2, also="head:1")
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    new = keras.models.load_model(tmp_path / "new.keras")
    assert new.get_layer("pointer").count == SIZE + 2
