"""A table in two pieces reads, and joins, as the table it was."""

import keras
import numpy as np
import pytest

from keras_padsafe.ops.row_split import RowSplit


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("others", [(), (0,), (5,), (3, 5), (4, 1, 6, -1, 99)])
def test_every_row_is_read_from_its_piece(first, others):
    split = RowSplit(7, first, others)
    if not len(split.fixed):
        pytest.skip("nothing is fixed")
    table = np.arange(21.0, dtype="float32").reshape(7, 3)
    fixed, moving = table[split.fixed], table[split.moving]
    rows = keras.ops.arange(7, dtype="int32")
    read = keras.ops.convert_to_numpy(split.take(fixed, moving, rows))
    np.testing.assert_array_equal(read, table)
    joined = keras.ops.convert_to_numpy(split.join(fixed, moving))
    np.testing.assert_array_equal(joined, table)
    marked = keras.ops.convert_to_numpy(split.is_fixed(rows))
    assert np.flatnonzero(marked).tolist() == split.fixed.tolist()
