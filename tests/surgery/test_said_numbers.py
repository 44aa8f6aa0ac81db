"""Numbers that may count the ids though no array follows them: asked about, said."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import (
    AmbiguousVocabularyError,
    NotProvedError,
    SurgeryError,
)

from .reference import assert_old_rows_kept, assert_same_structure, save
from .saved import read
from .test_asked import Configured, grow
from .zoo import ADDED, DIM, GROWN, SIZE, ids, table

pytestmark = pytest.mark.usefixtures("quick_compile")
register = keras.saving.register_keras_serializable("tests.numbers")


@register
class Unknown(Configured):
    """Ids that no table has become the unknown one."""

    def __init__(self, options: dict[str, int], **more: Any) -> None:
        super().__init__({"options": options}, **more)

    def call(self, x: Any) -> Any:
        return ops.where(x < self.own["options"]["words"], x, 1)


@register
class Bounded(keras.losses.Loss):
    """Knows the number of ids."""

    def __init__(self, words: int, name: str = "bounded") -> None:
        super().__init__(name=name)
        self.words = words

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_pred)) / self.words

    def get_config(self) -> dict[str, Any]:
        return {"words": self.words, "name": self.name}


@register
class Checked(Configured):
    """Refuses another last id than that of its words."""

    def __init__(self, words: int, last: int, **more: Any) -> None:
        super().__init__({"words": words, "last": last}, **more)
        if last != words - 1:
            raise ValueError(f"last={last} is not the last of {words} words")

    def call(self, x: Any) -> Any:
        return ops.where(x < self.own["words"], x, 1)


def _model(size: int) -> keras.Model:
    known = Unknown({"words": size, "seed": 50}, name="unknown")(x := ids())
    return keras.Model(x, layers.Dense(2)(table(size)(known)))


def test_a_number_that_nothing_follows_is_asked_about(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_model, SIZE, source)
    with pytest.raises(AmbiguousVocabularyError, match=f"words={SIZE}.*nothing") as one:
        grow(source, rows=ADDED)
    assert "seed" not in str(one.value)
    flag = "unknown::options.words"
    assert f"--also {flag}" in str(one.value)
    assert f"--leave {flag}" in str(one.value)
    grow(source, rows=ADDED, leave=flag, proof=False)
    config = read(tmp_path / "new.keras").config["config"]["layers"][1]["config"]
    assert config["options"] == {"words": SIZE, "seed": 50}


@pytest.mark.parametrize("place", ["options", "config.layers[1].config.options"])
def test_a_number_that_is_said_to_count_grows(place: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_model, SIZE, source)
    save(_model, GROWN, tmp_path / "larger.keras")
    report = grow(source, rows=ADDED, also=f"unknown::{place}.words")
    assert report.certificate is not None
    assert report.certificate.passed
    assert_same_structure(read(target), read(tmp_path / "larger.keras"))
    assert_old_rows_kept(report.plan, read(source), read(target))


def test_its_growth_is_replayed_and_undone(tmp_path: Path) -> None:
    source, again, back = (
        tmp_path / name for name in ("a.keras", "b.keras", "c.keras")
    )
    save(_model, SIZE, source)
    plan = grow(source, rows=ADDED, also="unknown::options.words").plan
    plan = kp.surgery.Plan.from_json(plan.to_json())
    kp.surgery.apply_plan(plan, source, again)
    kp.surgery.apply_plan(plan.inverse(), again, back)
    assert read(back).config == read(source).config
    before, after = read(source).arrays, read(back).arrays
    assert all(np.array_equal(before[path], after[path]) for path in before)


@register
class Stop(Configured):
    """Looks at one id otherwise than at others."""

    def __init__(self, stop: int, **more: Any) -> None:
        super().__init__({"stop": stop}, **more)

    def call(self, x: Any) -> Any:
        return ops.cast(x != self.own["stop"], "float32")[..., None]


def _stopped(path: Path, stop: int) -> Path:
    kept = Stop(stop, name="stop")(x := ids())
    keras.Model(x, layers.Dense(2)(table(SIZE)(x) * kept)).save(path)
    return path


def test_a_number_that_names_an_id_goes_with_it_once_it_is_said(tmp_path: Path) -> None:
    source = _stopped(tmp_path / "old.keras", 5)
    with pytest.raises(AmbiguousVocabularyError, match="--also stop::stop:id if"):
        grow(source, rows=ADDED, at=3)
    with pytest.raises(NotProvedError, match="old ids keep their outputs"):
        grow(source, rows=ADDED, at=3, leave="stop::stop")
    report = grow(source, rows=ADDED, at=3, also="stop::stop:id")
    assert report.certificate is not None
    assert report.certificate.passed
    config = read(tmp_path / "new.keras").config["config"]["layers"]
    assert [one["config"].get("stop") for one in config].count(5 + ADDED) == 1


@pytest.mark.parametrize(
    ("claim", "becomes"), [("also", GROWN - 1), ("leave", SIZE - 1)]
)
def test_a_number_near_the_size_is_asked_about(
    claim: str, becomes: int, tmp_path: Path
) -> None:
    """It may count all ids but a few, or name one of the last."""
    source = _stopped(tmp_path / "old.keras", SIZE - 1)
    with pytest.raises(AmbiguousVocabularyError, match="stop=12, one fewer") as asked:
        grow(source, rows=ADDED)
    assert "--also stop::stop:id if it names one" in str(asked.value)
    grow(source, rows=ADDED, proof=False, **{claim: "stop::stop"})
    config = read(tmp_path / "new.keras").config["config"]["layers"]
    assert [one["config"]["stop"] for one in config if "stop" in one["config"]] == [
        becomes
    ]


@pytest.mark.parametrize("stop", [5, SIZE - 1])
def test_it_goes_with_its_id_where_the_size_stays(stop: int, tmp_path: Path) -> None:
    source = _stopped(tmp_path / "old.keras", stop)
    report = kp.surgery.remap(
        source,
        tmp_path / "new.keras",
        row_map=[*range(SIZE)][::-1],
        also="stop::stop:id",
    )
    assert report.certificate is not None
    assert report.certificate.passed


def test_it_is_an_id_of_each_vocabulary_that_has_as_many(tmp_path: Path) -> None:
    """As many as the ids of another one are no reason to stay."""
    source, other = tmp_path / "old.keras", keras.Input((5,), dtype="int32")
    kept = Stop(SIZE, name="stop")(other)
    larger = layers.Embedding(2 * SIZE, DIM, name="larger")(other) * kept
    both = layers.Concatenate()([table(SIZE)(x := ids()), larger])
    keras.Model([x, other], layers.Dense(2)(both)).save(source)
    report = grow(source, rows=ADDED, at=3, vocabulary="larger", also="stop::stop:id")
    assert report.certificate is not None
    assert report.certificate.passed


@pytest.mark.parametrize(("stop", "now"), [(SIZE - 3, 1), (SIZE - 1, 2)])
def test_it_goes_with_its_id_in_a_trim(stop: int, now: int, tmp_path: Path) -> None:
    source = _stopped(tmp_path / "old.keras", stop)
    keep = [0, SIZE - 3, SIZE - 1]
    plan = kp.surgery.plan(source, keep=keep, also="stop::stop:id")
    assert [c.new for c in plan.config if c.path[-1] == "stop"] == [now]
    with pytest.raises(SurgeryError, match=r"names old id .* goes to 0 new ids"):
        kp.surgery.plan(source, keep=[0, 1], also="stop::stop:id")


def _checked(size: int) -> keras.Model:
    known = Checked(size, size - 1, name="checked")(x := ids())
    return keras.Model(x, layers.Dense(2)(table(size)(known)))


def test_a_number_that_cannot_be_raised_alone_is_asked_about(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_checked, SIZE, source)
    save(_checked, GROWN, tmp_path / "larger.keras")
    with pytest.raises(AmbiguousVocabularyError, match="not the last of") as asked:
        grow(source, rows=ADDED)
    assert "--also checked::words" in str(asked.value)
    report = grow(source, rows=ADDED, also=["checked::words", "checked::last"])
    assert report.certificate is not None
    assert report.certificate.passed
    assert_same_structure(read(target), read(tmp_path / "larger.keras"))


def test_a_number_of_a_loss_can_be_said(tmp_path: Path) -> None:
    source, head = tmp_path / "old.keras", layers.Dense(SIZE)(table(SIZE)(x := ids()))
    model = keras.Model(x, head)
    model.compile("sgd", Bounded(SIZE))
    model.save(source)
    with pytest.raises(AmbiguousVocabularyError, match="--also bounded::words"):
        grow(source, rows=ADDED)
    grow(source, rows=ADDED, also="bounded::words")
    loss = read(tmp_path / "new.keras").config["compile_config"]["loss"]
    assert loss["config"]["words"] == GROWN


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ({"also": "unknown::sizes"}, "no configuration key 'sizes'"),
        ({"leave": "unknown::sizes"}, "no configuration key 'sizes'"),
        ({"also": "nothing::words"}, "no layer or array is called"),
        ({"also": "unknown::options.seed:id"}, "Expected: one of their ids"),
        ({"also": "unknown::options.seed:ids"}, "is not understood"),
        ({"also": "unknown::options.seed"}, "is 50. Found: vocabularies of 13 ids"),
        (
            dict.fromkeys(("also", "leave"), "unknown::options.words"),
            "is in leave, and",
        ),
    ],
)
def test_a_number_that_cannot_count_is_refused(
    claim: dict[str, str], why: str, tmp_path: Path
) -> None:
    source = tmp_path / "old.keras"
    save(_model, SIZE, source)
    with pytest.raises(SurgeryError, match=why):
        grow(source, rows=ADDED, **claim)


def test_a_width_of_the_model_is_no_number_of_ids(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"

    @keras.saving.register_keras_serializable("tests.numbers")
    class Wide(Configured):
        """Has as many features as there are ids."""

        def __init__(self, width: int, **options: Any) -> None:
            super().__init__({"width": width}, **options)
            self.up, self.down = layers.Dense(width), layers.Dense(DIM)

        def build(self, shape: Any) -> None:
            self.up.build(shape)
            self.down.build((*shape[:-1], self.own["width"]))

        def call(self, x: Any) -> Any:
            return self.down(self.up(x))

    wide = Wide(SIZE)(table(SIZE)(x := ids()))
    keras.Model(x, layers.Dense(2)(wide)).save(source)
    assert grow(source, rows=ADDED).plan.new_size == GROWN


def _clipped(size: int) -> keras.Model:
    known = ops.clip(x := ids(), 0, size - 1)
    return keras.Model(x, layers.Dense(2)(table(size)(known)))


def test_a_bound_in_front_of_a_table_is_asked_about(tmp_path: Path) -> None:
    """It grows if that is said; the last row stays the last where new ids go before."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(_clipped, SIZE, source)
    save(_clipped, GROWN, tmp_path / "larger.keras")
    with pytest.raises(AmbiguousVocabularyError, match="--also clip::x_max"):
        grow(source, rows=ADDED)
    report = grow(source, rows=ADDED, at=SIZE - 1, also="clip::x_max")
    assert report.certificate is not None
    assert report.certificate.passed
    assert_same_structure(read(target), read(tmp_path / "larger.keras"))


def test_a_number_beside_ids_is_asked_about(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    known = ops.where(ops.less(x := ids(), SIZE), x, 1)
    keras.Model(x, layers.Dense(2)(table(SIZE)(known))).save(source)
    with pytest.raises(AmbiguousVocabularyError, match="--also less::config") as asked:
        grow(source, rows=ADDED)
    flag = str(asked.value).split("--also ")[1].split(" ")[0]
    report = grow(source, rows=ADDED, also=flag)
    assert report.certificate is not None
    assert report.certificate.passed


def test_losses_of_one_name_are_said_together(tmp_path: Path) -> None:
    source, h = tmp_path / "old.keras", table(SIZE)(x := ids())
    heads = [layers.Dense(SIZE, name=name)(h) for name in ("one", "other")]
    model = keras.Model(x, heads)
    model.compile("sgd", [Bounded(SIZE), Bounded(SIZE)])
    model.save(source)
    grow(source, rows=ADDED, also="bounded::words")
    grow(source, rows=ADDED, leave="bounded::words", overwrite=True)
    losses = read(tmp_path / "new.keras").config["compile_config"]["loss"]
    assert [one["config"]["words"] for one in losses] == [SIZE, SIZE]


def test_what_counts_does_not_matter_where_the_size_stays(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_model, SIZE, source)
    moved = kp.surgery.plan(source, row_map=[*range(SIZE)][::-1])
    assert moved.new_size == SIZE
    with pytest.raises(AmbiguousVocabularyError, match="--also unknown::"):
        kp.surgery.plan(source, keep=[1, 2])


@pytest.mark.parametrize(
    ("sizes", "asks"), [({"a": 31, "b": 32}, True), ({"a": 1, "b": 2}, False)]
)
def test_sizes_by_name_are_no_words(
    sizes: dict[str, int], asks: bool, tmp_path: Path
) -> None:
    """Words have ids from the first ones on; a few numbers elsewhere are sizes."""
    source = tmp_path / "old.keras"
    own = Unknown({"words": 100, "sizes": sizes}, name="own")(x := ids())
    keras.Model(x, layers.Dense(2)(table(32)(own))).save(source)
    if asks:
        with pytest.raises(AmbiguousVocabularyError, match=r"sizes\.b=32"):
            grow(source, rows=ADDED)
    else:
        grow(source, rows=ADDED)
