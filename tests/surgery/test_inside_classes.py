"""Tables inside classes of one's own: seen, told apart, and left by their own names."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_padsafe import surgery
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError, SurgeryError

from .saved import read
from .test_asked import Configured, grow, saved
from .zoo import ADDED, DIM, SIZE

pytestmark = pytest.mark.usefixtures("quick_compile")


@keras.saving.register_keras_serializable("tests.inside")
class Turned(Configured):
    """Each id picks a column of a matrix."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__({"ids": ids}, **options)

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(DIM, self.own["ids"]), name="table")

    def call(self, x: Any) -> Any:
        return ops.moveaxis(ops.take(self.table, x, axis=-1), 0, -1)


@keras.saving.register_keras_serializable("tests.inside")
class Tags(Configured):
    """Tags, as many as there are ids by chance; sizes stand in a list.

    If its table has one row more, another one has not.
    """

    def __init__(
        self, sizes: list[int], more: bool = False, tags: int = SIZE, **options: Any
    ) -> None:
        super().__init__({"sizes": sizes, "more": more, "tags": tags}, **options)
        self.table = layers.Embedding(sizes[0] + more, sizes[1])
        self.within = layers.Embedding(*sizes) if more else self.table
        self.head = layers.Dense(tags)

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        self.within.build(shape)
        self.head.build((None, self.own["sizes"][1]))

    def call(self, x: Any) -> Any:
        return self.head(self.table(x) + self.within(x))


@keras.saving.register_keras_serializable("tests.inside")
class InBins(Configured):
    """Beside the table one of bins, as many as there are ids by chance."""

    def __init__(self, ids: int, bins: int = SIZE, **options: Any) -> None:
        super().__init__({"ids": ids, "bins": bins}, **options)
        self.table = layers.Embedding(ids, DIM)
        self.few = layers.Embedding(bins, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)
        self.few.build(shape)

    def call(self, x: Any) -> Any:
        return self.table(x) + self.few(x % self.own["bins"])


@keras.saving.register_keras_serializable("tests.inside")
class LastIsMask(Configured):
    """The last id stands for nothing."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__({"ids": ids}, **options)
        self.table = layers.Embedding(ids, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        is_real = ops.cast(x != self.own["ids"] - 1, "float32")
        return self.table(x) * is_real[..., None]


@keras.saving.register_keras_serializable("tests.inside")
class Guarded(Configured):
    """Clips ids for safety, and takes of a list too."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__({"ids": ids}, **options)

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(self.own["ids"], DIM), name="table")

    def call(self, x: Any) -> Any:
        x = ops.cast(x, "int32")
        rows = ops.take(self.table, ops.clip(x, 0, self.own["ids"] - 1), axis=0)
        return rows * ops.take([0.5, 1.0], ops.cast(x > 3, "int32"), axis=0)[..., None]


@keras.saving.register_keras_serializable("tests.inside")
class ByColumns(keras.Model):
    """Makes columns of ids; one that knows its last id shows no table by itself."""

    def __init__(self, ids: int, masks: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.own = {"ids": ids, "masks": masks}
        self.kernel = self.add_weight(shape=(ids, DIM), name="kernel")
        self.places = layers.Embedding(SIZE + ADDED, DIM)
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        size = self.own["ids"]
        vectors = ops.matmul(ops.one_hot(x, size), self.kernel)
        if self.own["masks"]:
            vectors *= ops.cast(x != size - 1, "float32")[..., None]
        return self.head(ops.mean(vectors + self.places(ops.arange(5)), axis=1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


def saved_model(model: keras.Model, path: Path) -> Path:
    model(ops.zeros((2, 5), "int32"))
    model.save(path)
    return path


def test_a_table_along_another_axis_is_proved(tmp_path: Path) -> None:
    report = grow(saved(Turned(SIZE), tmp_path / "old.keras"), rows=ADDED)
    assert report.certificate is not None
    assert (
        f"{SIZE} of {SIZE} ids"
        in report.certificate["old ids keep their outputs"].detail
    )
    shape = read(tmp_path / "new.keras").arrays["layers/turned/vars/0"].shape
    assert shape == (DIM, SIZE + ADDED)


def test_a_number_in_a_list_counts_if_that_is_said(tmp_path: Path) -> None:
    source = saved(Tags([SIZE, DIM], more=True, name="tags"), tmp_path / "old.keras")
    key = "layers/tags/table/vars/0:0:config.layers[1].config.sizes[0]"
    with pytest.raises(AmbiguousVocabularyError) as caught:
        grow(source, rows=ADDED)
    assert f"--also {key} " in str(caught.value)
    grow(source, rows=ADDED, also=key)
    shape = read(tmp_path / "new.keras").arrays["layers/tags/table/vars/0"].shape
    assert shape == (SIZE + 1 + ADDED, DIM)


def test_what_has_fewer_rows_shrinks_where_growth_is_undone(tmp_path: Path) -> None:
    source = saved(Tags([SIZE, DIM], more=True, name="tags"), tmp_path / "old.keras")
    key = "layers/tags/table/vars/0:0:config.layers[1].config.sizes[0]"
    plan, back = grow(source, rows=ADDED, also=key).plan, tmp_path / "back.keras"
    surgery.apply_plan(plan.inverse(), tmp_path / "new.keras", back)
    before, after = read(source).arrays, read(back).arrays
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_a_table_that_is_said_does_not_join_one_of_positions(tmp_path: Path) -> None:
    """Though both have as many rows, once the one has grown."""
    source = saved_model(ByColumns(SIZE + ADDED), tmp_path / "old.keras")
    grow(source, rows=ADDED, also="vars/0:0")
    assert (
        read(tmp_path / "new.keras").arrays["layers/embedding/vars/0"].shape[0]
        == SIZE + ADDED
    )


def test_units_of_a_class_are_left_and_its_table_is_not(tmp_path: Path) -> None:
    source = saved(Tags([SIZE, DIM], name="tags"), tmp_path / "old.keras")
    with pytest.raises(AmbiguousVocabularyError) as caught:
        grow(source, rows=ADDED)
    claims = "--also layers/tags/head/vars/0:1 --also layers/tags/head/vars/1:0"
    assert claims in str(caught.value)
    assert "--leave tags " in str(caught.value)
    grow(source, rows=ADDED, leave="tags")
    arrays = read(tmp_path / "new.keras").arrays
    assert arrays["layers/tags/table/vars/0"].shape == (SIZE + ADDED, DIM)
    assert arrays["layers/tags/head/vars/0"].shape == (DIM, SIZE)


def test_bins_of_ids_are_a_vocabulary_of_their_own(tmp_path: Path) -> None:
    source = saved(InBins(SIZE), tmp_path / "old.keras")
    found = surgery.inspect(source).vocabularies
    assert sorted(one.name for one in found) == ["in_bins/few", "in_bins/table"]
    with pytest.raises(NotProvedError) as caught:
        grow(source, rows=ADDED, vocabulary="in_bins/few")
    assert caught.value.certificate.verdict == "wrong"


def test_a_table_inside_a_layer_that_is_left_stays_beside_another(
    tmp_path: Path,
) -> None:
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(SIZE, DIM, name="plain")(x) + InBins(SIZE, name="bins")(x)
    keras.Model(x, y).save(tmp_path / "old.keras")
    grown = grow(tmp_path / "old.keras", rows=ADDED, vocabulary="plain", proof=False)
    left = grow(
        tmp_path / "old.keras",
        rows=ADDED,
        vocabulary="plain",
        leave="bins",
        proof=False,
        overwrite=True,
    )
    paths = [{array.path for array in one.plan.arrays} for one in (grown, left)]
    assert paths[1] == {"layers/embedding/vars/0"}
    assert paths[0] == {*paths[1], "layers/in_bins/table/vars/0"}


def test_a_last_id_that_is_known_by_its_number(tmp_path: Path) -> None:
    source, last = saved(LastIsMask(SIZE), tmp_path / "old.keras"), SIZE - 1
    with pytest.raises(NotProvedError, match=rf"--at {last}\)") as caught:
        grow(source, rows=ADDED)
    assert caught.value.certificate.verdict == "wrong"
    report = grow(source, rows=ADDED, at=last)
    assert report.certificate is not None
    assert report.certificate.passed


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_ids_that_are_clipped_for_safety_are_the_same(
    dtype: str, tmp_path: Path
) -> None:
    x = keras.Input((5,), dtype=dtype)
    y = layers.Embedding(SIZE, DIM, name="plain")(x) + Guarded(SIZE)(x)
    keras.Model(x, y).save(tmp_path / "old.keras")
    report = grow(tmp_path / "old.keras", rows=ADDED, at=SIZE - 1)
    shapes = {array.new_shape for array in report.plan.arrays}
    assert shapes == {(SIZE + ADDED, DIM)}
    assert len(report.plan.arrays) == 2
    assert report.certificate is not None
    assert report.certificate.passed


def test_columns_of_ids_in_a_model_of_ones_own(tmp_path: Path) -> None:
    source = saved_model(ByColumns(SIZE), tmp_path / "old.keras")
    grow(source, rows=ADDED)
    assert read(tmp_path / "new.keras").arrays["vars/0"].shape == (SIZE + ADDED, DIM)


def test_columns_of_ids_are_named_where_no_table_is_shown(tmp_path: Path) -> None:
    source = saved_model(ByColumns(SIZE, masks=True), tmp_path / "old.keras")
    with pytest.raises(
        SurgeryError, match=f"{SIZE} columns that are made of ids"
    ) as caught:
        grow(source, rows=ADDED)
    assert "--also vars/0:0 " in str(caught.value)
    grow(source, rows=ADDED, also="vars/0:0", at=SIZE - 1)
    assert read(tmp_path / "new.keras").arrays["vars/0"].shape == (SIZE + ADDED, DIM)


@keras.saving.register_keras_serializable("tests.inside")
class HoldsGraph(keras.Model):
    """Columns are made in a graph that a class holds."""

    def __init__(self, ids: int, encodes: bool, **options: Any) -> None:
        super().__init__(**options)
        self.own = {"ids": ids, "encodes": encodes}
        x = keras.Input((5,), dtype="int32")
        encode = layers.CategoryEncoding(ids, "one_hot") if encodes else None
        columns = encode(x) if encode else ops.one_hot(x, ids)
        self.net = keras.Model(x, layers.Dense(DIM, name="first")(columns))

    def call(self, given: dict[str, Any]) -> Any:
        return self.net(given["ids"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own}


@pytest.mark.parametrize("encodes", [False, True])
def test_columns_of_ids_in_a_graph_inside_a_class(
    encodes: bool, tmp_path: Path
) -> None:
    model, source = HoldsGraph(SIZE, encodes), tmp_path / "old.keras"
    model({"ids": ops.zeros((2, 5), "int32")})
    model.save(source)
    kernel = "layers/functional/layers/dense/vars/0"
    with pytest.raises(SurgeryError, match="columns that are made of ids") as caught:
        grow(source, rows=ADDED)
    assert f"--also {kernel}:0 " in str(caught.value)
    grow(source, rows=ADDED, also=f"{kernel}:0")
    assert read(tmp_path / "new.keras").arrays[kernel].shape == (SIZE + ADDED, DIM)


@keras.saving.register_keras_serializable("tests.inside")
class Shapeless(keras.Model):
    """Is built without being told of a shape."""

    def __init__(self, ids: int, **options: Any) -> None:
        super().__init__(**options)
        self.ids, self.table = ids, layers.Embedding(ids, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(())
        self.built = True

    def call(self, given: dict[str, Any]) -> Any:
        return self.table(given["ids"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ids": self.ids}


@pytest.mark.parametrize("shape", [None, (), {"a": None}, [None, (2, 3)]])
def test_a_model_that_was_built_on_no_shape_grows(shape: Any, tmp_path: Path) -> None:
    model, source = Shapeless(SIZE), tmp_path / "old.keras"
    model.build(shape)
    model.save(source)
    with pytest.raises(NotProvedError, match="does not say which inputs it takes"):
        grow(source, rows=ADDED)
    grow(source, rows=ADDED, proof=False)
    (table,) = read(tmp_path / "new.keras").arrays.values()
    assert table.shape == (SIZE + ADDED, DIM)
