"""Rows of a batch that lie in one row, one after the other."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.backends.running import at_once
from keras_padsafe.types import Tensor

# Far above rounding in float32, and far below what one row does to another.
_ALIKE = 1e-4

_rows: list[Tensor | None] = [None]


@contextlib.contextmanager
def sharing_rows(rows: Tensor) -> Iterator[None]:
    """While it lasts, the attention of this package keeps such rows apart.

    Args:
        rows: The number of the row that each token belongs to, `(batch, time)`.
    """
    _rows.append(rows)
    try:
        yield
    finally:
        _rows.pop()


def shared_rows(query: Tensor, key: Tensor) -> Tensor | None:
    """The row that each token belongs to, if these tensors hold several in one."""
    rows = _rows[-1]
    if rows is None or any(x.shape[:2] != rows.shape for x in (query, key)):
        return None
    return rows


def can_share_rows(
    run: Callable[[Sequence[Tensor], Tensor], Tensor],
    layer: keras.layers.Layer,
    inputs: Sequence[Any],
) -> bool:
    """Whether a layer makes of two rows in one what it makes of each alone.

    It is asked with numbers drawn by chance in place of its weights and inputs, at the
    length of the batch, so that what reaches far is seen as well.

    Args:
        run: Calls the layer with its inputs and their mask.
        layer: The layer, built.
        inputs: What it will get, `(batch, time, ...)`, for shapes and dtypes.
    """
    time = int(inputs[0].shape[1])
    first, steps = time // 3, np.arange(time)
    if not first:
        return False
    draws = np.random.default_rng(0)
    weights = [(v, _draw(draws, v, v.shape)) for v in layer.variables]

    def answer(parts: Sequence[np.ndarray], length: int) -> np.ndarray:
        real = ops.convert_to_tensor((steps < length)[None])
        tensors = [ops.convert_to_tensor(part) for part in parts]
        return ops.convert_to_numpy(run(tensors, real))[0, :length]

    both = [_draw(draws, x, (1, time, *x.shape[2:])) for x in inputs]
    moved = [np.roll(x, -first, axis=1) for x in both]
    try:
        with at_once(), keras.StatelessScope(weights, collect_losses=True):
            apart = [answer(both, first), answer(moved, time - first)]
            with sharing_rows(ops.convert_to_tensor((steps >= first)[None])):
                together = answer(both, time)
    except Exception:  # Whatever a layer of the user's says of such numbers.
        return False
    alone = np.concatenate(apart)
    bound = _ALIKE * np.abs(alone).max()
    return bool(0 < bound >= np.abs(together - alone).max())  # NaN is not.


def _draw(draws: np.random.Generator, x: Any, shape: Any) -> np.ndarray:
    """Numbers of such a dtype: a kernel of many columns keeps what it gets in size."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if "float" not in dtype:
        return draws.integers(0, 2, shape).astype(dtype)
    is_kernel = isinstance(x, keras.Variable) and len(shape) > 1
    scale = 0.05 if is_kernel else 1.0
    return (scale * draws.standard_normal(shape)).astype("float32")
