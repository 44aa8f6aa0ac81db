"""How the rows of new ids are made."""

import math
import numbers
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_padsafe.archive import StoredArray, decode, encode
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import is_count, shortly

BLOCK_VALUES = 1 << 17
KINDS = ("mean", "zeros", "constant", "normal", "rows")


@dataclass(frozen=True)
class NewRows:
    """A way of making new rows.

    Attributes:
        kind: `"mean"`: the mean of the old rows. With the mean bias beside it in a
            head, the old outputs move by at most `log(1 + new / old)` in
            Kullback-Leibler divergence, for any input (Hewitt, 2021).
            `"zeros"`; `"constant"`: `value`. `"normal"`: drawn by `seed` from a normal
            distribution with mean and deviation of the old rows, column by column.
            `"rows"`: those given.
        value: The constant.
        seed: The seed of the draw, the same on every machine.
        rows: The rows given, `(new, dim)`.

    A head's bias takes the mean bias for every kind but `"zeros"`.

    References:
        - John Hewitt, "Initializing New Word Embeddings for Pretrained Language
          Models", 2021.
    """

    kind: str = "mean"
    value: float = 0.0
    seed: int = 0
    rows: np.ndarray | None = None

    def __str__(self) -> str:
        match self.kind:
            case "constant":
                return f"constant:{self.value!r}"
            case "normal":
                return f"normal:{self.seed}"
        return self.kind


def read_new_rows(spec: Any) -> NewRows:
    """Reads what a user passes as `new_rows`.

    Args:
        spec: `"mean"`, `"zeros"`, `"normal"`, `"normal:SEED"`, `"constant:VALUE"`, a
            number, a matrix `(new, dim)`, or a `NewRows`.

    Raises:
        SurgeryError: for anything else.
    """
    if isinstance(spec, NewRows):
        return _checked(spec)
    if isinstance(spec, str):
        kind, _, detail = spec.partition(":")
        try:
            if kind in ("mean", "zeros") and not detail:
                return NewRows(kind)
            if kind == "normal":
                return _checked(NewRows(kind, seed=int(detail or 0)))
            if kind == "constant":
                return _constant(float(detail))
        except ValueError:
            pass
        raise SurgeryError(
            f"new_rows: {spec!r} is not understood. Expected: 'mean', 'zeros', "
            "'normal', 'normal:SEED', 'constant:VALUE' or the rows themselves."
        )
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return _constant(spec)
    return NewRows("rows", rows=_matrix(spec))


def _matrix(spec: Any) -> np.ndarray:
    try:
        rows = np.asarray(spec)
    except (TypeError, ValueError, OverflowError):
        raise SurgeryError(
            f"new_rows: received {shortly(spec)}. Expected: a matrix of numbers of "
            "shape (new, dim), all rows equally long."
        ) from None
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise SurgeryError(
            "new_rows: expected a matrix of numbers of shape (new, dim); received "
            f"{rows.dtype} of shape {rows.shape}."
        )
    if not np.isfinite(rows).all():
        raise SurgeryError(
            "new_rows: the rows given hold NaN or infinite values. Expected: finite "
            "numbers."
        )
    return rows.astype(np.float64)


def _constant(value: Any) -> NewRows:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SurgeryError(
            f"new_rows: expected a finite constant; received {shortly(value)}."
        )
    return NewRows("constant", value=number)


def _checked(given: NewRows) -> NewRows:
    """Refuses a `NewRows` that no reader made and nothing could carry out."""
    if given.kind not in KINDS or not is_count(given.seed):
        raise SurgeryError(
            f"new_rows: received kind {shortly(given.kind)} and seed "
            f"{shortly(given.seed)}. Expected: one of {', '.join(KINDS)}, and a seed "
            "of 0 or more."
        )
    if given.kind == "constant":
        return _constant(given.value)
    if given.rows is not None:
        return replace(given, rows=_matrix(given.rows))
    return given


def check_fits(new_rows: NewRows, path: str, dtype: str, fill: str | float) -> None:
    """Refuses numbers that the data type of an array would make infinite.

    Args:
        new_rows: How new rows are made.
        path: The array.
        dtype: Its data type.
        fill: How its entries are made, as `ArrayChange` has it.

    Raises:
        SurgeryError: naming the array.
    """
    numbers: Any = fill
    if numbers == "rows":
        numbers = new_rows.value if new_rows.kind == "constant" else new_rows.rows
    if numbers is None or fill == "bias" or dtype.startswith("opaque"):
        return
    values = np.asarray(numbers, np.float64)
    if values.size and not np.isfinite(decode(encode(values, dtype), dtype)).all():
        raise SurgeryError(
            f"new_rows: {path} is of {dtype}, in which the largest "
            f"number given, {shortly(float(np.abs(values).max()))}, is infinite. "
            "Expected: numbers that stay finite."
        )


class Entries:
    """The new entries of one array along one axis, made block by block.

    The array is seen as `(lead, ids, trail)`, with the axis of ids in the middle.

    Args:
        new_rows: How to make them.
        weight: The array whose statistics count.
        axis: Its axis over the ids.
        dtype: The data type to store.
        is_bias: Whether the array is a head's bias.
    """

    def __init__(
        self,
        new_rows: NewRows,
        weight: StoredArray,
        axis: int,
        dtype: str,
        *,
        is_bias: bool,
    ) -> None:
        kind = new_rows.kind
        if is_bias and kind != "zeros":
            kind = "mean"
        self._kind = kind
        self._new_rows = new_rows
        self._dtype = dtype
        self._trail = math.prod(weight.shape[axis + 1 :])
        self._generator = np.random.default_rng(
            [new_rows.seed, zlib.crc32(weight.path.encode())]
        )
        self._given = new_rows.rows if kind == "rows" and axis == 0 else None
        if kind in ("mean", "normal", "rows"):
            self._mean, self._deviation = column_statistics(
                weight, axis, deviation=kind == "normal"
            )

    def blocks(self, lead: int, first: int, count: int) -> Iterator[bytes]:
        """The stored bytes of `count` new entries, the `first`-th of all new ones on.

        Must be called in the order of the file: a draw goes on where the last ended.
        """
        step = max(1, BLOCK_VALUES // max(1, self._trail))
        for start in range(0, count, step):
            rows = min(step, count - start)
            values = self._values(lead, first + start, rows)
            yield encode(values, self._dtype).tobytes()

    def _values(self, lead: int, first: int, rows: int) -> np.ndarray:
        shape = (rows, self._trail)
        if self._kind == "zeros":
            return np.zeros(shape)
        if self._kind == "constant":
            return np.full(shape, self._new_rows.value)
        values = np.broadcast_to(self._mean[lead], shape).copy()
        if self._kind == "normal":
            values += self._deviation[lead] * self._generator.standard_normal(shape)
        if self._given is not None:
            given = self._given[first : first + rows]
            values[: len(given)] = given
        return values


def column_statistics(
    array: StoredArray, axis: int, *, deviation: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over one axis, in float64, in bounded memory.

    Values that are NaN or infinite are left out, so that one bad row does not spread;
    where no value is left the mean is 0.

    Args:
        array: The array.
        axis: Its axis over the ids.
        deviation: Whether the standard deviation is wanted; zeros are returned if not.

    Returns:
        Two arrays of shape `(lead, trail)`: all axes before and after, flattened.
    """
    lead = math.prod(array.shape[:axis])
    trail = math.prod(array.shape[axis + 1 :])
    running = _Running(*(np.zeros((lead, trail)) for _ in range(3)))
    width = max(1, math.prod(array.shape[1:]))
    step = max(1, BLOCK_VALUES // width)
    for start in range(0, array.shape[0], step):
        stop = min(start + step, array.shape[0])
        values = decode(array.read(start, stop), array.dtype)
        if axis == 0:
            part, where = values.reshape(1, stop - start, trail), slice(None)
        else:
            part = values.reshape(-1, array.shape[axis], trail)
            each = lead // array.shape[0]
            where = slice(start * each, stop * each)
        running.add(part, where, deviation)
    known = np.maximum(running.count, 1)
    return running.total / known, np.sqrt(running.spread / known)


@dataclass
class _Running:
    """Counts, sums and squared deviations so far, each `(lead, trail)`."""

    count: np.ndarray
    total: np.ndarray
    spread: np.ndarray

    def add(self, part: np.ndarray, where: slice, deviation: bool) -> None:
        """Adds a block `(lead, ids, trail)` (Chan, Golub and LeVeque, 1983)."""
        total = part.sum(axis=1)
        here = np.full(total.shape, float(part.shape[1]))
        if not np.isfinite(total).all():
            finite = np.isfinite(part)
            here = finite.sum(axis=1).astype(np.float64)
            part = np.where(finite, part, np.nan)
            total = np.nansum(part, axis=1)
        if deviation:
            mean = total / np.maximum(here, 1)
            before = self.count[where]
            gap = mean - self.total[where] / np.maximum(before, 1)
            weight = before * here / np.maximum(before + here, 1)
            squares = np.nansum((part - mean[:, None]) ** 2, axis=1)
            self.spread[where] += squares + gap**2 * weight
        self.count[where] += here
        self.total[where] += total
