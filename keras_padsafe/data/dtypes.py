"""Dtypes that hold all values of arrays, and what stands where nothing is."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_padsafe.data.example import Example
from keras_padsafe.data.forms import Key
from keras_padsafe.errors import DataError


def common_dtype(dtypes: Iterable[Any], where: str) -> np.dtype:
    """The dtype of values of several dtypes; whole numbers and float32 make float32."""
    given = {*map(np.dtype, dtypes)}
    if len({_is_text(dtype) for dtype in given}) > 1:
        raise DataError(
            f"{where}: expected numbers, or text, everywhere. Received: the dtypes "
            f"{', '.join(sorted(map(str, given)))}."
        )
    dtype = np.result_type(*given)
    wider = dtype == "float64" and dtype not in given
    return np.dtype("float32") if wider else dtype


def with_nothing(dtype: np.dtype, nothing: Any, argument: str) -> tuple[np.dtype, Any]:
    """The dtype, wide enough for `nothing` also, and that as the dtype has it."""
    value = np.asarray(nothing)
    text = _is_text(dtype)
    if value.dtype.kind not in ("US" if text else "biufc"):
        raise DataError(
            f"{argument}: expected {'text' if text else 'a number'}, for arrays of "
            f"{dtype}. Received: {nothing!r:.60}."
        )
    if text:
        if dtype.kind == "S" and value.dtype.kind == "U":
            value = np.char.encode(value, "utf-8")
        return np.result_type(dtype, value.dtype), value
    with np.errstate(all="ignore"):
        kept = value.astype(dtype)
    if np.array_equal(kept, value, equal_nan=True):
        return dtype, value
    return common_dtype([dtype, np.min_scalar_type(nothing)], argument), value


def as_before(array: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
    """Casts an array to the dtype of earlier ones, if that changes no whole number."""
    if _is_text(array.dtype) and _is_text(dtype):
        return array
    wanted = common_dtype([dtype, array.dtype], where)
    if wanted == dtype or {dtype.kind, array.dtype.kind} == {"f"}:
        return array.astype(dtype, copy=False)
    with np.errstate(all="ignore"):
        kept = array.astype(dtype)
    if np.array_equal(kept, array):
        return kept
    raise DataError(
        f"{where}: expected {dtype}, as in the first batch. Received: {array.dtype}, "
        "with values that do not fit. Pass arrays of one dtype."
    )


def in_common_dtypes(examples: list[Example]) -> list[Example]:
    """Casts arrays, so that all batches have the same dtypes."""
    given: dict[Key, set[np.dtype]] = {}
    for example in examples:
        for key, array in (example.steps | example.whole).items():
            given.setdefault(key, set()).add(array.dtype)
    wanted = {
        key: common_dtype(dtypes, key[0])
        for key, dtypes in given.items()
        if len(dtypes) > 1
    }
    wanted = {key: dtype for key, dtype in wanted.items() if not _is_text(dtype)}

    def cast(arrays: dict[Key, np.ndarray]) -> dict[Key, np.ndarray]:
        return {
            k: a.astype(wanted.get(k, a.dtype), copy=False) for k, a in arrays.items()
        }

    if not wanted:
        return examples
    return [e._replace(steps=cast(e.steps), whole=cast(e.whole)) for e in examples]


def _is_text(dtype: np.dtype) -> bool:
    return dtype.kind in "USO"
