"""Finds what is wrong with the weights of a saved model."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, open_archive
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.archive.refusal import refusing
from keras_padsafe.arguments import read_path
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.stored.table_findings import (
    FLOATS,
    PIECE_BYTES,
    table_findings,
)
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.inventory import read_inventory
from keras_padsafe.surgery.finding.tables import stored_tables

_SHOWN = 8


@dataclass(frozen=True)
class WeightsReport(AuditReport):
    """An `AuditReport` of a file's weights.

    Attributes:
        not_checked: What could not be looked for in this file, and why.
    """

    not_checked: tuple[str, ...] = ()

    def __str__(self) -> str:
        left_out = [f"not checked: {reason}" for reason in self.not_checked]
        return "\n".join([super().__str__(), *left_out])


def check_weights(path: str | os.PathLike[str]) -> WeightsReport:
    """Finds what is wrong with the weights of a saved model.

    Looks for NaN and infinity in every weight and in the optimizer's state; in
    embedding tables for rows that were never trained, equal rows, pad rows that are
    not constant, and rows that no word has. Keras is not imported, and arrays are read
    piece by piece; beside a piece there are at most some 40 bytes for a row of a table.

    Args:
        path: A `.keras` file, its unzipped folder, or weights alone, `.weights.h5` or
            `.weights.json`, of which only non-finite values can be told.

    Returns:
        A `WeightsReport`: findings PS201 to PS206, PS101 where a lookup layer gives
        ids that its table has no row for, and in `not_checked` what could not be
        looked for. A file in which no value is wrong has notes at most.

    Raises:
        ArchiveError: if the file is not a Keras 3 model file that can be read safely.
        SurgeryError: if `path` is no path.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> model.save("healthy.keras")
    >>> keras_padsafe.audit.check_weights("healthy.keras").passed
    True
    >>> table = np.zeros((50, 8))
    >>> table[7, 2] = np.nan
    >>> model.set_weights([table])
    >>> model.save("ill.keras")
    >>> finding = next(iter(keras_padsafe.audit.check_weights("ill.keras")))
    >>> finding.code, finding.place, finding.evidence["first"]
    ('PS201', 'layers/embedding/vars/0', [[7, 2]])
    """
    with open_archive(read_path(path, "path")) as archive:
        not_checked: list[str] = []
        findings = [
            *_non_finite(archive),
            *_findings_of_tables(archive, not_checked),
        ]
        archive.check_unchanged()
    findings.sort(key=lambda finding: finding.code != "PS201")
    return WeightsReport(tuple(findings), tuple(not_checked))


def _findings_of_tables(archive: Archive, not_checked: list[str]) -> Iterator[Finding]:
    try:
        root = read_layer_tree(archive)
        vocabularies = read_inventory(archive).vocabularies
    except SurgeryError as error:
        # What the weights themselves show is worth having all the same.
        not_checked.append(f"the rows of tables: {error}")
        return
    for layer in root.walk():
        for table in stored_tables(layer):
            if table.contradiction is None:
                continue
            yield Finding(
                "PS206",
                table.array.path,
                f"In layer {layer.name!r} {table.contradiction} (axis {table.axis}), "
                "so Keras cannot load the file.",
                "Go back to the earlier file and grow it with `keras-padsafe grow`, "
                "or save the model again with `model.save`. Both keep the table and "
                "the configuration in step.",
                {"shape": [*table.array.shape], "axis": table.axis, "key": table.key},
            )
    inverse = {node.name for node in root.walk() if node.config.get("invert") is True}
    for vocabulary in vocabularies:
        yield from table_findings(archive, vocabulary, inverse, not_checked)


@dataclass
class _NonFinite:
    """The values of an array that are NaN or infinite."""

    nan: int = 0
    infinite: int = 0
    rows: int = 0
    first: list[list[int]] = field(default_factory=list)


def _non_finite(archive: Archive) -> Iterator[Finding]:
    slots: dict[str, _NonFinite] = {}
    for array in archive.arrays.values():
        found = _look(array) if array.dtype in FLOATS else _NonFinite()
        if not found.nan + found.infinite:
            continue
        if array.path.startswith("optimizer/"):
            slots[array.path] = found
        else:
            yield _of_weight(array, found)
    if slots:
        yield _of_optimizer(slots)


def _look(array: StoredArray) -> _NonFinite:
    found, last_row = _NonFinite(), -1
    row_size = max(math.prod(array.shape[1:]), 1)
    for start, values in _pieces(array):
        bad, is_nan = _marks(values, array.dtype)
        if not bad.any():
            continue
        numbers = np.flatnonzero(bad) + start
        nan = int(is_nan.sum())
        found.nan += nan
        found.infinite += len(numbers) - nan
        rows = np.unique(numbers // row_size)
        found.rows += len(rows) - int(rows[0] == last_row)
        last_row = int(rows[-1])
        for number in numbers[: _SHOWN - len(found.first)]:
            at = np.unravel_index(int(number), array.shape) if array.shape else ()
            found.first.append([int(index) for index in at])
    return found


def _of_weight(array: StoredArray, found: _NonFinite) -> Finding:
    layer = f" of layer {array.layer_name!r}" if array.layer_name else ""
    count, size = found.nan + found.infinite, math.prod(array.shape)
    return Finding(
        "PS201",
        array.path,
        f"{count} of {size} values{layer} are not finite ({found.nan} NaN, "
        f"{found.infinite} infinite), in {found.rows} rows; the first is at "
        f"{found.first[0]} of shape {list(array.shape)}.",
        "Go back to an earlier checkpoint. keras_padsafe.audit.find_nonfinite shows "
        "where NaN begins.",
        {
            "layer": array.layer_name,
            "shape": list(array.shape),
            "dtype": array.dtype,
            **vars(found),
        },
    )


def _of_optimizer(slots: dict[str, _NonFinite]) -> Finding:
    shown: list[dict[str, Any]] = [
        {"path": path, **vars(found)} for path, found in list(slots.items())[:_SHOWN]
    ]
    return Finding(
        "PS201",
        "optimizer",
        f"{len(slots)} variables of the optimizer hold values that are not finite; "
        f"the first is {next(iter(slots))}, in {shown[0]['rows']} rows.",
        "The next step would spoil the weights. Go back to an earlier checkpoint, or "
        "compile with a new optimizer.",
        {"arrays": len(slots), "first": shown},
    )


def _pieces(array: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    """The stored values in order, flat, each piece with the number of its first.

    Unlike `StoredArray.read` it cuts within a row, however long one is.
    """
    dtype = storage_dtype(array.dtype)
    for start in range(0, array.nbytes, PIECE_BYTES):
        count = min(PIECE_BYTES, array.nbytes - start)
        with refusing(array.data.name):
            values = np.frombuffer(array.data.read(start, count), dtype)
        yield start // dtype.itemsize, values


def _marks(stored: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Where stored floats are not finite, and where they are NaN."""
    if dtype == "bfloat16":
        return (stored & 0x7F80) == 0x7F80, (stored & 0x7FFF) > 0x7F80
    return ~np.isfinite(stored), np.isnan(stored)
