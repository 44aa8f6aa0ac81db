"""Row maps: every change of ids as one vector."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery import RowMap

maps = st.integers(1, 30).flatmap(
    lambda size: st.lists(st.integers(-1, size - 1), min_size=1, max_size=40).map(
        lambda ids: RowMap(ids, size)
    )
)


@given(maps)
def test_runs_and_json_hold_the_whole_map(row_map: RowMap) -> None:
    assert RowMap.from_json(row_map.to_json(), row_map.old_size) == row_map
    rebuilt = [
        -1 if old < 0 else old + i
        for old, count in row_map.runs()
        for i in range(count)
    ]
    assert rebuilt == row_map.ids.tolist()


@given(st.permutations(range(9)))
def test_a_permutation_and_its_inverse_cancel(order: list[int]) -> None:
    row_map = RowMap(order, 9)
    np.testing.assert_array_equal(row_map.ids[row_map.inverse().ids], range(9))
    assert row_map.inverse().inverse() == row_map


@given(maps)
def test_inverse_leads_back_to_a_row_with_the_same_origin(row_map: RowMap) -> None:
    back = row_map.inverse()
    assert back.size == row_map.old_size
    for old, new in enumerate(back.ids.tolist()):
        if new >= 0:
            assert row_map.ids[new] == old
        else:
            assert old not in row_map.ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 3], "new id 1 is to come from old id 3, and there are 3 old ids"),
        ([0, -2], "old id -2.*Expected: 0 to 2, or -1"),
        ([], "vector of integers"),
        ([0.5], "received float64 of shape"),
        ([True], "received bool of shape"),
        ([[0]], r"of shape \(1, 1\)"),
    ],
)
def test_wrong_maps_are_refused(ids: list, message: str) -> None:
    with pytest.raises(SurgeryError, match=message):
        RowMap(ids, 3)


@given(maps, st.data())
def test_skipped_ids_are_told_as_one_by_one(
    row_map: RowMap, data: st.DataObject
) -> None:
    document = row_map.to_json()
    ids = row_map.ids.tolist()
    skips = data.draw(st.sets(st.integers(0, row_map.old_size - 1)))
    due = {new for new, old in enumerate(ids) if old in skips}
    given = data.draw(st.sets(st.integers(0, row_map.size - 1))) | due
    if data.draw(st.booleans()) and given:
        given.remove(data.draw(st.sampled_from(sorted(given))))
    expected = due <= given and all(ids[new] == -1 for new in given - due)
    read = RowMap.from_json(document, row_map.old_size)
    assert read.keeps_apart(sorted(skips), sorted(given)) == expected


@given(maps)
def test_whether_every_old_id_is_kept_is_told_as_one_by_one(row_map: RowMap) -> None:
    kept = set(row_map.ids.tolist()) - {-1}
    assert row_map.keeps_all == (len(kept) == row_map.old_size)


def test_a_map_is_counted_before_it_is_written_out() -> None:
    """A few bytes of a plan must not take gigabytes."""
    tracemalloc.start()
    with pytest.raises(SurgeryError, match="at most 8 for each"):
        RowMap.from_json([[-1, 1 << 28]], 1)
    huge = RowMap.from_json([[0, 1 << 28]], 1 << 28)
    assert (huge.size, huge.to_json()) == (1 << 28, [[0, 1 << 28]])
    assert huge.keeps_apart([3], [3])
    assert huge.keeps_all
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
