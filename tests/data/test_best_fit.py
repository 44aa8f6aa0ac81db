"""Rows: nothing is lost, nothing is too long, and little is left empty."""

import time

import numpy as np
import pytest

from keras_padsafe.data.best_fit import best_fit
from keras_padsafe.data.sequence_dataset import deal_anew


def int_of(size: int) -> int:
    return size


def plain_best_fit(sizes: list[int], length: int, most: int) -> list[list[int]]:
    """Looks at every row for every item."""
    rows: list[list[int]] = []
    for size in sizes:
        fit = [r for r in rows if sum(r) + size <= length and len(r) < most]
        if fit:
            max(fit, key=sum).append(size)
        else:
            rows.append([size])
    return rows


@pytest.mark.parametrize("most", [2, 100])
@pytest.mark.parametrize("length", [7, 40])
def test_as_looking_at_every_row(length: int, most: int) -> None:
    rng = np.random.default_rng(length)
    sizes = rng.integers(1, length + 1, 300).tolist()
    if most == 100:
        rows = list(best_fit(sizes, int_of, length))
    else:
        rows = list(best_fit(sizes, int_of, length, most))
    assert sorted(s for row in rows for s in row) == sorted(sizes)
    assert max(map(sum, rows)) <= length
    assert max(map(len, rows)) <= most
    expected = plain_best_fit(sizes, length, most)
    assert sorted(map(sum, rows)) == sorted(map(sum, expected))


def test_a_stream_holds_few_rows_and_fills_them() -> None:
    rng = np.random.default_rng(0)
    taken = 0

    def sizes():
        nonlocal taken
        for size in rng.integers(1, 513, 5000).tolist():
            taken += size
            yield size

    given = positions = 0
    for row in best_fit(sizes(), int_of, 512, open_rows=64):
        given += sum(row)
        positions += 512
        assert taken - given <= 65 * 512
    assert given == taken
    assert given / positions > 0.95


def test_many_sequences_take_little_time() -> None:
    sizes = sorted(np.random.default_rng(0).integers(1, 2049, 20_000).tolist())
    start = time.process_time()
    rows = list(best_fit(reversed(sizes), int_of, 2048))
    assert time.process_time() - start < 2
    assert sum(sizes) / (len(rows) * 2048) > 0.99


def test_dealing_keeps_lengths_and_every_sequence() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 40)
    rows = list(best_fit(range(40), lambda n: int(lengths[n]), 10))
    dealt = deal_anew(rows, lengths, rng)
    assert sorted(n for row in dealt for n in row) == list(range(40))
    assert {frozenset(row) for row in dealt} != {frozenset(row) for row in rows}
    patterns = [sorted(tuple(lengths[list(r)]) for r in some) for some in (rows, dealt)]
    assert patterns[0] == patterns[1]
