"""Statistics of a table are the same whether it is read or seen while it is copied."""

import tracemalloc
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.archive import byte_window
from keras_padsafe.surgery.planning.column_statistics import ColumnStatistics

from .reference import only_once
from .saved import same_bits

pytestmark = only_once


class _Stored:
    """An array as `StoredArray` has it, in memory; counts the rows that are read."""

    path = "table"

    def __init__(self, values: np.ndarray) -> None:
        self.shape, self.dtype = values.shape, values.dtype.name
        bits = values.view("u2") if self.dtype == "bfloat16" else values
        self.bits, self.rows_read = bits, 0

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        part = self.bits[start:stop]
        self.rows_read += len(part)
        return part.copy()


def _show(statistics: ColumnStatistics, data: bytes, first: int, stop: int) -> None:
    """Shows bytes as a copy does: in blocks whose ends are no row's."""
    for at in range(first, stop, 1000):
        statistics.see(at, memoryview(data)[at : min(at + 1000, stop)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int8"])
@pytest.mark.parametrize(
    ("shape", "axis", "stretch"),
    [
        ((3000, 97), 0, (0, 3000)),
        ((3000, 97), 0, (500, 2900)),
        ((40, 5000), 1, (0, 5000)),
        ((40, 900), 1, (300, 700)),
        ((6, 7, 500), 2, (0, 500)),
        ((5, 400, 9), 1, (10, 390)),
    ],
)
def test_seen_or_read(
    shape: tuple[int, ...], axis: int, stretch: tuple[int, int], dtype: str
) -> None:
    generator = np.random.default_rng(8)
    values = generator.normal(size=shape) * 40
    if dtype != "int8":
        values[(3,) * len(shape)] = np.inf
    values = values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    array = _Stored(values)
    left_out, data = np.array([0, 17, 300]), array.bits.tobytes()
    lead = int(np.prod(shape[:axis]))
    known = values.astype("f8").reshape(lead, shape[axis], -1)[:, slice(*stretch)]
    known = np.delete(known, left_out, axis=1)
    known[~np.isfinite(known)] = np.nan
    found = []
    for share in (0, 0.4, 1):  # of the array, before anything is asked for
        statistics = ColumnStatistics(
            array, axis, *stretch, deviation=True, left_out=left_out
        )
        array.rows_read, each = 0, len(data) // lead
        places = []
        for place in range(lead):
            shown = place * each + int(share * each)
            _show(statistics, data, place * each, shown)
            places.append(statistics.of(place))
            _show(statistics, data, shown, (place + 1) * each)
        mean, deviation = (np.stack(both) for both in zip(*places, strict=True))
        np.testing.assert_allclose(mean, np.nanmean(known, 1), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(deviation, np.nanstd(known, 1), rtol=1e-9)
        found += [mean, deviation]
        if share == 1 and len(shape) == 2:
            assert array.rows_read == 0
    for mean, deviation in zip(found[2::2], found[3::2], strict=True):
        assert same_bits(mean, found[0])
        assert same_bits(deviation, found[1])


def test_growing_reads_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(20_000, 64)(ids)
    source = tmp_path / "old.keras"
    keras.Model(ids, keras.layers.Dense(20_000)(x)).save(source)
    read, count = byte_window.read_at, 0

    def counted(descriptor: int, buffer: memoryview, offset: int) -> int:
        nonlocal count
        count += (got := read(descriptor, buffer, offset))
        return got

    monkeypatch.setattr(byte_window, "read_at", counted)
    kp.surgery.grow(source, tmp_path / "new.keras", rows=10)
    assert source.stat().st_size < count < 1.05 * source.stat().st_size


def test_an_encoding_of_many_steps_takes_little_memory(tmp_path: Path) -> None:
    ids = keras.Input((1000,), dtype="int32")
    columns = keras.layers.Flatten()(keras.ops.one_hot(ids, 5))
    file, grown = tmp_path / "a.keras", tmp_path / "b.keras"
    keras.Model(ids, keras.layers.Dense(4)(columns)).save(file)
    tracemalloc.start()
    kp.surgery.grow(file, grown, rows=1, proof=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20
