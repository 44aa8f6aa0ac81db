"""Old ids are found and fed in every kind of model, and what they give is compared."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_padsafe.compat import saved_arrays as arrays_of
from keras_padsafe.compat import walk_saved
from keras_padsafe.proof.bits import as_array
from keras_padsafe.proof.certificate import Check, verdict_of
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.prove_outputs import prove_outputs
from keras_padsafe.saved_model.row_map import RowMap

from .models import (
    ADDED,
    PROVED,
    SIZE,
    Build,
    any_length,
    chosen_again,
    clipped,
    columns_of_one_input,
    divided_by_size,
    divided_by_ten,
    hand_written,
    head_that_stays,
    ids_into_table_and_head,
    ids_that_start_at_minus_one,
    ids_that_start_at_one,
    modulo,
    noisy,
    one_input_in_two_tables,
    smaller_table_beside,
    subclassed,
    unknown_below,
    unknown_beyond,
    unknown_from_a_number_on,
    unseen,
)

OLD, NEW = "old ids keep their outputs", "new ids give finite outputs"
APPEND = np.array([*range(SIZE), *[-1] * ADDED])
MOVED = np.array([0, 4, 3, -1, 2, 1, -1, *range(7, SIZE)])  # 5 and 6 are dropped.


def saved_arrays(model: Any) -> Any:
    """What a model saves, by path."""
    return arrays_of(walk_saved(model))


def moved(build: Build, ids: np.ndarray, folder: Path) -> tuple[Any, Any, IdChange]:
    """A model, the same with its rows where `ids` says, and the change; both loaded."""
    models = []
    for size in (SIZE, len(ids) if len(ids) != SIZE else SIZE + 1):
        keras.utils.set_random_seed(1)
        keras.utils.clear_session(free_memory=False)
        models.append(build(size))
    before, marker = models
    axes = _axes(before, marker)
    keras.utils.clear_session(free_memory=False)
    after = build(len(ids))
    for (path, old), (_, new) in zip(
        saved_arrays(before), saved_arrays(after), strict=True
    ):
        values = as_array(old)
        if path in axes:
            made = np.take(values, np.maximum(ids, 0), axes[path])
            mean = values.mean(axes[path], keepdims=True)
            is_new = np.expand_dims(ids < 0, tuple(range(1, values.ndim)))
            values = np.where(np.moveaxis(is_new, 0, axes[path]), mean, made)
        new.assign(values)
    before, after = (_loaded(one, folder) for one in (before, after))
    tables = frozenset(p for p, axis in axes.items() if axis == 0 and "dense" not in p)
    return before, after, IdChange(RowMap(ids, SIZE), axes, tables)


def _axes(before: Any, other: Any) -> dict[str, int]:
    pairs = zip(saved_arrays(before), saved_arrays(other), strict=True)
    return {
        path: next(
            i for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n
        )
        for (path, a), (_, b) in pairs
        if a.shape != b.shape
    }


def _loaded(model: Any, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def proved(before: Any, after: Any, change: IdChange) -> dict[str, Check]:
    return {
        check.name: check
        for check in prove_outputs(before, after, change, lambda: before)
    }


@pytest.mark.parametrize("ids", [APPEND, MOVED], ids=["append", "moved"])
@pytest.mark.parametrize("build", PROVED, ids=lambda build: build.__name__)
def test_is_proved(build: Build, ids: np.ndarray, tmp_path: Path) -> None:
    if build is ids_that_start_at_one and ids is MOVED:
        pytest.skip("computed ids cannot be renamed")
    checks = proved(*moved(build, ids, tmp_path))
    assert verdict_of(checks.values()) == "proved", checks
    looked_up = int(checks[OLD].detail.split(";")[1].split()[0])
    kept = len(set(ids[ids >= 0].tolist()))
    assert looked_up == kept - (build is ids_that_start_at_one)
    assert f"{(ids < 0).sum()} new ids" in checks[NEW].detail


@pytest.mark.parametrize("build", [any_length, hand_written, subclassed])
def test_a_smaller_vocabulary_is_proved(build: Build, tmp_path: Path) -> None:
    """Ids that only the old model has are none beyond."""
    checks = proved(*moved(build, np.array([0, 2, 3, 7]), tmp_path))
    assert verdict_of(checks.values()) == "proved", checks


@pytest.mark.parametrize("build", PROVED, ids=lambda build: build.__name__)
def test_one_old_row_changed_is_wrong(build: Build, tmp_path: Path) -> None:
    before, after, change = moved(build, APPEND, tmp_path)
    for path, variable in saved_arrays(after):
        if path in change.tables:
            values = as_array(variable).copy()
            values[SIZE - 1] += 1e-3
            variable.assign(values)
            break
    assert proved(before, after, change)[OLD].status == "failed"


@pytest.mark.parametrize(
    ("build", "status"),
    [
        (modulo, "failed"),
        (clipped, "failed"),
        (divided_by_size, "failed"),
        (divided_by_ten, "passed"),
        (unknown_beyond, "passed"),
        (unknown_below, "failed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_ids_beyond_the_table(build: Build, status: str, tmp_path: Path) -> None:
    """Where the model brings them into range, they must give what they gave before."""
    check = proved(*moved(build, APPEND, tmp_path))[OLD]
    assert check.status == status, check
    assert ("reach other rows" in check.detail) == (status == "failed")


def test_a_row_for_all_ids_beyond_stays_the_last(tmp_path: Path) -> None:
    appended = proved(*moved(clipped, APPEND, tmp_path))[OLD]
    assert f"--at {SIZE - 1}" in appended.detail
    before_it = np.array([*range(SIZE - 1), *[-1] * ADDED, SIZE - 1])
    checks = proved(*moved(clipped, before_it, tmp_path))
    assert verdict_of(checks.values()) == "proved", checks


@pytest.mark.parametrize("build", [clipped, unknown_below])
def test_a_row_for_all_ids_beyond_that_goes(build: Build, tmp_path: Path) -> None:
    lost = proved(*moved(build, np.arange(4), tmp_path))[OLD]
    assert lost.status == "failed"
    assert f"keep id {SIZE - 1} too" in lost.detail
    kept = proved(*moved(build, np.array([0, 3, SIZE - 1]), tmp_path))
    assert verdict_of(kept.values()) == "proved", kept


def test_ids_that_a_head_chooses_are_none_beyond(tmp_path: Path) -> None:
    checks = proved(*moved(chosen_again, APPEND, tmp_path))
    assert verdict_of(checks.values()) == "proved", checks


def test_ids_that_are_shifted_down_are_proved(tmp_path: Path) -> None:
    checks = proved(*moved(ids_that_start_at_minus_one, APPEND, tmp_path))
    assert verdict_of(checks.values()) == "proved", checks


def test_a_table_that_ids_enter_in_range_bounds_nothing(tmp_path: Path) -> None:
    checks = proved(*moved(smaller_table_beside, APPEND, tmp_path))
    assert (checks[OLD].status, checks[NEW].status) == ("passed", "passed"), checks
    assert f"{SIZE} of {SIZE} ids looked up" in checks[OLD].detail
    assert f"{ADDED} new ids looked up" in checks[NEW].detail


def test_a_new_id_that_reads_the_row_of_another(tmp_path: Path) -> None:
    check = proved(*moved(unknown_from_a_number_on, APPEND, tmp_path))[NEW]
    assert check.status == "skipped"
    assert "2 of 3 new ids that were tried read no row of their own" in check.detail


def test_ids_beyond_a_table_too_large_to_be_traced(tmp_path: Path) -> None:
    """What enters the table is what was fed, so that nothing seems to be computed."""
    before, after = modulo(300), modulo(303)
    values = as_array(before.get_layer("words").embeddings)
    after.get_layer("words").embeddings.assign(np.pad(values, [(0, 3), (0, 0)]))
    for old, new in zip(before.weights[1:], after.weights[1:], strict=True):
        new.assign(as_array(old))
    path = "layers/embedding/vars/0"
    change = IdChange(RowMap.append(300, 3), {path: 0}, frozenset({path}))
    check = proved(before, after, change)[OLD]
    assert (check.status, "reach other rows" in check.detail) == (
        "failed",
        True,
    ), check


def test_an_id_that_comes_twice_is_not_appended() -> None:
    """What it is on an axis that lacks some ids is not known."""
    for ids, known in ([0, 1, 2, -1], True), ([0, 1, 2, 0], False):
        change = IdChange(RowMap(ids, 3), {}, frozenset())
        assert (change.along(2, 3) is not None) == known


def test_scores_that_do_not_grow_are_told(tmp_path: Path) -> None:
    check = proved(*moved(head_that_stays, APPEND, tmp_path))[OLD]
    assert check.status == "passed"
    assert f"output 0 has {SIZE} units and does not grow" in check.detail


def test_a_new_row_of_nan_is_wrong(tmp_path: Path) -> None:
    before, after, change = moved(columns_of_one_input, APPEND, tmp_path)
    values = as_array(after.get_layer("words").embeddings).copy()
    values[-1] = np.nan
    after.get_layer("words").embeddings.assign(values)
    checks = proved(before, after, change)
    assert (checks[OLD].status, checks[NEW].status) == ("passed", "failed")


def test_tables_swapped_are_wrong(tmp_path: Path) -> None:
    ids = np.arange(SIZE)[::-1].copy()
    before, after, change = moved(columns_of_one_input, ids, tmp_path)
    words, items = (after.get_layer(n).embeddings for n in ("words", "items"))
    first, second = as_array(words).copy(), as_array(items).copy()
    words.assign(second)
    items.assign(first)
    assert proved(before, after, change)[OLD].status == "failed"


def test_a_head_in_the_order_of_before_is_wrong(tmp_path: Path) -> None:
    before, after, change = moved(ids_into_table_and_head, MOVED, tmp_path)
    assert proved(before, after, change)[OLD].status == "passed"
    kernel = after.get_layer("head").kernel
    kernel.assign(as_array(kernel)[:, ::-1])
    assert proved(before, after, change)[OLD].status == "failed"


def test_nan_must_stay_nan(tmp_path: Path) -> None:
    before, after, change = moved(any_length, APPEND, tmp_path)
    for model in (before, after):
        values = as_array(model.get_layer("words").embeddings).copy()
        values[3] = np.nan
        model.get_layer("words").embeddings.assign(values)
    assert proved(before, after, change)[OLD].status == "passed"
    after.get_layer("words").embeddings.assign(np.nan_to_num(values))
    assert proved(before, after, change)[OLD].status == "failed"


@pytest.mark.parametrize(
    ("build", "ids", "check", "says"),
    [
        (unseen, APPEND, OLD, "no ids were seen at layers/unseen/vars/0"),
        (noisy, APPEND, OLD, "different outputs each time"),
        (ids_that_start_at_one, MOVED, OLD, "computes ids from input 'ids'"),
        (one_input_in_two_tables, APPEND, NEW, "feeds other tables"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_is_not_proved(
    build: Build, ids: np.ndarray, check: str, says: str, tmp_path: Path
) -> None:
    checks = proved(*moved(build, ids, tmp_path))
    assert verdict_of(checks.values()) == "not proved"
    assert checks[check].status == "skipped"
    assert says in checks[check].detail


def lookup_beside_a_table(size: int) -> keras.Model:
    """The words of its lookup are read as numbers; its table has ids of its own."""
    words = keras.Input((4,), dtype="int64")
    ids = keras.Input((4,), dtype="int32")
    known = keras.layers.IntegerLookup(vocabulary=[*range(10, 10 + size)])(words)
    vectors = keras.layers.Embedding(size, 4)(ids)
    known = keras.ops.expand_dims(keras.ops.cast(known, "float32"), -1)
    return keras.Model([words, ids], vectors * known)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="looks words up")
def test_a_new_word_that_reaches_no_table_proves_nothing(tmp_path: Path) -> None:
    checks = proved(*moved(lookup_beside_a_table, APPEND, tmp_path))
    assert checks[OLD].status == "passed"
    assert checks[NEW].status == "skipped"
    assert "no new id of input" in checks[NEW].detail
