"""What new ids do within a model: take a share, compete, or are computed."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import NotProvedError

from ..surgery.test_asked import Configured, grow
from ..surgery.zoo import ADDED, DIM, SIZE, ids, table

pytestmark = pytest.mark.usefixtures("quick_compile")
register = keras.saving.register_keras_serializable("tests.within")


@register
class Mixed(Configured):
    """Words of a softmax, or copied ones, by a gate."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__({"words": words}, **options)
        self.scores = layers.Dense(words, activation="softmax")
        self.gate = layers.Dense(1, activation="sigmoid")

    def build(self, shapes: Any) -> None:
        self.scores.build(shapes[0])
        self.gate.build(shapes[0])

    def call(self, inputs: Any) -> Any:
        hidden, x = inputs
        gate = self.gate(hidden)
        copied = ops.one_hot(x, self.own["words"])
        return gate * self.scores(hidden) + (1 - gate) * copied


def _mixed(path: Path) -> Path:
    hidden = table(SIZE)(x := ids())
    keras.Model(x, Mixed(SIZE, name="mixed")([hidden, x])).save(path)
    return path


HEAD = [f"layers/mixed/scores/vars/{n}:{axis}" for n, axis in ((0, 1), (1, 0))]


def test_a_softmax_in_a_mixture_keeps_what_new_ids_leave(tmp_path: Path) -> None:
    report = grow(_mixed(tmp_path / "old.keras"), rows=ADDED, also=HEAD)
    assert report.certificate is not None
    assert report.certificate.passed
    detail = report.certificate["old ids keep their outputs"].detail
    assert "share of a softmax" in detail


def test_it_is_undone_and_trimmed_as_well(tmp_path: Path) -> None:
    source, target = _mixed(tmp_path / "old.keras"), tmp_path / "new.keras"
    plan = grow(source, rows=ADDED, also=HEAD).plan
    kp.surgery.apply_plan(plan.inverse(), target, tmp_path / "back.keras")
    report = kp.surgery.trim(source, target, keep=[1, 4, 7], also=HEAD, overwrite=True)
    assert report.certificate is not None
    assert report.certificate.passed


def test_a_wrong_old_bias_is_found_in_a_mixture(tmp_path: Path) -> None:
    """What new ids take does not hide what happened to old ones."""
    source, target = _mixed(tmp_path / "old.keras"), tmp_path / "new.keras"
    grow(source, rows=ADDED, also=HEAD)
    model = keras.models.load_model(target)
    bias = model.get_layer("mixed").scores.bias
    bias.assign(ops.convert_to_numpy(bias) + np.eye(SIZE + ADDED)[3])
    plan = kp.surgery.plan(source, rows=ADDED, also=HEAD)
    model.save(target)
    assert kp.surgery.verify(source, target, plan).verdict == "wrong"


@register
class CodeBook(Configured):
    """Gives each vector the nearest of its codes."""

    def __init__(self, codes: int, **options: Any) -> None:
        super().__init__({"codes": codes}, **options)

    def build(self, shape: Any) -> None:
        self.codes = self.add_weight(shape=(shape[-1], self.own["codes"]))

    def call(self, x: Any) -> Any:
        far = ops.square(x[..., None] - self.codes)
        nearest = ops.argmin(ops.sum(far, axis=-2), axis=-1)
        return ops.matmul(
            ops.one_hot(nearest, self.own["codes"]), ops.transpose(self.codes)
        )


def test_codes_that_compete_are_not_proved(tmp_path: Path) -> None:
    source, x = tmp_path / "old.keras", keras.Input((3, DIM))
    keras.Model(x, CodeBook(SIZE, name="book")(x)).save(source)
    with pytest.raises(NotProvedError, match="compete within the model") as caught:
        grow(source, rows=ADDED, also="book:1")
    assert caught.value.certificate.verdict == "not proved"


@register
class Fields(Configured):
    """One table for several features, each behind the one before."""

    def __init__(self, sizes: list[int], **options: Any) -> None:
        super().__init__({"sizes": sizes}, **options)
        self.table = layers.Embedding(sum(sizes), DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        starts = np.cumsum([0, *self.own["sizes"][:-1]])
        return self.table(x + ops.convert_to_tensor(starts, "int32"))


@pytest.mark.parametrize(("field", "at"), [(1, 19), (2, None)])
def test_ids_of_several_features_are_proved(
    field: int, at: int | None, tmp_path: Path
) -> None:
    source, sizes = tmp_path / "old.keras", [7, 12, 5]
    x = keras.Input((3,), dtype="int32")
    keras.Model(x, Fields(sizes, name="fields")(x)).save(source)
    claim = f"layers/fields/table/vars/0:0:config.layers[1].config.sizes[{field}]"
    report = grow(source, rows=2, at=at, also=claim)
    assert report.certificate is not None
    assert report.certificate.passed


@register
class ScoresAll(Configured):
    """Scores all ids by the table that it looks them up in."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__({"size": size}, **options)
        self.table = layers.Embedding(size, DIM)

    def build(self, shape: Any) -> None:
        self.table.build(shape)

    def call(self, x: Any) -> Any:
        rows = self.table(ops.arange(self.own["size"]))
        return ops.matmul(ops.mean(self.table(x), axis=1), ops.transpose(rows))


def test_what_the_model_looks_up_by_itself_is_no_id_beyond(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    keras.Model(x := ids(), ScoresAll(SIZE, name="all")(x)).save(source)
    row_map = [0, *range(SIZE - 1, 0, -1)]
    report = kp.surgery.remap(source, tmp_path / "new.keras", row_map=row_map)
    assert report.certificate is not None
    assert report.certificate.passed
