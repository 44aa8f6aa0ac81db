"""Rows of a batch that lie in one row, one after the other."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_padsafe.backends.running import at_once
from keras_padsafe.compat import random_states
from keras_padsafe.ops.hide import hide
from keras_padsafe.types import Tensor

# Where a row lies may move its answers by rounding and no more.
_ALIKE = 1e-4

_rows: ContextVar[Tensor | None] = ContextVar("rows", default=None)
_apart: ContextVar[bool] = ContextVar("apart", default=False)


@contextlib.contextmanager
def sharing_rows(rows: Tensor, apart: bool = False) -> Iterator[None]:
    """While it lasts, the attention of this package keeps such rows apart.

    Args:
        rows: The number of the row that each token belongs to, `(batch, time)`.
        apart: Whether it attends once for each of two rows, so that not even NaN gets
            from one to the other.
    """
    tokens = _rows.set(rows), _apart.set(apart)
    try:
        yield
    finally:
        _rows.reset(tokens[0])
        _apart.reset(tokens[1])


def shared_rows(query: Tensor, key: Tensor) -> Tensor | None:
    """The row that each token belongs to, if these tensors hold several in one."""
    rows = _rows.get()
    if rows is None or any(x.shape[:2] != rows.shape for x in (query, key)):
        return None
    return rows


def attend_by_rows(
    attend: Callable[..., Tensor], rows: Tensor | None, *tensors: Tensor
) -> Tensor:
    """Attends once, or for each of two rows if that is asked for.

    Args:
        attend: Takes queries, keys and values `(batch, time, dim)`.
        rows: The row that each token belongs to, if several lie in one.
        tensors: Queries, keys and values.
    """
    if rows is None or not _apart.get():
        return attend(*tensors)
    first, second = (
        attend(*(hide(x, ops.equal(rows, number)) for x in tensors))
        for number in (0, 1)
    )
    return ops.where(ops.equal(rows, 0)[..., None], first, second)


def can_share_rows(
    run: Callable[[Sequence[Tensor], Tensor, bool | None], Tensor],
    layer: keras.layers.Layer,
    inputs: Sequence[Any],
    training: bool | None,
) -> bool:
    """Whether a layer makes of two rows in one what it makes of each alone.

    It is asked, with numbers drawn by chance in place of its weights and inputs, at the
    length of the batch. What is NaN or large in one row must not be seen in the other,
    and that must be the same wherever it lies. Only a layer that compares numbers, and
    so makes no NaN of NaN, could hide what it does from that.

    Args:
        run: Calls the layer with its inputs, their mask and `training`.
        layer: The layer, built.
        inputs: What it will get, `(batch, time, ...)`, for shapes and dtypes.
        training: Whether it trains.
    """
    time = int(inputs[0].shape[1])
    first = time // 3
    if not first:
        return False
    last = first + 1  # What repeats itself after some steps fits one of them only.
    draws = np.random.default_rng(0)
    weights = [(v, _draw(draws, v, v.shape)) for v in layer.variables]
    steps = np.arange(time)
    whole, alone = np.ones(time, bool), np.zeros(time, bool)
    masks = steps < time - first, whole, steps < time - last, whole, whole
    numbers = alone, steps >= first, alone, steps >= last, steps >= last
    given = [_five(draws, x, time, first, last) for x in inputs]

    def answer(training: bool | None) -> np.ndarray:
        arrays = [ops.convert_to_tensor(x) for x in given]
        real = ops.convert_to_tensor(np.stack(masks))
        return ops.convert_to_numpy(run(arrays, real, training))

    # Dropout draws other numbers for other rows.
    is_random = bool(random_states(layer))
    try:
        with at_once(), keras.StatelessScope(weights, collect_losses=True):
            rows = ops.convert_to_tensor(np.stack(numbers).astype("int32"))
            with sharing_rows(rows, apart=True):
                plain = answer(None if is_random else training)
                other = answer(training) if is_random and training else plain
    except Exception:  # Whatever a layer of the user's says of such numbers.
        return False
    if plain.dtype.kind != "f":
        return False
    pairs = (
        (plain[0, : time - first], plain[1, first:]),
        (plain[2, : time - last], plain[3, last:]),
    )
    seen = other[1, first:], other[4, :last]
    moved = max(np.abs(there - by_itself).max() for by_itself, there in pairs)
    bound = _ALIKE * min(np.abs(by_itself).max() for by_itself, _ in pairs)
    return bool(np.isfinite(np.concatenate(seen)).all() and 0 < bound >= moved)


def _five(
    draws: np.random.Generator, x: Any, time: int, first: int, last: int
) -> np.ndarray:
    """Five rows: one alone, and behind NaN; another alone, behind large numbers, and
    before NaN.
    """
    found = []
    for n in (first, last):
        both = _draw(draws, x, (time, *x.shape[2:]))
        found += [np.concatenate([both[n:], np.zeros_like(both[:n])]), both]
    behind = found[3].copy()
    if behind.dtype.kind == "f":
        found[1][:first], behind[last:] = np.nan, np.nan
        found[3][:last] *= 30
    return np.stack([*found, behind])


def _draw(draws: np.random.Generator, x: Any, shape: Any) -> np.ndarray:
    """Numbers of such a dtype, small for a kernel: sums of many are not to explode."""
    if "float" not in keras.backend.standardize_dtype(x.dtype):
        return draws.integers(0, 2, shape).astype(x.dtype)
    is_kernel = isinstance(x, keras.Variable) and len(shape) > 1
    scale = np.float32(0.05 if is_kernel else 1.0)
    return scale * draws.standard_normal(shape, dtype="float32")
