"""What surgery must never do, and that the checks see it when it is done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError
from keras_padsafe.surgery import Plan
from keras_padsafe.surgery.planning.changes import ArrayChange

from .reference import only_once, run_python, save
from .saved import digest, read, same_bits
from .zoo import ADDED, DIM, SIZE, ids, table


def _build(size: int) -> keras.Model:
    """Square in the table and in the head: a wrong axis fits as well as the right."""
    x = ids()
    h = layers.Embedding(size, SIZE, name="words")(x)
    model = keras.Model(x, layers.Dense(size, name="head")(layers.ReLU()(h)))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    generator = np.random.default_rng(0)
    for variable in [*model.optimizer.variables[2:], *model.trainable_variables]:
        variable.assign(generator.uniform(0.5, 1, variable.shape))
    model.optimizer.iterations.assign(7)
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transfer") / "old.keras"
    save(_build, SIZE, path)
    return path


def _changed(
    plan: Plan, chosen: Callable[[ArrayChange], bool], **values: object
) -> Plan:
    arrays = tuple(
        replace(change, **values) if chosen(change) else change  # type: ignore[arg-type]
        for change in plan.arrays
    )
    assert arrays != plan.arrays
    return replace(plan, arrays=arrays)


def _wrong_axis_of_table(plan: Plan) -> Plan:
    return _changed(
        plan, lambda c: c.path.startswith("layers/emb"), axis=1, new_shape=(SIZE, 16)
    )


def _wrong_axis_of_head(plan: Plan) -> Plan:
    return _changed(
        plan, lambda c: c.path == "layers/dense/vars/0", axis=0, new_shape=(16, SIZE)
    )


def _forgotten_bias(plan: Plan) -> Plan:
    kept = tuple(c for c in plan.arrays if c.path != "layers/dense/vars/1")
    return replace(plan, arrays=kept)


def _forgotten_units(plan: Plan) -> Plan:
    return replace(plan, config=tuple(c for c in plan.config if c.path[-1] != "units"))


def _forgotten_slots(plan: Plan) -> Plan:
    kept = tuple(c for c in plan.arrays if not c.path.startswith("optimizer/"))
    return replace(plan, arrays=kept)


def _old_rows_shuffled(plan: Plan) -> Plan:
    ids_ = plan.row_map.ids.copy()
    ids_[[2, 5]] = ids_[[5, 2]]
    return replace(plan, row_map=kp.surgery.RowMap(ids_, SIZE))


WRONG = [
    _wrong_axis_of_table,
    _wrong_axis_of_head,
    _forgotten_bias,
    _forgotten_units,
    _forgotten_slots,
]


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__.strip("_"))
def test_wrong_surgery_is_seen_to_fail(
    spoil: Callable[[Plan], Plan], source: Path, tmp_path: Path
) -> None:
    """A plan spoiled on purpose, carried out to the letter, and judged by Keras."""
    target = tmp_path / "new.keras"
    plan = kp.surgery.plan(source, rows=ADDED)
    kp.surgery.apply_plan(spoil(plan), source, target)
    assert not kp.surgery.verify(source, target, plan).passed
    kp.surgery.apply_plan(plan, source, target, overwrite=True)
    assert kp.surgery.verify(source, target, plan).passed


def test_rows_moved_unasked_are_seen(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    plan = kp.surgery.plan(source, rows=ADDED)
    kp.surgery.apply_plan(_old_rows_shuffled(plan), source, target)
    certificate = kp.surgery.verify(source, target, plan)
    assert certificate["kept rows identical"].status == "failed"
    assert certificate["old ids keep their outputs"].status == "failed"


def test_slots_reset_are_seen(source: Path, tmp_path: Path) -> None:
    """As a file looks whose optimizer was made afresh: all of it there, all zero."""
    target = tmp_path / "new.keras"
    plan = kp.surgery.plan(source, rows=ADDED)
    kp.surgery.apply_plan(plan, source, target)
    model = keras.models.load_model(target)
    for variable in model.optimizer.variables:
        if variable.path != "adam/learning_rate":
            variable.assign(np.zeros(variable.shape))
    reset = tmp_path / "reset.keras"
    model.save(reset)
    certificate = kp.surgery.verify(source, reset, plan)
    assert certificate["kept rows identical"].status == "failed"
    assert certificate["other arrays identical"].status == "failed"
    assert not certificate.passed


def test_an_optimizer_that_was_to_be_dropped_is_seen(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.keras"
    kp.surgery.grow(source, target, rows=ADDED)
    plan = kp.surgery.plan(source, rows=ADDED, optimizer="drop")
    check = kp.surgery.verify(source, target, plan)["other arrays identical"]
    assert check.status == "failed"
    assert "optimizer/vars/0: was to be dropped" in check.detail


def test_the_wrong_one_of_two_equal_tables_is_seen(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"

    def build(size: int) -> keras.Model:
        word, tag = ids("word"), ids("tag")
        h = layers.Add()([table(size)(word), table(SIZE, "tags")(tag)])
        return keras.Model([word, tag], layers.Dense(2)(h))

    save(build, SIZE, source)
    right = kp.surgery.plan(source, rows=ADDED, vocabulary="words")
    wrong = kp.surgery.plan(source, rows=ADDED, vocabulary="tags")
    assert right.arrays != wrong.arrays
    kp.surgery.apply_plan(wrong, source, target)
    assert not kp.surgery.verify(source, target, right).passed
    kp.surgery.apply_plan(right, source, target, overwrite=True)
    assert kp.surgery.verify(source, target, right).passed


@only_once
def test_same_bytes_every_time(source: Path, tmp_path: Path) -> None:
    before = digest(source)
    for name in ("one", "two"):
        kp.surgery.grow(
            source, tmp_path / f"{name}.keras", rows=ADDED, new_rows="normal:4"
        )
    one, two = read(tmp_path / "one.keras"), read(tmp_path / "two.keras")
    assert all(same_bits(one.arrays[path], two.arrays[path]) for path in one.arrays)
    assert digest(source) == before


@only_once
def test_no_keras_is_imported(source: Path, tmp_path: Path) -> None:
    """Nor a backend: a file from anywhere is read without running anything of it."""
    script = """
        import sys
        import keras_padsafe as kp
        source, target, again = sys.argv[1:]
        kp.surgery.inspect(source)
        kp.surgery.grow(source, target, tokens=["a", "b"]).to_json()
        plan = kp.surgery.plan(target, rows=2)
        kp.surgery.apply_plan(kp.surgery.Plan.from_json(plan.to_json()), target, again)
        forbidden = {"keras", "tensorflow", "jax", "torch", "keras_hub"}
        print(sorted(forbidden & set(sys.modules)))
    """
    made, again = tmp_path / "new.keras", tmp_path / "again.keras"
    assert run_python(script, source, made, again).strip() == "[]"
    assert keras.models.load_model(again).input_shape == (None, 5)


@only_once
def test_an_interrupted_copy_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = digest(source)
    with pytest.raises(KeyboardInterrupt):
        kp.surgery.grow(source, tmp_path / "new.keras", rows=1, progress=stop)
    assert not list(tmp_path.iterdir())
    assert digest(source) == before


@only_once
def test_progress_ends_at_the_size_of_the_file(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = tmp_path / "new.keras"
    kp.surgery.grow(
        source, target, rows=1, progress=lambda done, all_: seen.append((done, all_))
    )
    assert seen[-1] == (target.stat().st_size,) * 2
    assert seen == sorted(seen)


def test_live_model_comes_back_larger(tmp_path: Path) -> None:
    model = _build(SIZE)
    before = [weight.numpy() for weight in model.weights]
    report = kp.surgery.grow(model, rows=ADDED)
    assert report.source is None
    assert report.target is None
    assert report.model.get_layer("words").input_dim == SIZE + ADDED
    assert int(report.model.optimizer.iterations) == 7
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), kept)
    kept_file = tmp_path / "kept.keras"
    report = kp.surgery.grow(model, kept_file, rows=ADDED)
    assert report.target == kept_file
    assert kept_file.exists()


@only_once
def test_large_table_in_small_memory(tmp_path: Path) -> None:
    """Peak memory of the process, less what it takes for a tiny file."""
    big, small = tmp_path / "big.keras", tmp_path / "small.keras"

    def build(rows: int) -> keras.Model:
        x = ids()
        h = layers.Embedding(rows, 256, name="words")(x)
        return keras.Model(x, layers.Dense(DIM)(h))

    save(build, 100_000, big)  # 102 MB
    save(build, 100, small)
    script = """
        import resource, sys
        import keras_padsafe as kp
        kp.surgery.grow(sys.argv[1], sys.argv[2], rows=1000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """

    def peak(path: Path) -> int:
        return int(run_python(script, path, tmp_path / f"grown_{path.name}"))

    assert peak(big) - peak(small) < 32_000  # kB


@only_once
def test_a_plan_that_names_no_such_place(source: Path, tmp_path: Path) -> None:
    plan = kp.surgery.plan(source, rows=1)
    (first, *rest) = plan.config
    for path in ((*first.path, "deeper"), ("nowhere", 9, "x"), ("config", 10**9)):
        wrong = replace(plan, config=(replace(first, path=path), *rest))
        with pytest.raises(PadsafeError, match="does not fit this file"):
            kp.surgery.apply_plan(wrong, source, tmp_path / "new.keras")
    assert not (tmp_path / "new.keras").exists()
