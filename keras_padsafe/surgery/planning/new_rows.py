"""How the rows of new ids are made."""

import math
import numbers
from collections.abc import Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_padsafe.archive import decode, encode
from keras_padsafe.arguments import MAX_IDS, read_words
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import is_count, shortly

_KINDS = "mean zeros constant normal covariance mix rows like unknown pieces".split()


@dataclass(frozen=True)
class NewRows:
    """A way of making new rows.

    Attributes:
        kind: `"mean"`: the mean of the old rows. With the mean bias beside it in a
            head, the old outputs move by at most `log(1 + new / old)` in
            Kullback-Leibler divergence, for any input (Hewitt, 2021).
            `"zeros"`; `"constant"`: `value`. `"normal"`: drawn by `seed` from a normal
            distribution with mean and deviation of the old rows, column by column.
            `"covariance"`: drawn with their mean and `value` squared times their
            covariance: `mean + value * sum(sign_j * (row_j - mean)) / sqrt(m)` over
            m = 64 old rows and signs of chance, whose covariance is just that.
            `"mix"`: the mean of some old rows for each, `mix`; the same of a head's
            columns and biases. `"like"`, `"unknown"` and `"pieces"` name those rows,
            and are a `"mix"` in the plan. `"rows"`: those given.
        value: The constant, or the scale of the deviation.
        seed: The seed of the draw, the same on every machine.
        rows: The rows given, `(new, dim)`.
        named: For `"like"`, the old words or ids whose rows a new one takes: by new
            word or id, or `None` for all.
        mix: For each new id, the old ids whose rows it takes the mean of; none means
            all of them.

    A head's bias takes the mean bias for every kind but `"zeros"` and `"mix"`.

    References:
        - John Hewitt, "Initializing New Word Embeddings for Pretrained Language
          Models", 2021.
    """

    kind: str = "mean"
    value: float = 0.0
    seed: int = 0
    rows: np.ndarray | None = None
    named: Mapping[Any, tuple[str | int, ...]] | None = None
    mix: tuple[tuple[int, ...], ...] | None = None

    def __str__(self) -> str:
        match self.kind:
            case "constant":
                return f"constant:{self.value!r}"
            case "normal":
                return f"normal:{self.seed}"
            case "covariance":
                return f"covariance:{self.value!r}:{self.seed}"
        return self.kind


def read_new_rows(spec: Any) -> NewRows:
    """Reads what a user passes as `new_rows`.

    Args:
        spec: `"mean"`, `"zeros"`, `"normal"`, `"normal:SEED"`, `"constant:VALUE"`,
            `"covariance:SCALE:SEED"`, `"like:WORD"`, `"unknown"`, `"pieces"`, a
            number, a matrix `(new, dim)`, a mapping of new words to old words, or a
            `NewRows`.

    Raises:
        SurgeryError: for anything else.
    """
    if isinstance(spec, NewRows):
        return _checked(spec)
    if isinstance(spec, str):
        kind, _, detail = spec.partition(":")
        with suppress(ValueError):
            match kind, detail:
                case "mean" | "zeros" | "unknown" | "pieces", "":
                    return NewRows(kind)
                case "like", word if word:
                    return NewRows(kind, named={None: (word,)})
                case "constant", _:
                    return _constant(float(detail))
                case "normal", _:
                    return _checked(NewRows(kind, seed=int(detail or 0)))
                case "covariance", _:
                    scale, _, seed = detail.partition(":")
                    drawn = NewRows(kind, float(scale or 1), int(seed or 0))
                    return _checked(drawn)
        raise SurgeryError(
            f"new_rows: {spec!r} is not understood. Expected: 'mean', 'zeros', "
            "'normal', 'normal:SEED', 'constant:VALUE', 'covariance:SCALE:SEED', "
            "'like:WORD', 'unknown', 'pieces' or the rows themselves."
        )
    if isinstance(spec, Mapping):
        return NewRows("like", named={k: _names(v) for k, v in spec.items()})
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return _constant(spec)
    return NewRows("rows", rows=_matrix(spec))


def _names(given: Any) -> tuple[str | int, ...]:
    """One word or id, or several."""
    if isinstance(given, str | int) and not isinstance(given, bool):
        return (given,)
    return read_words(given, "new_rows")


def _matrix(spec: Any) -> np.ndarray:
    try:
        if isinstance(spec, Sized) and len(spec) > MAX_IDS:
            raise ValueError
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
    except (OverflowError, TypeError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise SurgeryError(
            f"new_rows: expected a finite constant; received {shortly(value)}."
        )
    return NewRows("constant", value=number)


def _checked(given: NewRows) -> NewRows:
    """Refuses a `NewRows` that `read_new_rows` would not make."""
    if given.kind not in _KINDS or not is_count(given.seed):
        raise SurgeryError(
            f"new_rows: received kind {shortly(given.kind)} and seed "
            f"{shortly(given.seed)}. Expected: one of {', '.join(_KINDS)}, and a seed "
            "of 0 or more."
        )
    if given.kind == "covariance":
        _constant(given.value)
    if given.kind == "constant":
        return _constant(given.value)
    if given.rows is not None:
        return replace(given, rows=_matrix(given.rows))
    return given


def check_fits(new_rows: NewRows, path: str, dtype: str, fill: str | float) -> None:
    """Refuses numbers that the data type of an array would make infinite.

    `fill` says how its entries are made, as `ArrayChange` has it.
    """
    numbers: Any = fill
    if numbers == "rows":
        numbers = new_rows.value if new_rows.kind == "constant" else new_rows.rows
    if numbers is None or isinstance(numbers, str) or dtype.startswith("opaque"):
        return
    values = np.asarray(numbers, np.float64)
    if values.size and not np.isfinite(decode(encode(values, dtype), dtype)).all():
        raise SurgeryError(
            f"new_rows: {path} is of {dtype}, in which the largest "
            f"number given, {shortly(float(np.abs(values).max()))}, is infinite. "
            "Expected: numbers that stay finite."
        )
