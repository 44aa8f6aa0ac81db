"""One function chooses what a masked score becomes."""

import ml_dtypes
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_it_is_the_lowest_finite_number_of_the_dtype(dtype):
    assert kp.ops.safe_fill(dtype) == float(ml_dtypes.finfo(dtype).min)
    assert np.isfinite(np.asarray(kp.ops.safe_fill(dtype)).astype(dtype))


def test_a_type_without_a_lowest_number_is_refused_by_name():
    with pytest.raises(PadsafeError, match=r"among float16.*Received: int32"):
        kp.ops.safe_fill("int32")
