"""What a mask hides is replaced, whatever the shapes, and the input stays as it is."""

from typing import Any

import keras
import numpy as np
import pytest

from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.reductions import masked_sum

SHAPE = (3, 4, 2)
MASKS = [(3,), (3, 1), (3, 4), (1, 4), (3, 1, 1), (3, 4, 1), (3, 4, 2), (1, 1, 1)]


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("value", [0, -2.5, float("-inf")])
def test_it_is_the_choice_of_numpy(
    shape: tuple[int, ...], share: float, value: float
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=SHAPE).astype("float32")
    mask = rng.random(shape) >= share
    spread = mask[(..., *(None,) * (x.ndim - mask.ndim))]
    x[np.broadcast_to(~spread, SHAPE)] = np.nan
    found = hide(
        keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(mask), value
    )
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(found), np.where(spread, x, np.float32(value))
    )


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="only PyTorch writes into tensors"
)
@pytest.mark.parametrize("hidden", [0, 1])
def test_writing_into_the_result_leaves_the_input(hidden: int) -> None:
    x: Any = keras.ops.ones(SHAPE)
    mask = keras.ops.convert_to_tensor(np.arange(3) >= hidden)
    hide(x, mask).add_(5.0)
    assert float(x.max()) == 1.0


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="of a way to trace that PyTorch has"
)
def test_what_is_traced_with_a_full_mask_holds_for_others() -> None:
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    x, full = torch.ones(SHAPE), torch.ones(3, dtype=torch.bool)
    traced = make_fx(lambda x, mask: masked_sum(x, mask, axis=(0, 1)))(x, full)
    half = torch.tensor([True, False, False])
    np.testing.assert_array_equal(traced(x, half), [4.0, 4.0])


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="of tensors that PyTorch has"
)
def test_shapes_alone_are_enough() -> None:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        found = hide(torch.ones(SHAPE), torch.ones(3, dtype=torch.bool))
    assert tuple(found.shape) == SHAPE
