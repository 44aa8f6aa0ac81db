"""Scores that operations put together of the units of a head: asked about, said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, NotProvedError

from .reference import assert_old_rows_kept, assert_same_structure, save
from .saved import read
from .test_asked import Configured, grow
from .zoo import ADDED, GROWN, SIZE, ids, table

pytestmark = pytest.mark.usefixtures("quick_compile")


def _low_first(x: Any) -> Any:
    return ops.concatenate([ops.zeros_like(x[..., :1]) - 1e4, x], axis=-1)


@keras.saving.register_keras_serializable("tests.together")
class PadScore(layers.Layer):
    """Puts a low score for the first id before those of the others."""

    def call(self, x: Any) -> Any:
        return _low_first(x)


@keras.saving.register_keras_serializable("tests.together")
class Dueling(layers.Layer):
    """A score for each action, of one unit more."""

    def call(self, x: Any) -> Any:
        return x[..., :1] + x[..., 1:] - ops.mean(x[..., 1:], axis=-1, keepdims=True)


def _scores(units: int, put: Callable[[Any], Any]) -> Callable[[int], keras.Model]:
    def build(size: int) -> keras.Model:
        h = table(size)(x := ids())
        head = layers.Dense(units + size - SIZE, name="scores")
        return keras.Model(x, put(head(h)))

    return build


FEWER = {
    "concatenate": _scores(SIZE - 1, _low_first),
    "pad": _scores(SIZE - 1, lambda x: ops.pad(x, ((0, 0), (0, 0), (1, 0)))),
    "a class": _scores(SIZE - 1, lambda x: PadScore(name="put")(x)),
    "flat": _scores(
        SIZE - 1,
        lambda x: layers.Flatten()(ops.pad(x[:, :1], ((0, 0), (0, 0), (1, 0)))),
    ),
}
OTHERS = {
    "slice": _scores(2 * SIZE, lambda x: x[..., :SIZE]),
    "split": _scores(2 * SIZE, lambda x: ops.split(x, 2, axis=-1)[0]),
    "maxout": _scores(
        2 * SIZE, lambda x: ops.max(layers.Reshape((-1, SIZE, 2))(x), axis=-1)
    ),
    "a class": _scores(SIZE + 1, lambda x: Dueling(name="put")(x)),
}


@pytest.mark.parametrize("build", FEWER.values(), ids=FEWER)
def test_the_units_behind_grow_if_that_is_said(
    build: Callable[[int], keras.Model], tmp_path: Path
) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(build, SIZE, source)
    save(build, GROWN, tmp_path / "larger.keras")
    asks = rf"gives {SIZE} numbers.*--also scores:1::IDS"
    with pytest.raises(AmbiguousVocabularyError, match=asks):
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, also="scores:1::0")
    assert report.certificate is not None
    assert report.certificate.passed
    assert_same_structure(read(target), read(tmp_path / "larger.keras"))
    assert_old_rows_kept(report.plan, read(source), read(target))


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS)
def test_what_cannot_grow_in_a_file_is_refused(
    build: Callable[[int], keras.Model], tmp_path: Path
) -> None:
    save(build, SIZE, tmp_path / "old.keras")
    asks = rf"gives {SIZE} numbers.*cannot be grown in the file"
    with pytest.raises(AmbiguousVocabularyError, match=asks) as asked:
        grow(tmp_path / "old.keras", rows=ADDED)
    place = str(asked.value).split("--leave ")[1].split(" ")[0]
    assert grow(tmp_path / "old.keras", rows=ADDED, leave=place).plan.new_size == GROWN


def test_a_number_that_fills_a_place_hides_no_difference(tmp_path: Path) -> None:
    """The head has no unit for id 0, and not for id 3."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(FEWER["concatenate"], SIZE, source)
    moved: Any = {"row_map": [0, *range(SIZE - 1, 0, -1)]}
    kp.surgery.remap(source, target, also="scores:1::0", **moved)
    with pytest.raises(NotProvedError, match="differ by"):
        kp.surgery.remap(source, target, also="scores:1::3", overwrite=True, **moved)


def test_a_bias_behind_other_layers_goes_with_its_kernel(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    hidden = layers.Dense(SIZE - 1, name="hidden")(table(SIZE)(x := ids()))
    keras.Model(x, layers.Dense(2)(hidden)).save(source)
    plan = kp.surgery.plan(source, rows=ADDED, also="hidden:1::0", leave="dense")
    assert (GROWN - 1,) in [change.new_shape for change in plan.arrays]


def test_scores_that_lack_an_id_are_not_called_wrong(tmp_path: Path) -> None:
    """Ids move, and no file says which of them an output leaves out."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    scores = layers.Dense(SIZE, name="scores")(table(SIZE)(x := ids()))
    model = keras.Model(x, scores[..., 1:])
    model.save(source)
    row_map = [0, *range(SIZE - 1, 0, -1)]
    with pytest.raises(NotProvedError, match="leaves out some") as caught:
        kp.surgery.remap(
            source,
            target,
            row_map=row_map,
            also="scores:1",
            leave=model.operations[-1].name,
            proof=True,
        )
    assert caught.value.certificate.verdict == "not proved"


@keras.saving.register_keras_serializable("tests.together")
class Units(Configured):
    """A head of one's own."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__({"units": units}, **options)

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.own["units"]))

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.kernel)


def test_a_head_as_wide_as_its_input_grows_along_its_units(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    h = layers.Embedding(SIZE, SIZE)(x := ids())
    keras.Model(x, Units(SIZE, name="own")(h)).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="--also own:1"):
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, also="own:1")
    assert [c.new_shape for c in report.plan.arrays if c.axis] == [(SIZE, GROWN)]


@keras.saving.register_keras_serializable("tests.together")
class Glued(Configured):
    """Looks ids up in a table that it puts together first, and scores all by it."""

    def __init__(self, items: int, **options: Any) -> None:
        super().__init__({"items": items}, **options)

    def build(self, shape: Any) -> None:
        self.rows = self.add_weight(shape=(self.own["items"] + 1, 4))

    def call(self, x: Any) -> Any:
        rows = ops.concatenate([ops.zeros((1, 4)), self.rows[1:]])
        seen = ops.mean(ops.take(rows, x, axis=0), axis=1)
        return ops.matmul(seen, ops.transpose(rows))


def test_weights_in_as_many_rows_as_a_number_says_are_told(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    keras.Model(x := ids(), Glued(SIZE, name="glued")(x)).save(source)
    (near,) = kp.surgery.inspect(source).near_tables
    claim = f"{near.remedy.split('--also ')[1].split(' ')[0]}"
    assert claim == "layers/glued/vars/0:0:items"
    grow(source, rows=ADDED, also=claim, proof=False)
    assert read(tmp_path / "new.keras").arrays["layers/glued/vars/0"].shape == (
        GROWN + 1,
        4,
    )


@keras.saving.register_keras_serializable("tests.together")
class Prior(Configured):
    """Takes the frequency of each id off its score, while it trains."""

    def __init__(self, seen: Any, **options: Any) -> None:
        super().__init__({"seen": seen}, **options)

    def call(self, x: Any, training: bool | None = None) -> Any:
        held = self.own["seen"]
        seen = [*held.values()] if isinstance(held, dict) else held
        return x - ops.convert_to_tensor(seen, "float32") if training else x


SEEN = [0.5] * SIZE


@pytest.mark.parametrize("seen", [SEEN, dict(zip("abcdefghijklm", SEEN, strict=True))])
def test_numbers_for_each_id_in_a_layer_are_asked_about(
    seen: Any, tmp_path: Path
) -> None:
    source, head = tmp_path / "old.keras", layers.Dense(SIZE)(table(SIZE)(x := ids()))
    keras.Model(x, Prior(seen, name="prior")(head)).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="an entry for each id") as asked:
        grow(source, rows=ADDED)
    assert "--leave prior::seen" in str(asked.value)
    with pytest.raises(AmbiguousVocabularyError) as again:
        grow(source, rows=ADDED, leave="prior::seen")
    assert "an entry for each id" not in str(again.value)


@keras.saving.register_keras_serializable("tests.together")
class Scaled(Configured):
    """Passes scores on."""

    def __init__(self, by: int, **options: Any) -> None:
        super().__init__({"by": by}, **options)

    def call(self, x: Any) -> Any:
        return x * self.own["by"]


def test_a_metric_behind_a_class_of_ones_own_is_asked_about(tmp_path: Path) -> None:
    source, head = tmp_path / "old.keras", layers.Dense(SIZE, name="scores")
    banned = Scaled(50, name="ban")(head(table(SIZE)(x := ids())))
    model = keras.Model(x, banned)
    metric = keras.metrics.MeanIoU(SIZE, name="iou", sparse_y_pred=False)
    model.compile("sgd", "mse", metrics=[metric])
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match="--also iou::num_classes"):
        grow(source, rows=ADDED, also="scores:1", leave="ban")


@keras.saving.register_keras_serializable("tests.together")
class Weighed(keras.losses.Loss):
    """Weighs each class by a number of its own."""

    def __init__(self, weights: dict[str, float], name: str = "weighed") -> None:
        super().__init__(name=name)
        self.weights = weights

    def get_config(self) -> dict[str, Any]:
        return {"weights": self.weights, "name": self.name}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        weights = ops.convert_to_tensor([*self.weights.values()], "float32")
        return ops.mean(weights * ops.square(y_true - y_pred))


def test_a_dictionary_of_weights_in_a_loss_is_asked_about(tmp_path: Path) -> None:
    source, head = tmp_path / "old.keras", layers.Dense(SIZE)(table(SIZE)(x := ids()))
    model = keras.Model(x, head)
    model.compile("sgd", Weighed({str(n): 0.5 for n in range(SIZE)}))
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match=r"config\.weights, which may"):
        grow(source, rows=ADDED)
